"""What a person reads of terminal output is what a terminal shows of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.recording.transcripts.readable import Readable, TooSlowError


def read(output: str | bytes, columns: int = 20, rows: int = 5) -> list[str]:
    readable = Readable(columns, rows)
    data = output.encode() if isinstance(output, str) else output
    return [*readable.feed(data), *readable.rest()]


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ("", []),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("no line break", ["no line break"]),
        ("a\r\n\r\nb\r\n\r\n\r\n", ["a", "", "b"]),
        ("  10%\r 100%\r\ndone", [" 100%", "done"]),
        ("\x1b[31mred\x1b[0m \x1b[1;38;5;12mbold\x1b[m", ["red bold"]),
        ("abc\x1b[2Dx", ["axc"]),
        ("typo\b\x1b[Ked", ["typed"]),
        ("old\r\n\x1b[A\x1b[2Knew\r\n", ["new"]),
        ("a\tb", ["a       b"]),
        ("1234567890" * 4 + "end\r\nnext", ["1234567890" * 4 + "end", "next"]),
        ("12345678901234567890\r\nnext", ["12345678901234567890", "next"]),
        ("\x1b[?7l" + "x" * 25 + "y", ["x" * 19 + "y"]),
        ("\x1b[2;4r\x1b[4;1Hin\r\nthe\r\nregion", ["", "", "", "in", "the", "region"]),
        ("\x1b(0lqqk\x1b(B box", ["┌──┐ box"]),
        ("x\x1b[3by", ["xxxxy"]),
        ("a\x1b[10Gb\x1b[Zc", ["a       cb"]),
        ("one\x1bEtwo", ["one", "two"]),
        ("\x1b7ab\x1b8c", ["cb"]),
        ("世界\r\n日本", ["世界", "日本"]),
        ("x" * 19 + "界", ["x" * 19 + "界"]),
    ],
)
def test_lines_are_what_the_terminal_shows(output: str, lines: list[str]) -> None:
    assert read(output) == lines


@pytest.mark.parametrize(
    "silent",
    [
        "\x1b]0;a title\x07",
        "\x1b]8;;http://localhost/\x1b\\",
        "\x1bP+q544e\x1b\\",
        "\x1b_Gf=24;AAAA\x1b\\",
        "\x1b[4:3m",
        "\x1b[38:2::1:2:3m",
        "\x1b[>4;2m",
        "\x1b[<u",
        "\x1b[=1;1u",
        "\x1b[!p",
        "\x1b[2 q",
        "\x1b[?2026$p",
        "\x1b[?2004h",
        "\x1b[?1;2;3r",
        "\x1b[1;2;3;4;5;6A",
        "\x1b[99999999999C\r\x1b[6C",
        "\x1b[?3h",
        "\x1b[3J",
        "\x1b*0",
        "\x1b F",
        "\x07\x00\x7f",
        "\x1b[s\x1b[u",
        "\x9b",
    ],
    ids=repr,
)
def test_what_a_terminal_does_not_show_is_not_read(silent: str) -> None:
    assert read(f"before{silent}after") == ["beforeafter"]


def test_zero_width_characters_take_no_text_with_them() -> None:
    assert read("⚠️ warning\r\nzero\u200bwidth\r\ne\u0301\r\n") == ["⚠️ warning", "zero\u200bwidth", "é"]


def test_lines_that_scroll_off_come_out_at_once_and_the_screen_at_the_end() -> None:
    readable = Readable(20, 3)
    assert readable.feed(b"1\r\n2\r\n3\r\n4\r\n5") == ["1", "2"]
    assert readable.rest() == ["3", "4", "5"]


def test_a_screen_that_is_cleared_has_been_read() -> None:
    assert read("one\r\ntwo\x1b[2J\x1b[Hthree\x1b[H\x1b[Jfour") == ["one", "two", "three", "four"]


def test_a_full_screen_program_is_read_as_it_was_when_it_ended_after_what_it_covered() -> None:
    output = "$ edit\r\n\x1b[?1049h\x1b[Hdraft\x1b[H\x1b[2Jfinal\x1b[2;1Htext\x1b[?1049l$ "
    assert read(output) == ["$ edit", "final", "text", "$"]
    assert read("\x1b[?1049h\x1b[Hstill there") == ["still there"]


LONG = "0123456789" * 6


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        # The beginning of a long line has scrolled off before the alternate screen covers its end.
        (f"{LONG}{LONG}\r\n\x1b[?1049h\x1b[Hfull\x1b[?1049lend", [LONG + LONG, "full", "end"]),
        (f"{LONG}{LONG}x\x1b[?1049h\x1b[Hfull\x1b[?1049l and on", ["full", LONG + LONG + "x and on"]),
        (
            f"{LONG}{LONG}\r\n\x1b[?1049h\x1b[Hfull\x1b[?1049h\x1b[?1049l\x1b[?1049h\x1b[Hagain\x1b[?1049lend",
            [LONG + LONG, "full", "again", "end"],
        ),
        # A prompt that the program was started at.
        ("$ \x1b[?1049h\x1b[Hfull\x1b[?1049ledited", ["full", "$ edited"]),
        # The alternate screen is reset: what it covers stays.
        (f"{LONG}\r\n\x1b[?1049h\x1b[Hfull\x1bc\x1b[?1049lend", [LONG, "end"]),
        (f"one\r\n{LONG}{LONG}\x1b[?1049h\x1b[Hkilled", ["one", LONG + LONG, "killed"]),
    ],
)
def test_no_line_is_read_twice_where_the_alternate_screen_comes_and_goes(output: str, lines: list[str]) -> None:
    assert read(output) == lines


def test_no_line_is_read_twice_where_the_alternate_screen_gets_another_size() -> None:
    readable = Readable(20, 5)
    lines = readable.feed(f"one\r\n{LONG}{LONG}\r\ntwo\r\n\x1b[?1049h\x1b[Hfull".encode())
    for size in ((33, 9), (7, 3), (20, 5), (50, 20)):
        readable.resize(*size)
        lines += readable.feed(b"\x1b[Hfull")
    lines += readable.feed(b"\x1b[?1049lthree\r\n")
    assert [line for line in [*lines, *readable.rest()] if line] == ["one", LONG + LONG, "two", "full", "three"]


def test_wide_characters_are_not_cut_in_two_by_another_width() -> None:
    readable = Readable(20, 5)
    lines = readable.feed(("世界" * 15 + "\r\nx").encode())
    for columns in (7, 33, 5, 20):
        readable.resize(columns, 5)
    assert lines + readable.rest() == ["世界" * 15, "x"]


def test_bytes_that_are_no_text_are_replaced_and_characters_may_come_in_pieces() -> None:
    assert read(b"a\xff\xfeb") == ["a\ufffd\ufffdb"]
    readable = Readable(20, 5)
    for byte in "grün ✓ \x1b[31mrot\x1b[0m\r\n".encode():
        readable.feed(bytes([byte]))
    assert readable.rest() == ["grün ✓ rot"]


def test_lines_of_a_program_that_only_prints_settle_when_the_cursor_has_left_them() -> None:
    readable = Readable(20, 5)
    readable.feed(b"one\r\ntwo\r\nthr")
    assert readable.settled() == ["one", "two"]
    assert readable.settled() == []
    assert [*readable.feed(b"ee\r\n4\r\n5\r\n6\r\n7\r\n"), *readable.settled()] == ["three", "4", "5", "6", "7"]
    assert readable.rest() == []


def test_lines_that_a_program_draws_anew_settle_once_they_stay() -> None:
    readable = Readable(20, 5)
    shown = []
    for second in range(3):
        readable.feed(f"\x1b[H\x1b[2Kworking {second}s\r\nsteady\r\n".encode())
        shown += readable.settled()
    assert shown == ["steady"]
    readable.feed(b"\x1b[H\x1b[2Kdone\r\n\r\n")
    readable.settled()
    assert readable.settled() == ["done"]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_nothing_that_is_printed_raises_and_pieces_do_not_matter(output: bytes, cut: int) -> None:
    readable = Readable(10, 4)
    pieces = [*readable.feed(output[:cut]), *readable.feed(output[cut:]), *readable.rest()]
    assert pieces == read(output, 10, 4)


_SEQUENCES = st.lists(
    st.one_of(
        st.text("ab\r\n\t\b界é", max_size=8),
        st.builds(
            lambda prefix, numbers, final: f"\x1b[{prefix}{';'.join(map(str, numbers))}{final}",
            st.sampled_from(["", "", "?"]),
            st.lists(st.integers(0, 1100), max_size=3),
            st.sampled_from("@ABCDEFGHJKLMPSTXZ`abdefhlmrsu"),
        ),
        st.sampled_from(["\x1b7", "\x1b8", "\x1bM", "\x1bD", "\x1bc", "\x1b[?1049h", "\x1b[?1049l", "\x1b[?6h"]),
    ),
    max_size=40,
)


@given(_SEQUENCES)
def test_no_sequence_raises(parts: list[str]) -> None:
    assert all(line.isprintable() or "\u200b" in line for line in read("".join(parts), 10, 4))


@given(st.lists(st.tuples(_SEQUENCES, st.integers(1, 30), st.integers(1, 12)), max_size=6))
def test_no_size_raises(steps: list[tuple[list[str], int, int]]) -> None:
    readable = Readable(10, 4)
    for parts, columns, rows in steps:
        readable.feed("".join(parts).encode())
        readable.settled()
        readable.resize(columns, rows)
    readable.rest()


@given(st.lists(st.text("ab ", min_size=1, max_size=70), max_size=30), st.lists(st.integers(2, 40), max_size=5))
def test_of_lines_that_are_only_printed_none_is_lost_or_read_twice_whatever_the_width(
    printed: list[str], widths: list[int]
) -> None:
    readable = Readable(20, 5)
    lines: list[str] = []
    for number, line in enumerate(printed):
        lines += readable.feed(f"{number}{line}\r\n".encode())
        if number < len(widths):
            readable.resize(widths[number], 5)
    expected = [f"{number}{line}".rstrip() for number, line in enumerate(printed)]
    assert lines + readable.rest() == expected


def test_rendering_can_be_given_up() -> None:
    readable = Readable(200, 50)
    with pytest.raises(TooSlowError):
        readable.feed(b"\x1b[L" * 10_000, effort=0.001)
