"""Score a trained model on all three splits.

Beside the trivial baseline, computed from the data, and the figures that papers give.
"""

from __future__ import annotations

from pathlib import Path

import click

from rnnc.runtime.options import json_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the data sets  [default: $RNNC_DATA]",
)
@json_option
def command(run: Path, data: Path | None, as_json: bool) -> None:
    """Score the best weights of RUN on the train, valid and test split.

    The model is compiled from the checkpoint alone: the spec's file is not needed any more.
    """
    from rnnc.runtime.print_diagnostics import print_json
    from rnnc.runtime.training.score_report import score_run

    scores = score_run(run, data)
    if as_json:
        print_json(scores.to_json())
        return
    for line in scores.format_lines():
        click.echo(line)
