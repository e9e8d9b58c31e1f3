from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.text.terminal import RED, Cell, Display, cut, lines, plural, span, width
from tests.support.printed import harmless

PLAIN = Display(table=False, colour=False, symbols=True, columns=80, rows=24)
TABLE = Display(table=True, colour=False, symbols=True, columns=80, rows=24)
COLOUR = Display(table=True, colour=True, symbols=True, columns=80, rows=24)

ANY_TEXT = st.text(max_size=20)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (86400, "1d00h"),
        (90061, "1d01h"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: int, text: str) -> None:
    assert span(seconds) == text


def test_counts_are_singular_or_plural() -> None:
    assert [plural(number, "agent") for number in (0, 1, 2)] == ["0 agents", "1 agent", "2 agents"]


def test_width_counts_columns_and_not_characters() -> None:
    assert [width(text) for text in ("ab", "日本", "e\u0301", "●")] == [2, 4, 1, 1]


def test_columns_are_aligned_past_wide_characters() -> None:
    rows = [[Cell("日本"), Cell("x")], [Cell("a"), Cell("y")], [Cell(""), Cell("z", symbol="●")]]
    assert lines(("N", "V"), rows, TABLE) == ["N     V", "日本  x", "a     y", "-     ● z"]


def test_symbols_are_left_out_where_the_terminal_cannot_show_them() -> None:
    ascii_only = Display(table=True, colour=False, symbols=False, columns=80, rows=24)
    assert lines(("S",), [[Cell("running", symbol="●")]], ascii_only) == ["S", "running"]


def test_a_style_surrounds_the_text_and_not_the_padding() -> None:
    assert lines(("AB", "C"), [[Cell("x", RED), Cell("y")]], COLOUR)[1] == "\x1b[31mx\x1b[0m   y"


@given(st.lists(st.lists(ANY_TEXT, min_size=3, max_size=3), max_size=5))
def test_plain_rows_can_always_be_split_into_their_fields(rows: list[list[str]]) -> None:
    shown = lines(("A", "B", "C"), [[Cell(text) for text in row] for row in rows], PLAIN)
    assert len(shown) == len(rows)
    for line in shown:
        fields = line.split("\t")
        assert len(fields) == 3
        assert all(fields)
        assert all(harmless(field) for field in fields)


@given(st.lists(st.lists(ANY_TEXT, min_size=2, max_size=2), max_size=5))
def test_nothing_that_a_terminal_would_act_on_gets_into_a_table(rows: list[list[str]]) -> None:
    shown = lines(("A", "B"), [[Cell(text, RED) for text in row] for row in rows], COLOUR)
    assert all(harmless(re.sub(r"\x1b\[(31|1|0)m", "", line)) for line in shown)


@given(ANY_TEXT.filter(str.isprintable), st.integers(0, 30))
def test_a_line_is_cut_to_the_columns_with_its_styles_closed(text: str, columns: int) -> None:
    cut_line = cut(f"\x1b[31m{text}\x1b[0m", columns)
    assert cut_line.startswith("\x1b[31m")
    assert cut_line.endswith("\x1b[0m")
    inner = cut_line.removeprefix("\x1b[31m").removesuffix("\x1b[0m")
    assert text.startswith(inner)
    assert width(inner) <= columns
    assert inner == text or width(text) > columns
