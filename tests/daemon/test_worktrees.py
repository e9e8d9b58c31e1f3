"""Agents with a git worktree of their own, and agents in a workspace of a role."""

from __future__ import annotations

import os
import pwd
import stat
from datetime import datetime
from pathlib import Path

import pytest

from tests.daemon.support import another_run, declare, failure, folder_of, pids, running, script, settled, start, stay
from tests.support.daemon import Daemon
from tests.support.processes import marked
from tests.worktrees.repositories import commit, git, make_repository

ROOT = os.geteuid() == 0
OTHER = "daemon"
"""A user that every system has, and nobody logs in as."""


@pytest.fixture
def repo(daemon: Daemon) -> Path:
    return make_repository(daemon.folder / "shop")


def own(name: str, **fields: object) -> dict[str, object]:
    return stay(name, repo="shop", isolation="worktree", **fields)


def today() -> str:
    return f"notes/daily-{datetime.now().astimezone().date().isoformat()}.md"


def test_each_replica_works_in_its_own_worktree_on_its_own_branch_over_restarts(daemon: Daemon, repo: Path) -> None:
    start(daemon, own("a", replicas=3), own("b", branch="topic", workdir="sub"), stay("plain", repo="shop"))
    failure(daemon, "b")  # it has no folder sub yet
    found = running(daemon, "a-0", "a-1", "a-2", "plain")
    for name in ("a-0", "a-1", "a-2"):
        tree = daemon.data / "worktrees" / name
        assert folder_of(found[name]) == tree
        assert git(tree, "branch", "--show-current") == f"agentd/{name}"
        assert daemon.agents()[name]["workdir"] == str(tree)
        assert daemon.agents()[name]["worktree"] == {
            "path": str(tree),
            "branch": f"agentd/{name}",
            "base": None,
            "repo": str(repo),
        }
    assert folder_of(found["plain"]) == repo
    assert daemon.agents()["plain"]["worktree"] is None
    assert git(daemon.data / "worktrees" / "b", "branch", "--show-current") == "topic"
    assert "sub" in (daemon.agents()["b"]["error"] or "")

    (daemon.data / "worktrees" / "a-1" / "new.txt").write_text("work\n")
    declare(daemon, own("a", replicas=3, restarted_at="now"), stay("plain", repo="shop"))
    another_run(daemon, "a-1", found["a-1"])
    assert (daemon.data / "worktrees" / "a-1" / "new.txt").read_text() == "work\n"
    # Adopted by another daemon, it is as it was.
    before = running(daemon, "a-0", "a-1", "a-2", "plain")
    daemon.kill()
    daemon.start()
    daemon.wait_for(lambda: daemon.health()["config"]["valid"])
    assert running(daemon, "a-0", "a-1", "a-2", "plain") == before
    assert (daemon.agents()["a-0"]["worktree"] or {})["branch"] == "agentd/a-0"


@pytest.mark.thorough
def test_another_branch_is_another_launch_and_leaves_unfinished_work_aside(daemon: Daemon, repo: Path) -> None:
    assert repo.exists()
    start(daemon, own("a"), own("other"))
    before = running(daemon, "a", "other")
    tree = daemon.data / "worktrees" / "a"
    (tree / "new.txt").write_text("work\n")
    declare(daemon, own("a", branch="topic"), own("other"))
    another_run(daemon, "a", before["a"])
    assert git(tree, "branch", "--show-current") == "topic"
    assert (tree.with_name("a~1") / "new.txt").read_text() == "work\n"
    assert pids(daemon)["other"] == before["other"]


@pytest.mark.thorough
def test_a_worktree_that_holds_no_work_goes_with_its_branch_when_another_is_declared(
    daemon: Daemon, repo: Path
) -> None:
    start(daemon, own("a"))
    before = running(daemon, "a")
    tree = daemon.data / "worktrees" / "a"
    declare(daemon, own("a", branch="topic"))
    another_run(daemon, "a", before["a"])
    assert git(tree, "branch", "--show-current") == "topic"
    assert sorted(path.name for path in tree.parent.iterdir() if path.is_dir()) == ["a"]
    assert git(repo, "branch", "--list", "agentd/*") == ""


