"""Whatever becomes of the journal's files, no number is told twice, what is told is JSON, and new events are kept."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from agentd.recording.journal.database import JournalDatabase, JournalError
from agentd.recording.journal.entry import Entry
from tests.fuzz.effort import examples
from tests.fuzz.mutations import mutations
from tests.recording.support import ALL, entries

NUMBER = 200
_TOKENS = [
    b"\0",
    b"\0" * 5000,
    b"\xff" * 40,
    b'"',
    b"{",
    b"SQLite format 3\0",
    b"CREATE TABLE events",
    b"\x7f\xff\xff\xff",
]


def everything(database: JournalDatabase, after: int = 0) -> list[Entry]:
    """Read on until nothing comes any more, or no more can be read."""
    found: list[Entry] = []
    for _ in range(1000):
        try:
            some = database.read(after, ALL, 50)
        except JournalError:
            return found
        if not some:
            return found
        found += some
        after = some[-1].seq
    raise AssertionError("reading goes round in circles")


@examples(25)
@given(data=st.data(), killed=st.booleans())
def test_damaged_files_tell_no_number_twice_and_keep_what_is_new(data: st.DataObject, killed: bool) -> None:
    with TemporaryDirectory() as name:
        folder, former = Path(name) / "damaged", JournalDatabase(Path(name) / "whole")
        for first in range(1, NUMBER, 20):
            former.append(entries(first, first + 19))
        if not killed:
            former.close()
        folder.mkdir()
        for path in former.path.parent.iterdir():
            content = path.read_bytes()
            if not path.name.endswith("-shm") and data.draw(st.booleans()):
                content = data.draw(mutations([content], _TOKENS))
            (folder / path.name).write_bytes(content)
        former.close()
        goes_on(JournalDatabase(folder))


def goes_on(database: JournalDatabase) -> None:
    """The next daemon takes what there is, and what it adds is read after it."""
    told = everything(database)
    assert all(before.seq < after.seq for before, after in pairwise(told))
    for entry in told:
        json.loads(entry.body)
        assert b"\n" not in entry.body
    last = database.find().last
    assert 0 <= database.number_before_last(7, ALL, NUMBER) <= NUMBER
    added = entries(last + 1, last + 3)
    database.append(added)
    database.close()
    assert everything(database, last) == added
