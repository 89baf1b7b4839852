"""Named tuples whose fields are names of a spec."""

from __future__ import annotations

import keyword
import unicodedata
from collections import namedtuple
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch import Tensor


def field_name(name: str) -> str:
    """A name as a field: `x'` is `x`, and Python's keywords and `detach` get an underscore behind.

    In NFKC, as Python reads names in its own sources.
    """
    name = unicodedata.normalize("NFKC", name.rstrip("'"))
    return f"{name}_" if keyword.iskeyword(name) or name == "detach" else name


@lru_cache(maxsize=512)
def named_tuple_type(type_name: str, names: tuple[str, ...]) -> Callable[..., Any]:
    """The tuple type with some fields; equal names give the same type.

    A name that is none in Python, or no longer its own, becomes `_` and its place: `_1`.
    """
    fields = [field_name(name) for name in names]
    base: Any = namedtuple(type_name, fields, rename=True)  # type: ignore[misc]

    def reduce(self: tuple[Any, ...]) -> tuple[Any, ...]:
        # The type is made at run time, so an instance is rebuilt from its names.
        return _rebuild, (type_name, names, tuple(self))

    type.__setattr__(base, "__reduce__", reduce)
    type.__setattr__(base, "detach", _detach)
    made: Callable[..., Any] = base
    return made


class NamedTupleFactory:
    """Makes one named tuple after the other; unlike its type, it can be pickled."""

    def __init__(self, type_name: str, names: tuple[str, ...]) -> None:
        self._definition, self.make = (type_name, names), named_tuple_type(type_name, names)

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedTupleFactory, self._definition


def _detach(value: Any) -> Any:
    """The same numbers, cut off from what they were computed from, in all of a named tuple."""
    if isinstance(value, Tensor):
        return value.detach()
    return None if value is None else type(value)(*map(_detach, value))


def _rebuild(type_name: str, names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return named_tuple_type(type_name, names)(*values)
