"""Piano-midi.de: 124 pieces of classical piano music, in eighth notes."""

from .polyphonic import NOT_VERIFIED, polyphonic_task
from .task import PublishedResult

TASK = polyphonic_task(
    name="piano_midi",
    title="Piano-midi.de",
    file="polyphonic/piano_midi.npz",
    published=(
        PublishedResult(
            "RNN", 8.37, "Boulanger-Lewandowski et al. 2012 (ICML), Table 1", NOT_VERIFIED
        ),
    ),
)
