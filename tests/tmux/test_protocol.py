from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tmux.protocol import (
    LARGEST_ANSWER,
    LONGEST_LINE,
    ControlParser,
    Notification,
    ProtocolError,
    Reply,
)

Item = Reply | Notification

_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r"), max_size=30)
_ANSWER_LINE = st.one_of(_TEXT, st.sampled_from(["", "%end 7 8 1", "%error 7 8 1", "%begin 7 8 1", "%exit", "%"]))


def in_control_mode(item: Item, number: int, ending: str) -> str:
    """What tmux prints for an item."""
    if isinstance(item, Notification):
        return f"%{item.name} {item.rest}{ending}"
    guard = f"1700000000 {number} {item.flags}"
    lines = [f"%begin {guard}", *item.lines, f"%{'end' if item.ok else 'error'} {guard}"]
    return "".join(line + ending for line in lines)


_REPLIES = st.builds(
    Reply, ok=st.booleans(), lines=st.lists(_ANSWER_LINE, max_size=5).map(tuple), flags=st.sampled_from([0, 1])
)
_NOTIFICATIONS = st.builds(
    Notification, name=st.sampled_from(["exit", "output", "sessions-changed", "begins"]), rest=_TEXT
)
_STREAMS = st.lists(st.one_of(_REPLIES, _NOTIFICATIONS), max_size=8)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut data at these places."""
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


def fed(pieces: Iterable[bytes]) -> list[Item]:
    parser = ControlParser()
    return [item for piece in pieces for item in parser.feed(piece)]


@given(_STREAMS, st.lists(st.integers(min_value=0), max_size=30), st.sampled_from(["\n", "\r\n"]))
def test_a_stream_cut_anywhere_gives_the_items_that_tmux_meant(
    stream: list[Item], places: list[int], ending: str
) -> None:
    text = "".join(in_control_mode(item, number, ending) for number, item in enumerate(stream, 100))
    assert fed(cut(text.encode(), places)) == stream


@given(_STREAMS)
def test_a_stream_in_single_bytes_gives_the_same_items(stream: list[Item]) -> None:
    text = "".join(in_control_mode(item, number, "\n") for number, item in enumerate(stream, 100))
    assert fed(bytes([byte]) for byte in text.encode()) == stream


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_garbage_is_a_protocol_error_and_nothing_else(pieces: list[bytes]) -> None:
    try:
        items = fed(pieces)
    except ProtocolError:
        return
    assert all(isinstance(item, Reply | Notification) for item in items)


def test_blank_lines_in_an_answer_are_kept_and_outside_of_one_are_nothing() -> None:
    assert fed([b"\n%begin 1 2 1\n\n\n%end 1 2 1\n\n"]) == [Reply(True, ("", ""), 1)]


@pytest.mark.parametrize(
    "line", ["%end 1 3 1", "%end 1 2 0", "%end 2 2 1", "%error 1 20 1", " %end 1 2 1", "%end 1 2 1 "]
)
def test_only_the_end_of_the_same_answer_ends_it(line: str) -> None:
    assert fed([f"%begin 1 2 1\n{line}\n%end 1 2 1\n".encode()]) == [Reply(True, (line,), 1)]


@pytest.mark.parametrize("guard", ["", "x", "1 2", "1 2 x", "1 2 3 4", "1 2 " + "9" * 5000, "٣ ٣ ٣"])
def test_an_answer_that_begins_wrongly_is_a_protocol_error(guard: str) -> None:
    with pytest.raises(ProtocolError, match="expected '%begin"):
        fed([f"%begin {guard}\n".encode()])


def test_other_text_is_a_protocol_error_that_shows_it() -> None:
    with pytest.raises(ProtocolError, match="sh: tmux: not found"):
        fed([b"sh: tmux: not found\n"])


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    parser = ControlParser()
    piece = b"x" * (LONGEST_LINE // 4)
    for _ in range(4):
        assert parser.feed(piece) == []
    with pytest.raises(ProtocolError, match="longer"):
        parser.feed(b"x")


def test_an_answer_without_end_is_refused_before_it_fills_the_memory() -> None:
    parser = ControlParser()
    parser.feed(b"%begin 1 2 1\n")
    lines = (b"x" * (LONGEST_LINE - 1) + b"\n") * 8
    for _ in range(LARGEST_ANSWER // len(lines)):
        assert parser.feed(lines) == []
    with pytest.raises(ProtocolError, match="larger"):
        parser.feed(lines)


def test_bytes_that_are_no_utf8_do_not_stop_the_stream() -> None:
    assert fed([b"%begin 1 2 1\n\xff\xfe\n%end 1 2 1\n"]) == [Reply(True, ("��",), 1)]


def test_the_text_of_an_answer_is_its_lines() -> None:
    assert Reply(False, ("no such", "session"), 1).text == "no such session"
