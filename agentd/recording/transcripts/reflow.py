"""Rows of a terminal, joined to the lines they are parts of, and broken anew at another width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pyte.screens import Char, StaticDefaultDict

Line: TypeAlias = StaticDefaultDict[int, Char]

WRAPPED, SHOWN, SEEN = -1, -2, -3
"""Columns that no terminal has: pyte moves and clears a line's own notes together with it."""
_EMPTY = Char(" ")


def note(line: Line, column: int) -> str | None:
    """What was noted of a line."""
    return line[column].data if column in line else None


def text_of(line: Mapping[int, Char], columns: int) -> str:
    """The text of a line up to its last character."""
    last = max(line, default=-1)
    return "".join([line[x].data for x in range(min(last + 1, columns))])


def wraps(line: Line, columns: int) -> bool:
    """Whether only the width of the terminal ended this row."""
    # A wide character that did not fit leaves the last column empty.
    return WRAPPED in line and (columns - 1 in line or columns - 2 in line)


@dataclass(slots=True)
class _Whole:
    """A line, whatever the width."""

    cells: list[Char] = field(default_factory=list)
    notes: dict[int, Char] = field(default_factory=dict)
    given: bool = False
    """Whether all of it had scrolled off."""
    starts: list[int] = field(default_factory=list)
    """Where each of its rows began."""


def _join(rows: Sequence[Line], columns: int, cursor: tuple[int, int], above: int) -> Iterator[_Whole]:
    whole = _Whole()
    for number, row in enumerate(rows):
        whole.starts.append(len(whole.cells))
        goes_on = wraps(row, columns) and number < len(rows) - 1
        last = min(max(row, default=-1) + 1, columns)
        if not goes_on:
            # What was erased is no part of the line.
            least = cursor[1] if number == cursor[0] else 0
            while last > least and row[last - 1].data == " ":
                last -= 1
        whole.cells += [row[x] for x in range(last)]
        if goes_on:
            continue
        whole.notes = {column: row[column] for column in (SHOWN, SEEN) if column in row}
        whole.given = number < above
        yield whole
        whole = _Whole()


def _break(whole: _Whole, columns: int) -> list[Line]:
    rows: list[Line] = []
    start = 0
    while True:
        end = start + columns
        if end < len(whole.cells) and whole.cells[end].data == "" and end - 1 > start:
            # A wide character is not cut in two.
            end -= 1
        row: Line = StaticDefaultDict(_EMPTY)
        row.update(enumerate(whole.cells[start:end]))
        rows.append(row)
        if end >= len(whole.cells):
            break
        row[WRAPPED] = _EMPTY
        start = end
    if whole.given:
        text = "".join(cell.data for cell in whole.cells).rstrip()
        rows[-1][SHOWN] = Char(text)
    else:
        rows[-1].update(whole.notes)
    return rows


def reflow(
    rows: Sequence[Line], columns: int, new_columns: int, cursor: tuple[int, int], *, above: int
) -> tuple[list[Line], int, int]:
    """Break rows anew.

    Parameters
    ----------
    rows
        The end of the history, and the screen.
    columns, new_columns
        The width they have, and the one they get.
    cursor
        Row, counted in `rows`, and column.
    above
        How many of them are history: a line that lies wholly in it was given.

    Returns
    -------
    tuple
        The rows, and row and column of the cursor.
    """
    broken: list[Line] = []
    y, x = 0, 0
    first = 0
    for whole in _join(rows, columns, cursor, above):
        before = len(broken)
        broken += _break(whole, new_columns)
        number = cursor[0] - first
        if 0 <= number < len(whole.starts):
            y, x = _place(broken, before, whole, (number, cursor[1]))
        first += len(whole.starts)
    return broken, y, x


def _place(broken: Sequence[Line], before: int, whole: _Whole, cursor: tuple[int, int]) -> tuple[int, int]:
    """Where the cursor is now: beside the same character, or at the end of the same line."""
    number, column = cursor
    end = whole.starts[number + 1] if number + 1 < len(whole.starts) else len(whole.cells)
    left = whole.starts[number] + column
    if left >= end:
        left = len(whole.cells)
    y = before
    while y < len(broken) - 1 and left >= _used(broken[y]):
        left -= _used(broken[y])
        y += 1
    return y, left


def _used(row: Line) -> int:
    return max(row, default=-1) + 1
