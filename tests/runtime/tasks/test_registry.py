"""Tasks are found by file name and describe themselves."""

from __future__ import annotations

import json

import pytest

from rnnc.runtime.metrics import find_metric
from rnnc.runtime.tasks import all_tasks, find_task, task_names
from rnnc.runtime.tasks.describe import task_to_json
from rnnc.runtime.training.settings.training_config import TrainingConfig


def test_every_task_is_found_by_name():
    assert {"adding", "jsb", "musedata", "nottingham", "piano_midi"} <= set(task_names())
    assert list(task_names()) == sorted(task_names())
    for name in task_names():
        assert find_task(name).name == name


def test_an_unknown_task_gets_a_suggestion():
    with pytest.raises(ValueError, match="did you mean `jsb`"):
        find_task("jbs")
    with pytest.raises(ValueError, match="tasks: adding, jsb"):
        find_task("zzz")


@pytest.mark.parametrize("task", all_tasks(), ids=lambda task: task.name)
def test_what_a_task_says_of_itself_holds(task):
    assert [find_metric(name).name for name in task.metrics] == list(task.metrics)
    assert set(task.settings) <= set(TrainingConfig.__struct_fields__)
    document = json.loads(json.dumps(task_to_json(task)))
    assert document["name"] == task.name
    assert all(figure["certainty"] and figure["source"] for figure in document["published"])


def test_the_papers_figures_on_jsb():
    figures = {figure.model: figure.value for figure in find_task("jsb").published}
    assert figures["RNN"] == 8.338
    assert figures["DT(S)-RNN"] == 8.278
    assert figures["DOT(S)-RNN"] == 8.437
    assert figures["sRNN, 2 layers"] == 8.367
