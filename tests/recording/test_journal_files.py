"""The journal's files: found again by number and by time, whatever damage was done to them."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.events import Event, EventKind
from agentd.recording.journal.files import (
    Wanted,
    backwards,
    before_last,
    last_before,
    place_after,
    segments,
)
from agentd.recording.journal.journal import UNCLEAN_GAP
from agentd.recording.journal.lines import LONGEST_LINE, LONGEST_REASON, entry_of, parse_line
from agentd.recording.journal.writer import JournalWriteError, JournalWriter
from agentd.text.timestamps import rfc3339_milliseconds
from tests.recording.support import ALL, EPOCH, entries, event, lines, read_all, written
from tests.support.descriptors import no_descriptor_left
from tests.support.effort import examples


def test_a_line_is_json_that_says_what_happened_and_is_read_back() -> None:
    entry = entry_of(
        7,
        EPOCH + 0.0129,
        Event(EventKind.EXITED, 'a"\\ü', "so \n it\u2028 \x00\x7f went", {"exit_code": 3, "f": ("x",)}),
    )
    line = entry.line
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    document = json.loads(line)
    crc = document.pop("crc")
    assert len(crc) == 8
    assert document == {
        "seq": 7,
        "time": "2023-11-14T22:13:20.012Z",
        "agent": 'a"\\ü',
        "kind": "exited",
        "reason": "so \n it\u2028 \x00\x7f went",
        "data": {"exit_code": 3, "f": ["x"]},
    }
    assert json.loads(entry.body) == document
    assert parse_line(line[:-1]) == entry


@given(
    st.text(st.characters(exclude_categories=())),
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.integers(1, 10**15),
)
def test_any_text_makes_one_line_that_is_read_back(reason: str, agent: str, seq: int) -> None:
    entry = entry_of(seq, EPOCH, Event(EventKind.FAILED, agent.encode("utf-8", "replace").decode(), reason))
    assert b"\n" not in entry.body
    assert parse_line(entry.line[:-1]) == entry


def test_what_is_too_long_is_cut() -> None:
    entry = entry_of(1, EPOCH, Event(EventKind.FAILED, "a", "x" * 10**6, {"pids": ["1" * 100] * 1000}))
    assert len(entry.line) < LONGEST_LINE
    assert len(json.loads(entry.body)["reason"]) == LONGEST_REASON
    assert parse_line(entry.line[:-1]) == entry


def test_files_are_private_named_by_their_first_event_and_no_larger_than_they_may_be(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    written(folder, 100)
    found = segments(folder)
    assert len(found) > 5
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for segment in found:
        assert stat.S_IMODE(segment.path.stat().st_mode) == 0o600
        assert json.loads(segment.path.read_bytes().splitlines()[0])["seq"] == segment.first
        assert segment.path.stat().st_size < 2000
    assert [line["seq"] for line in lines(folder)] == list(range(1, 101))


def test_the_oldest_files_are_removed_so_that_all_stay_under_the_limit(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, 1000, 5000)
    writer.find()
    for first in range(1, 300, 3):
        writer.append(entries(first, first + 2))
        assert writer.bytes == sum(segment.path.stat().st_size for segment in segments(tmp_path)) < 6000
        assert writer.oldest == segments(tmp_path)[0].first
    assert writer.oldest > 200
    assert read_all(tmp_path) == list(range(writer.oldest, 301))
    writer.close()


@given(st.integers(0, 60), st.integers(0, 80), st.integers(200, 3000))
def test_reading_begins_right_after_any_number(last: int, after: int, segment_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written(folder, last, segment_bytes)
        assert read_all(folder, after) == list(range(after + 1, last + 1))


def test_the_place_in_a_large_file_is_found_without_reading_what_lies_before(tmp_path: Path) -> None:
    written(tmp_path, 5000, segment_bytes=1 << 30)
    [segment] = segments(tmp_path)
    for after in (0, 1, 2500, 4990, 5000, 9999):
        place = place_after(tmp_path, after)
        assert place is not None
        data = segment.path.read_bytes()
        assert place.offset == 0 or data[place.offset - 1 : place.offset] == b"\n"
        begins = data.find(b'{"seq":%d,' % (after + 1)) if after < 5000 else len(data)
        assert 0 <= begins - place.offset <= 20_000
        assert read_all(tmp_path, after) == list(range(after + 1, 5001))


@pytest.mark.parametrize("segment_bytes", [1000, 1 << 30])
def test_a_time_is_found(tmp_path: Path, segment_bytes: int) -> None:
    written(tmp_path, 2000, segment_bytes)
    for seq in (1, 2, 700, 1999, 2000):
        assert last_before(tmp_path, rfc3339_milliseconds(EPOCH + seq)) == seq - 1
        assert last_before(tmp_path, rfc3339_milliseconds(EPOCH + seq + 0.5)) == seq
    assert last_before(tmp_path, rfc3339_milliseconds(0)) == 0
    assert last_before(tmp_path / "none", rfc3339_milliseconds(0)) == 0


def test_the_last_ones_are_found_also_among_others(tmp_path: Path) -> None:
    written(tmp_path, 1000)
    assert before_last(tmp_path, 5, ALL, 1000) == 995
    assert before_last(tmp_path, 5, ALL, 500) == 495
    assert before_last(tmp_path, 5000, ALL, 1000) == 0
    some = Wanted(agents=frozenset({"a1"}))
    assert read_all(tmp_path, before_last(tmp_path, 2, some, 1000), some) == [997, 1000]
    assert [entry.seq for entry in backwards(tmp_path)] == list(range(1000, 0, -1))


def test_only_wanted_events_are_given(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.find()
    kinds = (EventKind.STARTED, EventKind.EXITED)
    writer.append([entry_of(n, EPOCH, event(n, "AB"[n % 2], kinds[n // 2 % 2])) for n in range(1, 9)])
    writer.append([entry_of(9, EPOCH, event(9, None, EventKind.STARTED))])
    writer.close()
    assert read_all(tmp_path, wanted=Wanted(agents=frozenset({"a"}))) == [2, 4, 6, 8]
    assert read_all(tmp_path, wanted=Wanted(kinds=frozenset({"exited"}))) == [2, 3, 6, 7]
    assert read_all(tmp_path, wanted=Wanted(frozenset({"a", "b"}), frozenset({"started", "x"}))) == [1, 4, 5, 8]


Damage = Callable[[bytes], bytes]


def _flip(where: float, bit: int) -> Damage:
    def do(data: bytes) -> bytes:
        at = int(where * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]

    return do


def _cut(where: float, length: int) -> Damage:
    return lambda data: data[: int(where * len(data))] + data[int(where * len(data)) + length :]


def _insert(where: float, what: bytes) -> Damage:
    return lambda data: data[: int(where * len(data))] + what + data[int(where * len(data)) :]


_WHERE = st.floats(0, 1)
_DAMAGES = st.lists(
    st.one_of(
        st.builds(_flip, _WHERE, st.integers(0, 7)),
        st.builds(_cut, _WHERE, st.one_of(st.integers(1, 500), st.just(10**9))),
        st.builds(
            _insert, _WHERE, st.one_of(st.binary(min_size=1, max_size=300), st.just(b"\n"), st.just(b"\0" * 9000))
        ),
    ),
    min_size=1,
    max_size=4,
)


@examples(30)
@given(st.data())
def test_whatever_is_damaged_every_other_line_is_delivered_once_and_in_order(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written(folder, 60)
        whole = {line for segment in segments(folder) for line in segment.path.read_bytes().splitlines()}
        for segment in data.draw(st.lists(st.sampled_from(segments(folder)), min_size=1, max_size=3, unique=True)):
            content = segment.path.read_bytes()
            for damage in data.draw(_DAMAGES):
                content = damage(content) if content else content
            segment.path.write_bytes(content)
        # What a daemon that starts then does: a half line at the end is ended, and the numbers go on.
        writer = JournalWriter(folder, 1000)
        found = writer.find()
        first = found.last + UNCLEAN_GAP
        writer.append(entries(first, first + 4))
        writer.close()
        left = [
            line
            for segment in segments(folder)
            for line in segment.path.read_bytes().split(b"\n")
            if line in whole or line in {entry.line[:-1] for entry in entries(first, first + 4)}
        ]
        expected = sorted({json.loads(line)["seq"] for line in left})
        assert first > max(json.loads(line)["seq"] for line in [*(set(left) & whole), b'{"seq":0}'])
        assert expected[-5:] == list(range(first, first + 5))
        assert read_all(folder) == expected
        after = data.draw(st.integers(0, 70))
        assert read_all(folder, after) == [seq for seq in expected if seq > after]
        assert [entry.seq for entry in backwards(folder)] == expected[::-1]


def test_a_large_file_full_of_garbage_is_passed_over(tmp_path: Path) -> None:
    written(tmp_path, 3000, segment_bytes=1 << 30)
    [segment] = segments(tmp_path)
    content = segment.path.read_bytes()
    third = content.find(b'{"seq":1000,')
    garbage = os.urandom(400_000).replace(b"\n", b"") + b"\n"
    segment.path.write_bytes(content[:third] + garbage + content[third:])
    assert read_all(tmp_path) == list(range(1, 3001))
    for after in (500, 999, 1000, 2500):
        assert read_all(tmp_path, after) == list(range(after + 1, 3001))
    assert [entry.seq for entry in backwards(tmp_path)] == list(range(3000, 0, -1))


def test_a_file_that_somebody_removes_is_begun_anew(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal")
    writer.find()
    writer.append(entries(1, 3))
    for segment in segments(writer.folder):
        segment.path.unlink()
    writer.folder.rmdir()
    writer.append(entries(4, 6))
    writer.close()
    assert read_all(writer.folder) == [4, 5, 6]


def test_what_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    writer = JournalWriter(tmp_path / "journal")
    with pytest.raises(JournalWriteError) as caught:
        writer.append(entries(1, 3))
    assert str(tmp_path / "journal") in str(caught.value)
    assert os.strerror(errno.EEXIST) in str(caught.value)
    assert caught.value.written == 0


def test_with_no_descriptor_left_a_sync_fails_and_the_next_one_works(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal")
    writer.append(entries(1, 3))
    with no_descriptor_left(), pytest.raises(JournalWriteError, match="Too many open files"):
        writer.sync()
    writer.sync()
    writer.close()
