"""Files taken together: each as a whole by itself, the earlier one first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agentd.jcard.drop_ins import SourceFile, TakenFile, drop_in_context, merge
from agentd.jcard.load import load_jcard
from agentd.jcard.problems import LoadResult
from tests.jcard.loading import CONTEXT

JCARD = Path("/etc/stereos/jcard.toml")
A, B, C = (JCARD.with_name("jcard.d") / f"{letter}.toml" for letter in "abc")


def agent(name: str, *fields: str) -> str:
    return "\n".join(["[[agents]]", f'name = "{name}"', 'harness = "codex"', *fields, ""])


def loaded(path: Path, text: str, owner: str | None = None) -> LoadResult:
    return load_jcard(text.encode(), str(path), drop_in_context(CONTEXT, path, owner))


def source(
    path: Path, text: str | None, good: str | None = None, owner: str | None = None, *, expired: bool = False
) -> SourceFile:
    """A file with this text, or one that cannot be read."""
    return SourceFile(
        path,
        owner,
        None if text is None else loaded(path, text, owner),
        "it cannot be read: Permission denied" if text is None else None,
        None if good is None else loaded(path, good, owner),
        expired,
    )


def merged(texts: Mapping[Path, str]) -> list[TakenFile]:
    return list(merge(source(path, text) for path, text in texts.items()))


def names(files: Sequence[TakenFile]) -> list[list[str]]:
    return [[spec.name for spec in file.agents] for file in files]


def errors(file: TakenFile) -> list[str]:
    return [str(problem) for problem in file.errors]


def test_all_files_declare_agents_in_order() -> None:
    files = merged({JCARD: agent("z"), A: agent("x") + agent("b"), B: agent("a")})
    assert names(files) == [["z"], ["x", "b"], ["a"]]
    assert [file.valid for file in files] == [True] * 3


def test_an_agent_knows_its_file_and_its_owner() -> None:
    path = A.parent / "team" / "a.toml"
    (file,) = merge([source(path, agent("x"), owner="team")])
    assert [(spec.source, spec.owner) for spec in file.agents] == [(path, "team")]
    (plain,) = merge([source(A, agent("x"))])
    assert [(spec.source, spec.owner) for spec in plain.agents] == [(A, None)]


def test_relative_paths_start_at_the_folder_of_the_file() -> None:
    path = A.parent / "team" / "a.toml"
    (file,) = merge([source(path, agent("x", 'workdir = "w"', 'prompt_file = "../p.md"'), owner="team")])
    [spec] = file.agents
    assert (spec.workdir, spec.prompt_file) == (path.parent / "w", A.parent / "p.md")


def test_the_default_workdir_is_that_of_the_jcard() -> None:
    (file,) = merge([source(A, agent("x"))])
    assert file.agents[0].workdir == CONTEXT.default_workdir


@pytest.mark.parametrize(
    "broken", ["[[agents]\n", agent("x", "restart = 5"), agent("x") + agent("X")], ids=["syntax", "field", "twice"]
)
def test_an_error_leaves_the_last_good_content_of_its_file_in_force(broken: str) -> None:
    files = merge([source(JCARD, agent("j")), source(A, broken, good=agent("old")), source(B, agent("b"))])
    assert names(files) == [["j"], ["old"], ["b"]]
    assert [file.valid for file in files] == [True, False, True]
    assert errors(files[1])[0].startswith(f"{A}:")


@pytest.mark.parametrize("broken", ["[[agents]\n", None])
def test_a_file_that_was_never_good_declares_nothing(broken: str | None) -> None:
    files = merge([source(JCARD, agent("j")), source(A, broken), source(B, agent("b"))])
    assert names(files) == [["j"], [], ["b"]]
    assert [file.known for file in files] == [True, False, True]


def test_a_file_that_cannot_be_read_says_why_and_stays_as_it_was() -> None:
    files = merge([source(JCARD, None, good=agent("j")), source(A, None, good=agent("a"))])
    assert names(files) == [["j"], ["a"]]
    assert errors(files[1]) == [f"{A}: it cannot be read: Permission denied"]


def test_a_name_that_an_earlier_file_has_is_an_error_of_the_later_one() -> None:
    files = merged({JCARD: agent("other") + agent("x"), A: "# mine\n" + agent("X"), B: agent("b")})
    assert names(files) == [["other", "x"], [], ["b"]]
    [error] = errors(files[1])
    assert error.startswith(f'{A}:3:1: agent "X": name: found "X", which is already taken by agent "x" at {JCARD}:5:1')
    assert error.endswith(": names must differ in more than case")


def test_a_replica_clashes_as_any_other_agent() -> None:
    files = merged({A: agent("x", "replicas = 3"), B: agent("x-2")})
    assert names(files) == [["x-0", "x-1", "x-2"], []]
    assert errors(files[1]) == [
        f'{B}:2:1: agent "x-2": name: found "x-2", which is already taken by agent "x-2" at {A}:2:1'
    ]
    # One error a table is enough, whichever of the two has the replicas.
    assert len(errors(merged({A: agent("x-1") + agent("x-2"), B: agent("x", "replicas = 3")})[1])) == 1


@pytest.mark.parametrize(
    ("first", "second", "place", "other"),
    [
        (agent("a", 'session = "s"'), agent("b", 'session = "s"'), "4:1", "4:1"),
        (agent("s"), agent("b", 'session = "s"'), "4:1", "2:1"),
        (agent("a", 'session = "s"'), agent("s"), "2:1", "4:1"),
    ],
)
def test_a_session_that_an_earlier_file_has_is_an_error_of_the_later_one(
    first: str, second: str, place: str, other: str
) -> None:
    files = merged({A: first, B: second})
    [error] = errors(files[1])
    assert error.startswith(f"{B}:{place}: ")
    assert 'session: found "s", which is already the session of agent' in error
    assert f"at {A}:{other}; each agent needs its own" in error


def test_two_files_cannot_have_the_same_branch_of_a_repository() -> None:
    fields = ('repo = "/src/app"', 'isolation = "worktree"', 'branch = "fix"')
    files = merged({A: agent("a", *fields), B: agent("b", *fields), C: agent("c", *fields[:2])})
    assert names(files) == [["a"], [], ["c"]]
    [error] = errors(files[1])
    assert error.startswith(f'{B}:6:1: agent "b": branch: found "fix"')
    assert f'agent "a" at {A}:6:1' in error


def test_of_a_file_whose_name_was_taken_the_other_agents_stay() -> None:
    """An earlier file takes a name: the later one keeps the rest of its last good content."""
    text = agent("x") + agent("y")
    files = merge([source(JCARD, agent("x")), source(A, text, good=text)])
    assert names(files) == [["x"], ["y"]]
    assert not files[1].valid


def test_a_broken_file_still_holds_its_names() -> None:
    files = merge([source(A, "[", good=agent("x")), source(B, agent("x"))])
    assert names(files) == [["x"], []]
    assert f"at {A}:2:1" in errors(files[1])[0]


def test_a_file_whose_lease_is_over_counts_as_removed() -> None:
    text = '[drop_in]\nlease = "30s"\n' + agent("x")
    files = merge([source(A, text, good=text, expired=True), source(B, agent("x"))])
    assert names(files) == [[], ["x"]]
    assert [str(problem) for problem in files[0].warnings] == [
        f"{A}: its lease of 30s is over, so it counts as removed; touch it to bring it back"
    ]
    assert files[0].valid


@pytest.mark.parametrize(("written", "seconds"), [('"30s"', 30.0), ('"1m30s"', 90.0), ('""', None)])
def test_a_lease_is_a_duration(written: str, seconds: float | None) -> None:
    assert loaded(A, f"[drop_in]\nlease = {written}\n").lease == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[drop_in]\nlease = 30\n", '2:1: drop_in.lease: found 30, which has no unit: write "30s" for seconds'),
        ('[drop_in]\nlease = "10ms"\n', '2:1: drop_in.lease: found "10ms", expected at least "200ms"'),
        ("drop_in = true\n", "1:1: found a boolean, expected a table: write [drop_in]"),
    ],
)
def test_a_wrong_lease_is_an_error_at_its_place(text: str, message: str) -> None:
    [error] = [str(problem) for problem in loaded(A, text).errors]
    assert error.startswith(f"{A}:{message}")


@pytest.mark.parametrize("key", ["Lease", "leese", "leas", "lease_time"])
def test_an_unknown_key_of_the_drop_in_is_a_warning(key: str) -> None:
    [warning] = [str(problem) for problem in loaded(A, f'[drop_in]\n{key} = "1s"\n').warnings]
    assert warning == f'{A}:2:1: drop_in.{key}: unknown key, ignored; did you mean "lease"?'
