"""JSB Chorales: 382 harmonised chorales of J. S. Bach, in quarter notes."""

from .polyphonic import pascanu_results, polyphonic_task

TASK = polyphonic_task(
    name="jsb",
    title="JSB Chorales",
    file="polyphonic/jsb_chorales.npz",
    # Chosen on the validation split, with the conventional RNN of 200 units.
    settings={"learning_rate": 3e-3, "batch_size": 16, "decay": 300.0},
    published=pascanu_results(rnn=8.338, dts=8.278, dots=8.437, srnn=8.367),
)
