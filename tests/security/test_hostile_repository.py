"""What a repository can have git execute: nothing, whoever makes, looks at, collects or removes a worktree of it."""

from __future__ import annotations

import getpass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentd.cli.agentctl import collection, terminals
from agentd.cli.agentctl.client import UnreachableError
from agentd.cli.agentctl.command import Invocation
from tests.cli.support import Client
from tests.worktrees.repositories import World, git

_PROGRAMS = """
[include]
    path = {own}
[core]
    fsmonitor = {run}
    hooksPath = {hooks}
    pager = {run}
    editor = {run}
    sshCommand = {run}
    askPass = {run}
    alternateRefsCommand = {run}
[pager]
    diff = {run}
    log = {run}
[diff]
    external = {run}
[diff "evil"]
    command = {run}
    textconv = {run}
[gpg]
    program = {run}
[commit]
    gpgSign = true
[log]
    showSignature = true
[uploadpack]
    packObjectsHook = {run}
[alias]
    diff = "!{run}"
    worktree = "!{run}"
[protocol "ext"]
    allow = always
[remote "origin"]
    url = ext::{run}
    promisor = true
    partialclonefilter = blob:none
[extensions]
    partialClone = origin
"""


def test_no_setting_of_a_repository_runs_a_program(world: World) -> None:
    ran, run, hooks = world.folder / "ran", world.folder / "run", world.folder / "hooks"
    run.write_text(f'#!/bin/sh\necho "$0 $*" >>{ran}\n')
    run.chmod(0o755)
    hooks.mkdir()
    for hook in ("post-checkout", "pre-commit", "post-index-change", "reference-transaction", "prepare-commit-msg"):
        (hooks / hook).symlink_to(run)
        (world.repo / ".git" / "hooks").mkdir(exist_ok=True)
        (world.repo / ".git" / "hooks" / hook).symlink_to(run)
    own = world.folder / "own"
    own.write_text(f"[core]\n\tfsmonitor = {run}\n")
    (world.repo / ".gitattributes").write_text("* diff=evil\n")
    git(world.repo, "-c", "core.hooksPath=/dev/null", "add", "--all")
    git(world.repo, "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "attributes")
    with (world.repo / ".git" / "config").open("a") as config:
        config.write(_PROGRAMS.format(run=run, hooks=hooks, own=own))
    place = world.make()
    (place.path / "a.txt").write_text("changed\n")
    (place.path / "new.txt").write_text("new\n")
    (world.folder / "jcard.toml").write_text("# nobody\n")
    client = Client(world.folder, {"AGENTD_DATA_DIR": str(world.folder), "AGENTD_AGENT_USER": getpass.getuser()})
    assert "+changed" in client("diff", "alice").out
    assert client("diff", "alice", "--stat").status == 0
    assert client("collect", "alice", "--output", world.folder / "out").status == 0
    assert client("worktrees", "list").rows[0][4] == "2"
    # The object that is missing would be asked for.
    blob = git(world.repo, "rev-parse", "HEAD:a.txt")
    (world.repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert client("diff", "alice").status == 1
    assert client("worktrees", "clean", "--force").status == 0
    assert not ran.exists(), ran.read_text()


def test_the_end_of_a_terminal_is_collected_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no transcript is kept: tmux says it, which is in the agents' hands."""

    def unreachable(*_: object) -> bytes:
        raise UnreachableError("none")

    shown = ["one", "\x1b]0;title\x07two\u202e  ", "three\x9b2J"]
    terminal = SimpleNamespace(pane=SimpleNamespace(capture_pane=lambda **_: shown))
    monkeypatch.setattr(terminals, "open_terminal", lambda _: terminal)
    invocation: Any = SimpleNamespace(api=SimpleNamespace(read=unreachable), name=lambda: "a", warn=print)
    tail = collection.transcript_tail(cast("Invocation", invocation), 2)
    assert tail == [r"\x1b]0;title\x07two\u202e", r"three\x9b2J"]
