"""Register the parameters of a graph on a module, named as in the spec, and look them up."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from rnnc.compiler.calls.tensor_storage import check_dense, is_addressable
from rnnc.operators.graph.operator_graph import OperatorGraph

from .initializers import initialize_parameter


class AnyNameModule(nn.Module):
    """Module whose submodules may have any name of the language."""

    def __setattr__(self, name: str, value: Any) -> None:
        # nn.Module.train sets this flag; __setattr__ would refuse it if an operator has that name.
        if name == "training":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


class Operators(AnyNameModule):
    """Parameters of one operator and of the operators inside it."""

    def extra_repr(self) -> str:
        """Return the shapes of the parameters."""
        return ", ".join(
            f"{k}: {tuple(v.shape)}" for k, v in self._parameters.items() if v is not None
        )


def attach_parameters(root: nn.Module, graph: OperatorGraph) -> None:
    """Register the graph's parameters, newly initialized; frozen ones require no gradient.

    A spec may name an operator `step` or a parameter `half`: they are registered past the checks
    that would refuse names of methods, so that a state_dict reads like the spec; the methods stay.
    """
    for parameter in graph.parameters:
        *path, name = parameter.name.split(".")
        module = root
        for part in path:
            submodule = module._modules.get(part)
            if submodule is None:
                submodule = module._modules[part] = Operators()
            module = submodule
        value = nn.Parameter(initialize_parameter(parameter), requires_grad=not parameter.is_frozen)
        module._parameters[name] = value


def collect_parameters(root: nn.Module, graph: OperatorGraph) -> dict[str, Tensor]:
    """Return the current values of the graph's parameters by name, of one dtype and device.

    Raises:
        ValueError: when one of them is gone, or another one than the graph's stands in its place.
    """
    values = {
        parameter.name: _lookup_parameter(root, parameter.name) for parameter in graph.parameters
    }
    like = next(iter(values.values()), None)
    for parameter in graph.parameters:
        value = values[parameter.name]
        check_dense(f"parameter {parameter.name}", value)
        if value.shape != parameter.shape:
            expected, got = list(parameter.shape), list(value.shape)
            raise ValueError(f"expected `{parameter.name}` of shape {expected}, got {got}")
        if like is not None and (value.dtype != like.dtype or value.device != like.device):
            raise ValueError(
                f"expected all parameters in {like.dtype} on {like.device}, as the first is, "
                f"got `{parameter.name}` in {value.dtype} on {value.device}"
            )
    return values


class ParameterSlots:
    """Slots of a module's parameters, for a fast look-up at each call."""

    def __init__(self, root: nn.Module, graph: OperatorGraph) -> None:
        self._modules: dict[tuple[str, ...], tuple[dict[str, nn.Module | None], nn.Module]] = {}
        self._slots: list[tuple[dict[str, Tensor | None], str, tuple[int, ...]]] = []
        for parameter in graph.parameters:
            *path, name = _split_name(parameter.name)
            module = root
            for depth, part in enumerate(path):
                submodule = module._modules[part]
                assert submodule is not None
                self._modules[tuple(path[: depth + 1])] = module._modules, submodule
                module = submodule
            self._slots.append((module._parameters, name, parameter.shape))  # type: ignore[arg-type]

    def lookup(self, dtype: torch.dtype) -> list[Tensor] | None:
        """Return the current values in the graph's order; None if one has changed in kind.

        Each must be in the same module, on the CPU, contiguous, and of its shape and dtype.
        """
        for path, (modules, submodule) in self._modules.items():
            if modules.get(path[-1]) is not submodule:
                return None
        values: list[Tensor] = []
        for tensors, name, shape in self._slots:
            value = tensors.get(name)
            if (
                value is None
                or value.dtype is not dtype
                or not value.is_cpu
                or value.shape != shape
                or not value.is_contiguous()
                or not is_addressable(value)
            ):
                return None
            values.append(value)
        return values


def first_parameter(root: nn.Module, graph: OperatorGraph) -> Tensor | None:
    """Return the first parameter, whose dtype and device are the model's; None without any."""
    return _lookup_parameter(root, graph.parameters[0].name) if graph.parameters else None


@lru_cache(maxsize=4096)
def _split_name(name: str) -> tuple[str, ...]:
    return tuple(name.split("."))


def _lookup_parameter(root: nn.Module, name: str) -> Tensor:
    module, path = root, _split_name(name)
    for part in path[:-1]:
        submodule = module._modules[part]
        assert submodule is not None
        module = submodule
    value = module._parameters.get(path[-1])
    # Parameters that torch.nn.utils has parametrized or pruned are computed on access.
    parameter = getattr(module, path[-1], None) if value is None else value
    if not isinstance(parameter, Tensor):
        raise ValueError(f"expected a parameter `{name}`, but the model has none any more")
    return parameter
