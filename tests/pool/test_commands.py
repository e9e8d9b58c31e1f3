"""The commands about workers, as they are typed: what they print, and their exit statuses."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.pool.conftest import PROVIDER, World, git, jcard_of
from tests.support.daemon import program
from tests.support.forked import run_agentctl
from tests.support.thorough import everyday


@dataclass(frozen=True, slots=True)
class Typed:
    """Types commands in the repository."""

    world: World

    def run(self, line: str) -> tuple[int, str, str]:
        """Give the exit status, and what was printed on both streams."""
        daemon = self.world.daemon
        environment = {**daemon.environment(), **daemon.places}
        argv = [program("agentctl"), *shlex.split(line)]
        done = run_agentctl(argv, env=environment, cwd=self.world.repo, timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def __call__(self, line: str) -> dict[str, object]:
        """Give the document of a command that succeeds."""
        status, printed, said = self.run(f"{line} --json")
        assert status == 0, printed + said
        return cast("dict[str, object]", json.loads(printed))

    def refused(self, line: str) -> dict[str, object]:
        """Give the error of a command that is refused."""
        status, printed, said = self.run(f"{line} --json")
        assert status == 1, printed + said
        error = cast("dict[str, dict[str, object]]", json.loads(printed))["error"]
        assert str(cast("dict[str, object]", error["details"])["example"]).startswith("agentctl ")
        return error


@pytest.fixture
def typed(world: World) -> Typed:
    return Typed(world)


def test_a_worker_from_spawn_to_terminate(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "task.md").write_text("hello ASK-QUESTION WRITE-FILE:new.txt")
    worker = str(
        typed(f"spawn --provider {PROVIDER} --repo . --isolation worktree --task-file {tmp_path}/task.md")["id"]
    )
    asked = typed(f"observe {worker} --for question --timeout 60s")
    assert (asked["event"], asked["asks"], asked["choices"]) == ("question", "Which colour?", ["Blue", "Red"])
    typed(f"answer {worker} Blue")
    assert typed(f"observe {worker} --for completed --timeout 60s")["timed_out"] is False
    assert typed(f"observe {worker} --for exited --timeout 0s")["timed_out"] is True

    work = typed(f"collect {worker} --output {tmp_path}/work")
    assert sorted(
        each.name for each in (tmp_path / "work").iterdir() if each.suffix in (".json", ".patch", ".txt")
    ) == [
        "changes.patch",
        "manifest.json",
        "summary.txt",
        "transcript.txt",
    ]
    assert "(Blue)" in (tmp_path / "work/summary.txt").read_text()
    git(typed.world.repo, "apply", "--index", str(work["patch"]))
    assert "(Blue)" in (typed.world.repo / "new.txt").read_text()
    assert typed.refused(f"collect {worker} --output {tmp_path}/work")["code"] == "conflict"

    page = typed(f"transcript {worker} --offset 0 --limit 1")
    assert (page["offset"], page["next_offset"], page["has_more"]) == (0, 1, True)
    (made,) = cast("list[dict[str, object]]", typed(f"artifacts {worker}")["artifacts"])
    assert (made["path"], made["status"]) == ("new.txt", "A")
    (listed,) = cast("list[dict[str, object]]", typed("workers --state running --recent 5")["workers"])
    assert (listed["id"], listed["provider"], listed["isolation"]) == (worker, PROVIDER, "worktree")
    assert typed(f"terminate {worker} --dry-run")["dry_run"] is True
    assert typed(f"terminate {worker}")["worktree_stays"] is True
    assert typed("workers")["total"] == 0
    assert typed.refused(f"observe {worker}")["code"] == "not_found"
    after = typed(f"collect {worker} --output {tmp_path}/after")
    assert after["exit"] == {"code": 0, "signal": None, "reason": "terminated"}
    assert after["answer"] == work["answer"]
    assert str(after["next"]).startswith(f"git -C {typed.world.repo} apply")


@pytest.mark.parametrize(
    "line",
    everyday(["collect {}"], ["send {} hi", "answer {} allow", "interrupt {}", "keys {} Enter", "collect {}"]),
)
def test_of_a_worker_that_there_is_not_all_commands_say_so_as_an_object(typed: Typed, line: str) -> None:
    assert typed.refused(line.format("w1130-000000-aaaaaa"))["message"]


def test_the_worktree_of_a_worker_that_lives_is_never_removed(typed: Typed) -> None:
    # It is not ready for its task at once, shows the word that no state is read from, and lives.
    task = "'sleep 0.3; echo exception: caught; touch here; exec sleep 600'"
    worker = str(typed(f"spawn --provider shell --repo . --isolation worktree --task {task}")["id"])
    tree = Path(typed.world.daemon.agents()[worker]["workdir"])
    typed.world.daemon.wait_for((tree / "here").exists, what="it has taken its task")
    for flag in ("", "--force"):
        assert typed.run(f"worktrees {flag} clean {worker} --json")[0] == 1
        assert (tree / "here").exists()
    assert typed(f"observe {worker} --timeout 0s")["state"] == "running"


@pytest.mark.thorough
def test_keys_are_pressed_only_where_the_policy_allows_it(typed: Typed) -> None:
    worker = str(typed(f"spawn --provider {PROVIDER} --repo . --task hello")["id"])
    typed(f"observe {worker} --for completed --timeout 60s")
    error = typed.refused(f"keys {worker} C-l")
    assert (error["code"], cast("dict[str, object]", error["details"])["policy"]) == ("policy", "allow_keys")
    typed.world.daemon.write_jcard(jcard_of("allow_keys = true"))
    status, printed, said = typed.run(f"keys {worker} C-l")
    assert status == 0, printed + said


@pytest.mark.thorough
def test_what_is_there_is_said_without_a_worker(typed: Typed) -> None:
    entries = cast("list[dict[str, object]]", typed("doctor --privacy")["entries"])
    assert {"what", "where", "read", "stored", "why", "leaves_machine"} == set(entries[0])
    assert not any(each["leaves_machine"] for each in entries)
    (skill,) = cast("list[dict[str, object]]", typed("skills list")["skills"])
    text = str(typed(f"skills get {skill['name']}")["text"])
    assert "agentctl spawn" in text
    assert "spawn_worker" in text
    setup = typed(f"setup {PROVIDER}")
    assert setup["ready"] is True
    # Of any command it is not known what it would log in with.
    steps = cast("list[dict[str, object]]", setup["steps"])
    assert [each["what"] for each in steps] == ["agentd runs", "its program is installed", "try a round trip"]
    (provider,) = cast("list[dict[str, object]]", typed(f"inventory --provider {PROVIDER}")["providers"])
    assert provider["auth"] == {"present": None, "source": None}
    assert typed("stats --since 1h --by role")["rows"] == []
    (usage,) = cast("list[dict[str, object]]", typed(f"usage --provider {PROVIDER} --refresh")["providers"])
    assert (usage["usable"], usage["windows"], usage["unusable_reason"]) == (True, [], None)
    assert cast("dict[str, object]", usage["tokens"])["confidence"] == "unknown"
    assert typed("usage")["agents"] == []
    assert typed.run("lease list --repo nowhere --json")[0] == 1
    providers = cast("list[object]", typed("inventory --usage")["providers"])
    # 8 KB for five, each with two windows of 200 bytes more.
    assert len(typed.run("inventory --usage --json")[1]) / len(providers) + 400 <= 8192 / 5


@pytest.mark.thorough
def test_a_lease_conflict_exits_with_1(typed: Typed) -> None:
    typed("lease acquire a.txt --mode write --repo . --owner ada --ttl 10m")
    error = typed.refused("lease acquire ../repo/a.txt --mode read --repo . --owner bob")
    assert error["code"] == "conflict"
    (held,) = cast("list[dict[str, object]]", typed("lease list --repo .")["leases"])
    assert (held["path"], held["owner"], held["mode"]) == ("a.txt", "ada", "write")
    typed("lease release a.txt --repo . --owner ada")
    typed("lease acquire a.txt --mode read --repo . --owner bob")


@pytest.mark.thorough
def test_a_provider_that_cannot_be_spawned_is_not_usable(typed: Typed) -> None:
    gone = '[[pool.providers]]\nid = "gone"\nharness = "custom"\ncommand = ["/nowhere/gone"]\n'
    typed.world.daemon.write_jcard(jcard_of('denied_providers = ["shell"]', gone))
    providers = cast("list[dict[str, object]]", typed("usage")["providers"])
    reasons = {str(each["provider"]): each["unusable_reason"] for each in providers}
    assert [each["usable"] for each in providers] == [reason is None for reason in reasons.values()]
    assert "/nowhere/gone" in str(reasons["gone"])
    assert "denied_providers" in str(reasons["shell"])
    assert reasons[PROVIDER] is None
    listed = cast("list[dict[str, dict[str, object]]]", typed("inventory --usage --provider gone")["providers"])
    assert listed[0]["usage"]["usable"] is False


_REFUSED = ["spawn --provider auto --repo . --task x", "spawn --provider stand-in --repo no --task x"]


@pytest.mark.parametrize("line", everyday(_REFUSED[:1], _REFUSED))
def test_a_refused_spawn_makes_nothing(typed: Typed, line: str) -> None:
    assert typed.refused(line)["code"] == "invalid_argument"
    assert typed("workers")["total"] == 0
