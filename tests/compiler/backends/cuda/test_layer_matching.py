"""Graphs are matched as torch.nn layers, and torch's results equal the reference.

On the CPU, torch runs the same calls without cuDNN.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cuda import backend as module
from rnnc.compiler.backends.cuda.autotune import tuning_lookup
from rnnc.compiler.backends.cuda.autotune.tuning_cache import use_table
from rnnc.compiler.backends.cuda.autotune.tuning_table import TuningTable
from rnnc.compiler.backends.cuda.backend import CUDNN_NOTE, CudaBackend
from rnnc.compiler.backends.cuda.cudnn.cudnn_layers import CudnnLayers
from rnnc.compiler.backends.cuda.cudnn.layer_matching import match_layer_stack
from rnnc.compiler.backends.cuda.cudnn.layer_stack import LayerStack
from rnnc.compiler.backends.cuda.schedule.device_limits import H200
from rnnc.operators.graph.operator_graph import OperatorGraph
from support.comparison.agreement import assert_agree

IN = "input x: real[3]\n"
H = IN + "state h: real[5]\n"
HC = IN + "state h, c: real[5]\n"
OUT = "output y: real[2]\ny = V h' + b2\n"
STATE = "output y: real[5]\ny = h'\n"

LSTM = """
i = σ(Wi x + Ui h + bi)
f = σ(bf + Uf h + Wf x)
g = tanh(Wg x + Ug h + bg)
o = σ(Wo x + Uo h + bo)
c' = i ⊙ g + c ⊙ f
h' = tanh(c') ⊙ o
"""
GRU = """
r = σ(Wr x + Ur h + br)
z = σ(Wz x + Uz h + bz)
n = tanh(r ⊙ (Un h + bm) + Wn x + bn)
h' = z ⊙ h + (1 - z) ⊙ n
"""
TWO = """
input x: real[3]
state a, h: real[4]
state k: real[6]
a' = relu(W x + U a + b)
k' = tanh(W1 a' + U1 k + b1)
h' = relu(W2 k' + U2 h)
output y: real[2]
output last: real[4] at end
y = V k'
last = h'
"""

LAYER_STACKS: dict[str, tuple[str, list[str]]] = {
    "zoo lstm": ("zoo:lstm", ["LSTM"]),
    "zoo gru": ("zoo:gru", ["GRU"]),
    "zoo rnn": ("zoo:rnn", ["RNN_TANH"]),
    "zoo srnn": ("zoo:srnn", ["RNN_TANH", "RNN_TANH"]),
    "an lstm by hand, in another order": (HC + LSTM + OUT, ["LSTM"]),
    "learned first states": (
        HC.replace("h, c: real[5]", "h, c: real[5] = learned") + LSTM + STATE,
        ["LSTM"],
    ),
    "a gru by hand, in another order": (H + GRU + STATE, ["GRU"]),
    "without a bias": (H + "h' = tanh(U x + W h)\n" + OUT, ["RNN_TANH"]),
    "two biases": (H + "h' = tanh(U x + b1 + (W h + b))\n" + OUT, ["RNN_TANH"]),
    "one matrix twice": (
        IN.replace("3", "5") + "state h: real[5]\nh' = tanh(W x + W h + b)\n" + STATE,
        ["RNN_TANH"],
    ),
    "layers of several sizes and kinds": (TWO, ["RNN_RELU", "RNN_TANH", "RNN_RELU"]),
}

MISMATCHES: dict[str, tuple[str, str]] = {
    "a peephole": (
        HC + LSTM.replace("Uf h", "Uf h + pf ⊙ c") + "param pf: vector\n" + OUT,
        "state",
    ),
    "another activation": (HC + LSTM.replace("tanh(c')", "relu(c')") + OUT, "state"),
    "a gate of tanh": (HC + LSTM.replace("o = σ", "o = tanh") + OUT, "state"),
    "a coupled gate": (HC + LSTM.replace("i ⊙ g", "(1 - f) ⊙ g") + OUT, "state"),
    "gates of two inputs": (
        "input x, u: real[3]\nstate h, c: real[5]\n" + LSTM.replace("Wo x", "Wo u") + OUT,
        "state",
    ),
    "reset before the product": (
        H + GRU.replace("r ⊙ (Un h + bm)", "Un (r ⊙ h)") + STATE,
        "state",
    ),
    "z and 1 - z changed": (H + GRU.replace("z ⊙ h + (1 - z) ⊙ n", "z ⊙ n + (1 - z) ⊙ h"), ""),
    "two less a gate": (H + GRU.replace("(1 - z)", "(2 - z)") + STATE, "state"),
    "the rest of another gate": (H + GRU.replace("(1 - z)", "(1 - r)") + STATE, "state"),
    "dropout inside": (H + "h' = tanh(U x + W dropout(0.5, h) + b)\n" + OUT, "state"),
    "dropout on the input": (H + "h' = tanh(U dropout(0.5, x) + W h + b)\n" + OUT, "reads neither"),
    "dropout before the output": (
        H + "h' = tanh(U x + W h + b)\noutput y: real[2]\ny = V dropout(0.5, h')\n",
        "output",
    ),
    "two steps back": (H + "h' = tanh(U x + W h[t-2] + b)\n" + OUT, "further than one step"),
    "an earlier input": (H + "h' = tanh(U x[t-1] + W h + b)\n" + OUT, ""),
    "a symbol": ("input x: symbol[7]\nstate h: real[5]\nh' = tanh(U x + W h + b)\n" + OUT, "state"),
    "a leak": (H + "h' = 0.9 * tanh(U x + W h + b) + 0.1 * h\n" + OUT, "state"),
    "a matrix transposed": (H + "h' = tanh(U x + Wᵀ h + b)\n" + OUT, "state"),
    "an output that is squashed": (
        H + "h' = tanh(U x + W h + b)\noutput y: real[2]\ny = tanh(V h')\n",
        "output",
    ),
    "the state before the step": (
        H + "h' = tanh(U x + W h + b)\noutput y: real[2]\ny = V h\n",
        "output",
    ),
    "a law": (
        "input x: real[5]\nstate h: real[5]\nh' = x ⊕ h\n"
        "law x ⊕ h ≈ h ⊕ x weight 0.1\noutput y: real[5]\ny = h'\n",
        "laws",
    ),
    "backward in time": (
        IN + "state g: real[5]\ng[t] = tanh(U x + W g[t+1] + b)\noutput y: real[5]\ny = g'\n",
        "backward",
    ),
}


def graph_of(text: str) -> OperatorGraph:
    sizes = {"hidden": 6} if text.startswith("zoo:") else {}
    return rnnc.compile(text, backend="reference", parameters=sizes).graph


@pytest.mark.parametrize("name", LAYER_STACKS)
def test_layers_are_found(name: str) -> None:
    text, kinds = LAYER_STACKS[name]
    stack = match_layer_stack(graph_of(text))
    assert isinstance(stack, LayerStack), stack
    assert sorted(layer.kind for layer in stack.layers) == sorted(kinds)


@pytest.mark.parametrize("name", MISMATCHES)
def test_what_is_none_is_refused(name: str) -> None:
    text, words = MISMATCHES[name]
    reason = match_layer_stack(graph_of(text if "output" in text else text + STATE))
    assert isinstance(reason, str), reason
    assert words in reason


@pytest.fixture
def cudnn_runs(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Pretend that cuDNN was measured to be faster, and count its runs."""
    runs: list[bool] = []
    run = CudnnLayers._run

    def count_run(self: CudnnLayers, *said: Any, **flags: Any) -> Any:
        runs.append(True)
        return run(self, *said, **flags)

    monkeypatch.setattr(CudaBackend, "unsupported_reason", lambda self, like: "")
    monkeypatch.setattr(module, "is_cudnn_faster", lambda key, device: True)
    monkeypatch.setattr(CudnnLayers, "_run", count_run)
    return runs


