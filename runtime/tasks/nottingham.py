"""Nottingham: 1,037 folk tunes with chords, in eighth notes."""

from .polyphonic import pascanu_results, polyphonic_task

TASK = polyphonic_task(
    name="nottingham",
    title="Nottingham folk tunes",
    file="polyphonic/nottingham.npz",
    published=pascanu_results(rnn=3.225, dts=3.206, dots=3.215, srnn=3.258),
)