def test_what_git_refuses_is_that_agents_reason_and_nobody_elses(daemon: Daemon, repo: Path) -> None:
    assert repo.exists()
    start(
        daemon,
        own("good"),
        own("busy", branch="main"),
        stay("lost", repo="nowhere", isolation="worktree"),
        own("based", base="v9"),
    )
    running(daemon, "good")
    assert "already checked out" in failure(daemon, "busy")
    assert "nowhere" in failure(daemon, "lost")
    assert "v9" in failure(daemon, "based")


def test_a_read_only_agent_has_a_write_protected_checkout_and_the_harness_in_its_plan_mode(
    daemon: Daemon, repo: Path
) -> None:
    assert repo.exists()
    program = daemon.bin / "codex"
    program.write_text('#!/bin/sh\necho "$@" >"$ARGUMENTS"\nexec sleep 600\n')
    program.chmod(0o755)
    arguments = daemon.folder / "arguments"
    reader = {"repo": "shop", "isolation": "read_only", "env": {"ARGUMENTS": str(arguments)}, "grace_period": "20s"}
    start(daemon, {"name": "reader", "harness": "codex", "prompt": "look", **reader})
    tree = daemon.data / "worktrees" / "reader"
    assert folder_of(running(daemon, "reader")["reader"]) == tree
    daemon.wait_for(lambda: arguments.exists() and arguments.read_text())
    assert arguments.read_text() == "exec --skip-git-repo-check -s read-only -- look\n"
    assert not stat.S_IMODE((tree / "a.txt").stat().st_mode) & 0o222
    assert git(tree, "branch", "--show-current") == ""
    # Every start sees what the repository has by then.
    (repo / "later.txt").write_text("later\n")
    commit(repo, "later")
    before = pids(daemon)["reader"]
    assert before is not None
    declare(daemon, {"name": "reader", "harness": "codex", "prompt": "look", **reader, "restarted_at": "now"})
    another_run(daemon, "reader", before)
    assert (tree / "later.txt").exists()


@pytest.mark.thorough
def test_an_agent_that_is_removed_while_git_works_waits_for_nobody(daemon: Daemon, repo: Path) -> None:
    """A filter that never ends stands in for a very large repository."""
    git(repo, "config", "filter.slow.smudge", f"touch {daemon.folder}/filtering; exec sleep 600")
    (repo / ".gitattributes").write_text("*.big filter=slow\n")
    (repo / "x.big").write_text("x\n")
    commit(repo, "big")
    start(daemon, own("slow"), stay("quick"))
    running(daemon, "quick")
    daemon.wait_for((daemon.folder / "filtering").exists)
    settled(daemon, stay("quick"))
    daemon.wait_gone("slow")
    daemon.wait_for(
        lambda: not any("sleep 600" in str(each) and "smudge" in str(each) for each in marked(str(daemon.bin)))
    )
    # What was half made is made anew.
    git(repo, "config", "--unset", "filter.slow.smudge")
    declare(daemon, own("slow"), stay("quick"))
    assert folder_of(running(daemon, "slow")["slow"]) == daemon.data / "worktrees" / "slow"
    assert (daemon.data / "worktrees" / "slow" / "x.big").read_text() == "x\n"


@pytest.mark.thorough
def test_a_daemon_killed_while_git_works_leaves_nothing_that_the_next_cannot_use(daemon: Daemon, repo: Path) -> None:
    git(repo, "config", "filter.slow.smudge", f"touch {daemon.folder}/filtering; exec sleep 600")
    (repo / ".gitattributes").write_text("*.big filter=slow\n")
    (repo / "x.big").write_text("x\n")
    commit(repo, "big")
    start(daemon, own("slow"))
    daemon.wait_for((daemon.folder / "filtering").exists)
    daemon.kill()
    git(repo, "config", "--unset", "filter.slow.smudge")
    daemon.start()
    running(daemon, "slow")
    assert (daemon.data / "worktrees" / "slow" / "x.big").read_text() == "x\n"


