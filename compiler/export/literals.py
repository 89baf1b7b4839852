"""Values as Python expressions: what a plan is made of, numbers, names, and tuples of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .modules import Key
from .source import Writer

_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Code:
    """An expression that stands for itself."""

    text: str


@dataclass
class Literals:
    """Writes values; two of one shape that differ in numbers become `a if double else b`.

    known: values that have a name already, by identity.
    """

    writer: Writer
    known: dict[int, str] = field(default_factory=dict)

    def write(self, value: Any, other: Any, indent: int, column: int | None = None) -> str:
        """An expression for `value`, or for the pair `value if double else other`.

        indent: where its line begins; column: where the expression begins.
        """
        if isinstance(value, Code):
            return value.text
        if id(value) in self.known and self.known[id(value)] == self.known.get(id(other)):
            return self.known[id(value)]
        room = _WIDTH - (indent if column is None else column) - 1
        if type(value) is not type(other):
            return self._either(value, other, indent)
        parts = self._parts(value, other, indent + 4)
        if parts is None or (_is_plain(value) and not _same(value, other)):
            return self._either(value, other, indent)
        opening, items, closing = parts
        flat = opening + ", ".join(items) + closing
        if opening == "(" and len(items) == 1:
            flat = f"({items[0]},)"
        if "\n" not in flat and len(flat) <= room:
            return flat
        pad = " " * (indent + 4)
        lines = _filled(items, pad) if _is_plain(value) else [f"{pad}{item}," for item in items]
        return "\n".join([opening, *lines, " " * indent + closing])

    def _either(self, value: Any, other: Any, indent: int) -> str:
        if _same(value, other):
            return _plain(value)
        if not _has_items(value):
            first, second = (self.write(v, v, indent) for v in (value, other))
            return f"({first} if double else {second})"
        first, second = (self.write(v, v, indent + 4, indent + 9) for v in (value, other))
        pad = " " * (indent + 4)
        return f"(\n{pad}{first}\n{pad}if double\n{pad}else {second}\n{' ' * indent})"

    def _parts(self, value: Any, other: Any, indent: int) -> tuple[str, list[str], str] | None:
        """Opening, items and closing of what has items; None for the rest."""
        if isinstance(value, frozenset | set):
            if value != other:
                return None
            items = [self.write(v, v, indent) for v in sorted(value)]
            return ("frozenset({", items, "})") if items else ("frozenset(", [], ")")
        if isinstance(value, Mapping):
            if list(value) != list(other):
                return None
            return "{", [self._pair(k, value[k], other[k], indent) for k in value], "}"
        if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
            if len(value) != len(other):
                return None
            items = [self.write(a, b, indent) for a, b in zip(value, other, strict=True)]
            return ("(", items, ")") if isinstance(value, tuple) else ("[", items, "]")
        if dataclasses.is_dataclass(value):
            return f"{self._class(value)}(", self._fields(value, other, indent), ")"
        return None

    def _pair(self, key: Any, value: Any, other: Any, indent: int) -> str:
        return f"{self.write(key, key, indent)}: {self.write(value, other, indent)}"

    def _class(self, value: Any) -> str:
        return self.writer.name(Key(type(value).__module__, type(value).__qualname__))

    def _fields(self, value: Any, other: Any, indent: int) -> list[str]:
        key = Key(type(value).__module__, type(value).__qualname__)
        fields = {f.name: f for f in dataclasses.fields(value)}
        items: list[str] = []
        by_name = False
        for name in self.writer.linker.kept_fields(key, fields):
            a, b = getattr(value, name), getattr(other, name)
            if _is_default(fields[name], a) and _is_default(fields[name], b):
                by_name = True
                continue
            by_name = by_name or len(fields) > 8
            items.append(f"{name}=" * by_name + self.write(a, b, indent))
        for name in self.writer.linker.worked_out(type(value)):
            a, b = getattr(value, name), getattr(other, name)
            items.append(f"{name}={self.write(a, b, indent)}")
        return items


def _is_default(known: dataclasses.Field[Any], value: Any) -> bool:
    if known.default_factory is not dataclasses.MISSING:
        return bool(value == known.default_factory())
    return known.default is not dataclasses.MISSING and bool(value == known.default)


def _is_plain(value: Any) -> bool:
    """Whether it holds nothing but numbers and names, which may stand side by side on a line."""
    items = value.values() if isinstance(value, Mapping) else value
    return _has_items(value) and all(isinstance(item, int | float | str) for item in items)


def _has_items(value: Any) -> bool:
    return isinstance(value, tuple | list | frozenset | Mapping)


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)


def _plain(value: Any) -> str:
    if isinstance(value, float) and value - value != 0:
        return f'float("{value}")'
    if isinstance(value, str) and value.isprintable() and not set(value) & set('"\\'):
        return f'"{value}"'
    return repr(value)


def _filled(items: list[str], pad: str) -> list[str]:
    lines = [pad]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > _WIDTH:
            lines.append(pad)
        lines[-1] += ("" if lines[-1] == pad else " ") + f"{item},"
    return lines
