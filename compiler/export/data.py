"""The data that an exported module holds: which classes its parts are of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from .link import Linker
from .literals import Code
from .modules import Key


def classes_in(values: Iterable[Any]) -> frozenset[Key]:
    """The classes of all data."""
    found: dict[type, None] = {}
    seen: set[int] = set()

    def look(value: Any) -> None:
        if isinstance(value, tuple | list | frozenset):
            for item in value:
                look(item)
        elif isinstance(value, Mapping):
            look(tuple(value.values()))
        elif (
            dataclasses.is_dataclass(value)
            and not isinstance(value, type)
            and id(value) not in seen
        ):
            seen.add(id(value))
            found.setdefault(type(value))
            for known in dataclasses.fields(value):
                look(getattr(value, known.name))
            for name, member in vars(type(value)).items():
                if isinstance(member, cached_property):
                    look(getattr(value, name))

    look(tuple(values))
    bases = {base for kind in found for base in kind.__mro__ if dataclasses.is_dataclass(base)}
    return frozenset(Key(kind.__module__, kind.__qualname__) for kind in bases)


def link_data(linker: Linker, values: Iterable[Any]) -> None:
    """Add the classes of those data that are written down."""
    kept = tuple(values)
    before = -1
    while before != len(linker.entries):
        before = len(linker.entries)
        for key in _kept_classes(linker, kept):
            linker.add(key)


def _kept_classes(linker: Linker, value: Any) -> Iterator[Key]:
    if isinstance(value, tuple | list | frozenset):
        for item in value:
            yield from _kept_classes(linker, item)
    elif isinstance(value, Mapping):
        yield from _kept_classes(linker, tuple(value.values()))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type | Code):
        key = Key(type(value).__module__, type(value).__qualname__)
        yield key
        names = [f.name for f in dataclasses.fields(value)]
        for name in (*linker.kept_fields(key, names), *linker.worked_out(type(value))):
            yield from _kept_classes(linker, getattr(value, name))