@pytest.mark.parametrize("name", LAYER_STACKS)
def test_torchs_library_computes_the_model(name: str, cudnn_runs: list[bool]) -> None:
    text, _ = LAYER_STACKS[name]
    sizes = {"hidden": 6} if text.startswith("zoo:") else None
    for said in ({"carry": True}, {}, {"training": False, "carry": True}):
        before = len(cudnn_runs)
        assert_agree(text, "cuda", seed=1, steps=5, rows=3, sizes=sizes, **said)
        assert len(cudnn_runs) > before


def test_a_wrong_order_of_gates_would_be_seen(
    cudnn_runs: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    def reverse_gates(graph: OperatorGraph) -> LayerStack | str:
        found = match_layer_stack(graph)
        assert isinstance(found, LayerStack)
        return replace(found, layers=tuple(replace(a, gates=a.gates[::-1]) for a in found.layers))

    monkeypatch.setattr(
        "rnnc.compiler.backends.cuda.cudnn.cudnn_layers.match_layer_stack", reverse_gates
    )
    with pytest.raises(AssertionError, match="off by"):
        assert_agree("zoo:lstm", "cuda", seed=1, steps=4, rows=2, sizes={"hidden": 6})


def record_call(text: str, steps: int = 4, **options: Any) -> Any:
    """Return the layers of a model, and the call that it makes of a batch."""
    model = rnnc.compile(text, backend="reference")
    calls: list[Any] = []
    reference = model.backends.choose(torch.empty(0))
    run = "rnnc.compiler.module.compiled_rnn.run_call"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, lambda backends, call, like, key: calls.append(call) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(torch.randn(steps, 3, 3), **options)
    assert reference.name == "reference"
    return CudnnLayers(model.graph), calls[0]


@pytest.mark.parametrize(
    ("text", "said", "runs"),
    [
        (H + "h' = tanh(U x + W h + b)\n" + OUT, {}, True),
        (H + "h' = tanh(U x + W h + b)\n" + OUT, {"steps": 0}, False),
        (H + "h' = tanh(U x + W h + b)\n" + OUT, {"lengths": torch.tensor([4, 2, 1])}, False),
        (
            H + "h' = tanh(U x + W h + b)\n" + OUT,
            {"resets": torch.zeros(4, 3, dtype=torch.bool)},
            False,
        ),
        (
            "input x: real[3]\nstate h: real[6]\nparam W: blocks(2)\n"
            "h' = tanh(U x + W h + b)\noutput y: real[6]\ny = h'\n",
            {},
            False,
        ),
        (H + "h' = tanh(U x + W h + b)\nparam b: real[1]\n" + OUT, {}, False),
    ],
    ids=["plain", "no steps", "lengths", "resets", "blocks", "one bias for all"],
)
def test_calls_that_torchs_layers_do_not_have(text: str, said: dict[str, Any], runs: bool) -> None:
    layers, call = record_call(text, **said)
    assert layers.supports(call) is runs


def test_it_is_never_taken_without_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_lookup, "device_name", lambda index: H200.name)
    layers, call = record_call(HC + LSTM + OUT)
    key = layers.tuning_key(torch.float32, call.batch_size)
    assert key == "LSTM:3:5 float32 rows=4"
    with use_table(H200.name, TuningTable()):
        assert not tuning_lookup.is_cudnn_faster(lambda: key, 0)
    with use_table(H200.name, TuningTable(libraries={key: "cudnn"})):
        assert tuning_lookup.is_cudnn_faster(lambda: key, 0)
        assert not tuning_lookup.is_cudnn_faster(lambda: key, None), "there is none on the CPU"
        assert not tuning_lookup.is_cudnn_faster(lambda: layers.tuning_key(torch.float32, 5), 0)
        model = rnnc.compile(HC + LSTM + OUT, backend="reference")
        explain = CudaBackend(model.graph, module.Options()).explain
        plan = CudaBackend(model.graph, module.Options()).plan()
        assert plan is not None
        texts = [explain(phase) for phase in plan.phases if phase.kind == "loop"]
        assert all("by cuDNN, measured to be faster: rows=4" in text for text in texts)


