"""A sandboxed agent in a git worktree: it commits, and does not decide what git executes outside."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.sandbox.conftest import KINDS, Sandboxed
from tests.support.agents import jcard

COMMIT = """
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@x GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@x
echo work >file && git add file && git commit -qm work
for path in "$@"; do
  if echo evil 2>/dev/null >>"$path" || mv "$path" "$path.away" 2>/dev/null; then echo "$path" >>changed; fi
done
echo $? >done.part; mv done.part done; exec sleep 600
"""


def git(sandboxed: Sandboxed, repo: Path, *arguments: str) -> str:
    """Run git as the agents' user."""
    user = {} if sandboxed.user is None else {"user": sandboxed.user.pw_uid, "group": sandboxed.user.pw_gid}
    done = subprocess.run(
        ["git", "-C", str(repo), "-c", "user.name=o", "-c", "user.email=o@x", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(repo), "GIT_CONFIG_NOSYSTEM": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        **user,  # type: ignore[call-overload]  # the same two for every overload
    )
    return str(done.stdout)


@pytest.fixture
def repo(sandboxed: Sandboxed) -> Path:
    """A repository of the agents' user, with one commit."""
    repo = sandboxed.daemon.folder / "repo"
    repo.mkdir()
    sandboxed.give(repo)
    git(sandboxed, repo, "init", "-q", "-b", "main")
    git(sandboxed, repo, "commit", "-q", "--allow-empty", "-m", "first")
    data = sandboxed.daemon.data
    data.mkdir(mode=0o700)
    sandboxed.give(data)
    return repo


@KINDS
def test_it_commits_and_changes_nothing_that_git_executes(sandboxed: Sandboxed, repo: Path, kind: str) -> None:
    daemon = sandboxed.daemon
    tree, own = daemon.data / "worktrees/a", repo / ".git/worktrees/a"
    kept = [
        *(repo / ".git" / name for name in ("config", "hooks/pre-commit", "hooks", "commondir", "HEAD", "packed-refs")),
        *(tree / ".git", own / "commondir", own / "gitdir", own / "config.worktree"),
    ]
    agent = {
        "name": "a",
        "type": "sandboxed",
        "sandbox": kind,
        "repo": "repo",
        "isolation": "worktree",
        "command": ["sh", "-c", COMMIT, "sh", *map(str, kept)],
    }
    config = (repo / ".git/config").read_text()
    sandboxed.start(jcard(agent))
    daemon.wait_for(
        lambda: (tree / "done").exists() or (daemon.agent("a") or {"error": None})["error"], 20, what="it is done"
    )
    assert (tree / "done").exists(), daemon.explain()
    assert not (tree / "changed").exists(), (tree / "changed").read_text()
    assert git(sandboxed, repo, "log", "--format=%s", "agentd/a").split() == ["work", "first"]
    assert (repo / ".git/config").read_text() == config
    assert json.dumps(sorted(each.name for each in (repo / ".git").iterdir() if "away" in each.name)) == "[]"


@KINDS
@pytest.mark.usefixtures("repo")
def test_a_read_only_checkout_is_one(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    tree = daemon.data / "worktrees/a"
    script = 'chmod u+w . 2>/dev/null; if echo x 2>/dev/null >"$1"; then exit 3; fi; git -P log --format=%s; exit 0'
    agent = {
        "name": "a",
        "type": "sandboxed",
        "sandbox": kind,
        "repo": "repo",
        "isolation": "read_only",
        "command": ["sh", "-c", script, "sh", str(tree / "x")],
    }
    sandboxed.start(jcard(agent))
    ended = daemon.wait_state("a", "exited", "failed", timeout=30)
    assert ended["exit_code"] == 0, daemon.screen("a", history=True)
    daemon.wait_for(lambda: "first" in daemon.screen("a", history=True), what="tmux shows what git read")
