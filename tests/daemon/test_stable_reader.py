"""What two readings agree on is taken; a file that still changes is as it was taken last."""

from __future__ import annotations

from pathlib import Path

from agentd.daemon import stable_reader
from agentd.daemon.configuration import Reading, Sources
from agentd.jcard.drop_in_folder import FoundFile
from agentd.jcard.secrets import Secrets

JCARD, A, B, C = (Path("/etc") / name for name in ("jcard.toml", "d/a.toml", "d/b.toml", "d/c.toml"))


def reading(*expired: Path, prompt: str = "p", **texts: str) -> Reading:
    """The jcard, and these drop-ins by their letter."""
    files = {JCARD: FoundFile(JCARD, None, b"j", None)}
    for letter, text in sorted(texts.items()):
        path = Path(f"/etc/d/{letter}.toml")
        files[path] = FoundFile(path, None, text.encode(), None)
    return Reading(Sources(files, {}, frozenset(expired)), {Path("/p"): prompt}, {}, Secrets())


def agreed(first: Reading, again: Reading, taken: Reading | None, *, stopping: bool = False) -> Reading | None:
    return stable_reader.agreed(first, again, taken, stopping=stopping)


def texts(found: Reading | None) -> dict[str, str]:
    """What the drop-ins say."""
    assert found is not None
    return {path.stem: (file.data or b"").decode() for path, file in list(found.sources.files.items())[1:]}


def test_a_file_that_changes_is_as_it_was_taken_and_holds_up_no_other() -> None:
    found = agreed(reading(a="2", b="2"), reading(a="2", b="3"), reading(a="1", b="1"))
    assert texts(found) == {"a": "2", "b": "1"}


def test_a_new_file_that_changes_is_not_there_yet() -> None:
    assert texts(agreed(reading(a="1", b="1"), reading(a="1", b="2"), reading(a="1"))) == {"a": "1"}


def test_a_new_file_that_changes_is_not_taken_for_none_where_agents_are_to_be_stopped() -> None:
    found = agreed(reading(a="1", b="1"), reading(a="1", b="2"), reading(), stopping=True)
    assert texts(found) == {"a": "1", "b": ""}
    assert found is not None
    assert found.sources.files[B].unavailable == "it is being written"


def test_a_file_counts_as_removed_once_two_readings_are_without_it() -> None:
    taken = reading(a="1", b="1", c="1")
    assert texts(agreed(reading(a="1", c="2"), reading(a="1", c="3"), taken)) == {"a": "1", "c": "1"}
    assert texts(agreed(reading(a="1", b="1", c="2"), reading(a="1", c="2"), taken)) == {"a": "1", "b": "1", "c": "2"}


def test_a_lease_that_was_renewed_between_two_readings_is_not_over() -> None:
    found = agreed(reading(A, B, a="1", b="1", c="2"), reading(A, a="1", b="1", c="3"), reading(a="1", b="1"))
    assert found is not None
    assert found.sources.expired == {A}


def test_nothing_is_taken_while_prompts_change_or_before_anything_was() -> None:
    assert agreed(reading(a="1"), reading(a="1", prompt="q"), reading()) is None
    assert agreed(reading(a="1"), reading(a="2"), None) is None
