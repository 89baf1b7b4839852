"""`rnnc zoo`: the models with parameters and depths, and the text of one."""

from __future__ import annotations

import json

from rnnc.operators.sources.zoo import zoo_names, zoo_source
from support.processes.blocked_imports import run_without
from support.processes.commands import rnnc


def test_all_models_are_listed_with_parameters_and_depths():
    listed = rnnc("zoo").stdout.decode()
    document = json.loads(rnnc("zoo", "--json").stdout)
    assert [model["name"] for model in document["models"]] == list(zoo_names())
    for model in document["models"]:
        assert f"zoo:{model['name']}\n" in listed
        assert model["summary"] in listed
        # Every model says where it is from.
        assert any(word.strip(",.;:").isdecimal() for word in model["about"].split())
        for key, value in model["parameters"].items():
            assert f"{key}={value}" in listed
    (rnn,) = (model for model in document["models"] if model["name"] == "rnn")
    assert rnn["parameters"] == {"hidden": 200, "notes": 88, "vocab": 0}
    assert rnn["weights"] == 75_200
    assert rnn["depth"]["feedforward"] == 2


def test_one_model_is_printed_as_it_is():
    for name in ("dts_rnn", "zoo:dts_rnn"):
        assert rnnc("zoo", name).stdout.decode() == zoo_source("dts_rnn").text
    document = json.loads(rnnc("zoo", "dts_rnn", "--json").stdout)
    assert document["text"] == zoo_source("dts_rnn").text
    assert document["summary"].startswith("Deep transition with shortcuts")


def test_a_misspelt_name_is_a_diagnostic():
    result = rnnc("zoo", "dts_rn")
    assert result.returncode == 1
    assert "RNN606" in result.stderr.decode()
    assert "did you mean `dts_rnn`?" in result.stderr.decode()
    document = json.loads(rnnc("zoo", "dts_rn", "--json").stdout)
    assert [d["code"] for d in document["diagnostics"]] == ["RNN606"]


def test_it_needs_neither_torch_nor_numpy():
    program = "from rnnc.runtime.cli import main\nimport sys\nsys.argv = ['rnnc', 'zoo']\nmain()"
    result = run_without({"torch", "numpy"}, program)
    assert b"zoo:lstm" in result.stdout
