"""MuseData: 783 pieces of classical orchestral and piano music."""

from .polyphonic import pascanu_results, polyphonic_task

TASK = polyphonic_task(
    name="musedata",
    title="MuseData",
    file="polyphonic/musedata.npz",
    published=pascanu_results(rnn=6.990, dts=6.988, dots=6.973, srnn=7.000),
)
