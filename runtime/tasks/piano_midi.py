"""Piano-midi.de: 124 pieces of classical piano music, in eighth notes."""

from .polyphonic import UNCHECKED, polyphonic
from .task import Published

TASK = polyphonic(
    name="piano_midi",
    title="Piano-midi.de",
    file="polyphonic/piano_midi.npz",
    published=(
        Published("RNN", 8.37, "Boulanger-Lewandowski et al. 2012 (ICML), Table 1", UNCHECKED),
    ),
)
