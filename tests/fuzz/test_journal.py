"""Whatever becomes of the journal's files, no event is invented or told twice, and new ones are kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from hypothesis import example, given
from hypothesis import strategies as st

from agentd.model.events import Event, EventKind
from agentd.recording.journal.files import backwards, before_last, last_before, read_piece, segments
from agentd.recording.journal.lines import entry_of, parse_line
from agentd.recording.journal.writer import JournalWriter
from tests.fuzz.effort import examples
from tests.fuzz.mutations import mutations
from tests.recording.support import ALL, EPOCH, entries, written

NUMBER = 40
_LINES = [
    entry_of(number, EPOCH + number, Event(kind, agent, reason, {"exit_code": 3, "f": ("x", "y")})).line[:-1]
    for number, (kind, agent, reason) in enumerate(
        [
            (EventKind.EXITED, "a", 'quoted "and" \\ escaped'),
            (EventKind.DAEMON_STARTED, None, None),
            (EventKind.CONFIG_REJECTED, "B-2", "ü\u2028\x00\x7f"),
        ],
        1,
    )
]
_TOKENS = [
    *(b"\n", b"\0", b'"', b"\\", b"{", b"}", b",", b'","crc":"00000000"}', b'{"seq":1,', b'{"seq":9999999999999999,'),
    *(
        b"\xff",
        b"\xed\xa0\x80",
        b"\\u12",
        b"null",
        b"x" * 40_000,
        entries(7, 7)[0].line,
        entries(900, 900)[0].line[:-9],
    ),
]


@examples(60)
@given(line=mutations(_LINES, _TOKENS), checked=st.booleans())
@example(line=_LINES[0].replace(b'"a"', b'"\\x"'), checked=True)
@example(line=_LINES[0].replace(b'"a"', b'"\xff"'), checked=True)
def test_a_damaged_line_is_an_event_or_none(line: bytes, checked: bool) -> None:
    if checked:
        # As if whoever damaged it had put the checksum right.
        line = line[:-18] + b',"crc":"%08x"}' % crc32(line[:-18])
    entry = parse_line(line)
    if entry is not None:
        assert entry.line == line + b"\n"


def everything(folder: Path) -> list[int]:
    """Read on in pieces until nothing comes any more."""
    found: list[int] = []
    place, after = None, 0
    for _ in range(1000):
        piece = read_piece(folder, place, after, ALL)
        found += [entry.seq for entry in piece.entries]
        place, after = piece.place, piece.last
        if piece.done:
            return found
    raise AssertionError("reading goes round in circles")


def is_increasing(numbers: Sequence[int]) -> bool:
    return all(before < after for before, after in pairwise(numbers))


@examples(25)
@given(data=st.data())
def test_damaged_files_tell_no_event_twice_and_none_that_was_not(data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        written(folder, NUMBER)
        found = segments(folder)
        assert len(found) >= 3
        for segment in data.draw(st.lists(st.sampled_from(found), max_size=3, unique=True)):
            segment.path.write_bytes(data.draw(mutations([segment.path.read_bytes()], _TOKENS)))
        true = {entry.body for entry in entries(1, NUMBER)}
        told = list(backwards(folder))
        assert {entry.body for entry in told} <= true
        numbers = everything(folder)
        assert is_increasing(numbers)
        assert set(numbers) <= {entry.seq for entry in told}
        for count in (1, 7, NUMBER + 1):
            assert 0 <= before_last(folder, count, ALL, NUMBER) <= NUMBER
        assert 0 <= last_before(folder, entries(20, 20)[0].time) <= NUMBER
        goes_on(folder)


def goes_on(folder: Path) -> None:
    """The next daemon takes what there is, and what it adds is read after it."""
    writer = JournalWriter(folder)
    last = writer.find().last
    added = entries(last + 1, last + 3)
    writer.append(added)
    writer.close()
    assert [entry.seq for entry in list(backwards(folder))[:3]] == [last + 3, last + 2, last + 1]
    assert everything(folder)[-3:] == [last + 1, last + 2, last + 3]
