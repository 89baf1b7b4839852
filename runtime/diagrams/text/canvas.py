"""A character grid for line drawings: lines of one value join, all others cross."""

from __future__ import annotations

import unicodedata
from typing import Final

from .edge_channels import Net

_UP, _RIGHT, _DOWN, _LEFT = 1, 2, 4, 8
_JOINED: Final = {
    _UP | _DOWN: "│",
    _LEFT | _RIGHT: "─",
    _UP: "│",
    _DOWN: "│",
    _LEFT: "─",
    _RIGHT: "─",
    _DOWN | _RIGHT: "┌",
    _DOWN | _LEFT: "┐",
    _UP | _RIGHT: "└",
    _UP | _LEFT: "┘",
    _UP | _DOWN | _RIGHT: "├",
    _UP | _DOWN | _LEFT: "┤",
    _LEFT | _RIGHT | _DOWN: "┬",
    _LEFT | _RIGHT | _UP: "┴",
    15: "╋",
}
_DASHED: Final = {"past": {"│": "╎", "─": "╌"}, "future": {"│": "┊", "─": "┈"}, "flow": {}}
_ASCII: Final = {"past": {"│": ":", "─": "."}, "future": {"│": "!", "─": "~"}}


class Canvas:
    """Characters by row and column."""

    def __init__(self, *, ascii_only: bool) -> None:
        self._ascii = ascii_only
        self._letters: dict[tuple[int, int], str] = {}
        self._masks: dict[tuple[int, int], dict[object, tuple[int, str]]] = {}
        self._heads: set[tuple[int, int]] = set()

    def write(self, row: int, column: int, text: str) -> None:
        """Write a text; a character two columns wide takes two cells."""
        for character in text:
            if unicodedata.combining(character) and (row, column - 1) in self._letters:
                self._letters[row, column - 1] += character
                continue
            self._letters[row, column] = character
            column += 1
            if unicodedata.east_asian_width(character) in {"W", "F"}:
                self._letters[row, column] = ""
                column += 1

    def draw_gutter(self, row: int, text: str, margin: int) -> None:
        """Write an operator's name, or nothing, and a bar at the left edge."""
        self.write(row, 0, text)
        self._letters[row, margin - 2] = "|" if self._ascii else "▏"

    def draw_line(self, first: int, last: int, column: int, net: object, kind: str) -> None:
        """Draw a vertical line through whole rows."""
        for row in range(first, last + 1):
            self._add_segment(row, column, net, _UP | _DOWN, kind)

    def draw_rail(self, first: int, last: int, column: int, kind: str) -> None:
        """Draw a vertical line between the ends of two horizontal lines."""
        key = ("rail", column)
        self._add_segment(first, column, key, _DOWN, kind)
        self._add_segment(last, column, key, _UP, kind)
        self.draw_line(first + 1, last - 1, column, key, kind)

    def draw_net(self, net: Net, top: int, height: int, margin: int) -> None:
        """Draw the lines of one value in a channel of the given height."""
        if not height:
            return
        key = ("rail", margin + net.rail) if net.rail is not None else id(net)
        if net.is_straight:
            self.draw_line(top, top + height - 1, margin + net.above[0], key, net.kind)
        else:
            row = top + net.row
            low, high = net.column_range
            for column in range(low, high + 1):
                mask = (_LEFT if column > low else 0) | (_RIGHT if column < high else 0)
                self._add_segment(row, margin + column, key, mask, net.kind)
            for column in net.above:
                self.draw_line(top, row - 1, margin + column, key, net.kind)
                self._add_segment(row, margin + column, key, _UP, net.kind)
            for column in net.below:
                self.draw_line(row + 1, top + height - 1, margin + column, key, net.kind)
                self._add_segment(row, margin + column, key, _DOWN, net.kind)
        for column in net.arrow_columns:
            self._heads.add((top + height - 1, margin + column))

    def _add_segment(self, row: int, column: int, net: object, mask: int, kind: str) -> None:
        cell = self._masks.setdefault((row, column), {})
        cell[net] = (cell.get(net, (0, ""))[0] | mask, kind)

    def _line_character(self, cell: dict[object, tuple[int, str]]) -> str:
        if len(cell) > 1:
            return "|" if self._ascii else "┼"
        mask, kind = next(iter(cell.values()))
        character = _JOINED[mask]
        if self._ascii:
            character = _ASCII.get(kind, {}).get(character, character)
            return {"│": "|", "─": "-"}.get(character, character if character in ":.!~" else "+")
        return _DASHED[kind].get(character, character)

    def to_lines(self) -> list[str]:
        """Return the rows as strings without trailing blanks."""
        cells = {position: self._line_character(cell) for position, cell in self._masks.items()}
        cells |= dict.fromkeys(self._heads, "v" if self._ascii else "▼")
        cells |= self._letters
        last = max((row for row, _ in cells), default=-1)
        rows: list[dict[int, str]] = [{} for _ in range(last + 1)]
        for (row, column), character in cells.items():
            rows[row][column] = character
        return [
            "".join(row.get(c, " ") for c in range(max(row, default=-1) + 1)).rstrip()
            for row in rows
        ]