@pytest.mark.thorough
def test_thirty_agents_of_one_repository_start_together(daemon: Daemon, repo: Path) -> None:
    assert repo.exists()
    start(daemon, own("a", replicas=30))
    running(daemon, *(f"a-{number}" for number in range(30)), timeout=60)
    branches = git(repo, "for-each-ref", "--format=%(refname:short)", "refs/heads/agentd/").split()
    assert len(branches) == 30


def test_a_workspace_is_made_where_it_is_missing_and_todays_note_at_every_start(daemon: Daemon) -> None:
    note = f"cat {today()}; while [ -e {today()} ]; do sleep 0.1; done"
    start(daemon, script("w", note, role="engineer", workdir="deep/w", restart="always", restart_delay="10ms"))
    before = running(daemon, "w")["w"]
    folder = daemon.folder / "deep" / "w"
    assert "You are w, an engineer." in (folder / "SOUL.md").read_text()
    assert (folder / "CLAUDE.md").readlink() == (folder / "GEMINI.md").readlink() == Path("AGENTS.md")
    (folder / "SOUL.md").unlink()
    # As on another day: the next run finds its note.
    (folder / today()).unlink()
    another_run(daemon, "w", before)
    assert (folder / today()).exists()
    assert not (folder / "SOUL.md").exists()


def test_an_operators_templates_are_used(daemon: Daemon) -> None:
    mine = daemon.home / ".config" / "agentd" / "roles" / "cook"
    mine.mkdir(parents=True)
    (mine / "SOUL.md").write_text("{name} cooks\n")
    start(daemon, stay("c", role="cook", workdir="kitchen"))
    running(daemon, "c")
    assert (daemon.folder / "kitchen" / "SOUL.md").read_text() == "c cooks\n"


@pytest.fixture
def as_other(daemon: Daemon) -> Daemon:
    """A daemon of root whose agents are another user's."""
    if not ROOT:
        pytest.skip("only root can run agents as another user")
    account = pwd.getpwnam(OTHER)
    tmux_folder = daemon.runtime / "tmux"
    tmux_folder.mkdir(mode=0o750)
    os.chown(tmux_folder, account.pw_uid, account.pw_gid)
    daemon.tmux_socket = tmux_folder / "tmux.sock"
    os.chown(daemon.workdir, account.pw_uid, account.pw_gid)
    return daemon


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in [folder, *folder.rglob("*")]}


@pytest.mark.thorough
def test_for_another_user_everything_is_made_as_that_user(as_other: Daemon) -> None:
    account = pwd.getpwnam(OTHER)
    theirs, roots = make_repository(as_other.workdir / "theirs"), make_repository(as_other.folder / "roots")
    for path in [theirs, *theirs.rglob("*")]:
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    hook = theirs / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nid -u >>{as_other.workdir}/hook\n")
    hook.chmod(0o755)
    declare(
        as_other,
        stay("a", repo="work/theirs", isolation="worktree"),
        stay("r", repo="work/theirs", isolation="read_only"),
        stay("w", role="writer", workdir="work/desk"),
        stay("no", repo=str(roots), isolation="worktree"),
        stay("out", role="writer", workdir="work/link"),
    )
    # A folder of root's that the agent user points at is not written to.
    precious = as_other.folder / "precious"
    precious.mkdir()
    (as_other.workdir / "link").symlink_to(precious)
    as_other.start(f"--agent-user={OTHER}")
    found = running(as_other, "a", "r", "w")
    assert folder_of(found["a"]) == as_other.data / "worktrees" / "a"
    assert owners(as_other.data) == {account.pw_uid}
    assert owners(as_other.workdir / "desk") == {account.pw_uid}
    assert owners(theirs / ".git" / "worktrees") == {account.pw_uid}
    assert "dubious ownership" in failure(as_other, "no")
    assert "Permission denied" in failure(as_other, "out")
    assert list(precious.iterdir()) == []
    assert not (as_other.workdir / "hook").exists()