def test_a_library_that_fails_leaves_the_call_to_own_kernels(
    cudnn_runs: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: CudnnLayers, *said: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    calls: list[tuple[int, ...]] = []
    model = rnnc.compile(HC + LSTM + OUT, backend="cuda")
    backend = model.backends.candidates[0]
    assert isinstance(backend, CudaBackend)
    monkeypatch.setattr(CudnnLayers, "forward", failing)
    monkeypatch.setattr(backend._oom_retry, "forward", lambda call, wrt: calls.append(wrt) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(torch.randn(4, 2, 3))
    assert len(calls) == 1
    assert CUDNN_NOTE not in (0, 1)


@pytest.mark.filterwarnings("ignore")
def test_inside_of_torch_compile_it_is_computed_again(cudnn_runs: list[bool]) -> None:
    """A graph that autograd recorded cannot pass through a custom operator."""
    from rnnc.compiler.torch_integration.custom_op import backends_from_key

    torch._dynamo.reset()
    backends_from_key.cache_clear()
    try:
        models = [rnnc.compile(HC + LSTM + OUT, backend=name) for name in ("cuda", "reference")]
        models[1].load_state_dict(models[0].state_dict())
        x = torch.randn(4, 2, 3)
        traced = torch.compile(models[0], backend="aot_eager", fullgraph=True)
        for call in (traced, models[1]):
            call(x)[0].square().sum().backward()
        for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
            assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)
        assert len(cudnn_runs) == 2
    finally:
        torch._dynamo.reset()
        backends_from_key.cache_clear()
