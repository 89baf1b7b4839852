"""Named tuples whose fields are variable names of a spec."""

from __future__ import annotations

import keyword
import unicodedata
from collections import namedtuple
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch import Tensor


def field_name(name: str) -> str:
    """Convert a variable name to a field name: `x'` to `x`, a keyword or `detach` to `name_`.

    Names are normalized to NFKC, as Python does in its own sources.
    """
    name = unicodedata.normalize("NFKC", name.rstrip("'"))
    return f"{name}_" if keyword.iskeyword(name) or name == "detach" else name


@lru_cache(maxsize=512)
def named_tuple_type(type_name: str, names: tuple[str, ...]) -> Callable[..., Any]:
    """Return the named-tuple type of some names; equal names give the same type.

    A name that is no identifier, or a duplicate, becomes `_` and its position: `_1`.
    """
    fields = [field_name(name) for name in names]
    base: Any = namedtuple(type_name, fields, rename=True)  # type: ignore[misc]

    def reduce(self: tuple[Any, ...]) -> tuple[Any, ...]:
        # The type is created at run time, so unpickling rebuilds an instance from its names.
        return _rebuild, (type_name, names, tuple(self))

    type.__setattr__(base, "__reduce__", reduce)
    type.__setattr__(base, "detach", _detach)
    checked_type: Callable[..., Any] = base
    return checked_type


class NamedTupleFactory:
    """Picklable factory of named tuples of one type."""

    def __init__(self, type_name: str, names: tuple[str, ...]) -> None:
        self._definition, self.make = (type_name, names), named_tuple_type(type_name, names)

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedTupleFactory, self._definition


def _detach(value: Any) -> Any:
    """Detach all tensors of a nested named tuple."""
    if isinstance(value, Tensor):
        return value.detach()
    return None if value is None else type(value)(*map(_detach, value))


def _rebuild(type_name: str, names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return named_tuple_type(type_name, names)(*values)
