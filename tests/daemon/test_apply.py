"""A change that needs a restart waits until nobody uses the agent, or until somebody says so."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.cli.support import Client
from tests.daemon.support import declare, start, stay
from tests.daemon.test_terminal_sizes import attached
from tests.daemon.test_turns import kinds
from tests.support import talking_claude
from tests.support.daemon import AgentJson, Daemon
from tests.support.thorough import everyday


@pytest.fixture
def client(daemon: Daemon) -> Client:
    return Client(daemon.folder, daemon.places)


def planned(daemon: Daemon) -> Sequence[Mapping[str, object]]:
    report = daemon.get("/v1/plan")
    assert isinstance(report, dict)
    operations = report["operations"]
    assert isinstance(operations, list)
    return operations


def waits(daemon: Daemon, name: str = "a") -> Sequence[str]:
    """What the agent's change waits for."""
    held = agent(daemon, name)["held_change"]
    return [] if held is None else held["waits"]


def agent(daemon: Daemon, name: str = "a") -> AgentJson:
    found = daemon.agent(name)
    assert found is not None
    return found


def wait_until_it_waits_for(daemon: Daemon, *reasons: str, name: str = "a") -> None:
    daemon.wait_for(lambda: list(waits(daemon, name)) == list(reasons), what=f"it waits for {reasons}")


def argv_of(pid: int | None) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def test_an_edit_waits_until_nobody_uses_the_agent_and_keeps_its_conversation(daemon: Daemon, client: Client) -> None:
    program = daemon.bin / "claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S -X utf8 {talking_claude.__file__} "$@"\n')
    program.chmod(0o755)
    fields: dict[str, object] = {"name": "a", "harness": "claude-code", "workdir": str(daemon.workdir), "apply": "idle"}
    start(daemon, fields)
    daemon.wait_for(lambda: agent(daemon)["activity"] == "idle", what="a is idle")
    pid = agent(daemon)["pid"]
    assert client("send", "a", "slow one").status == 0
    daemon.wait_for(lambda: agent(daemon)["activity"] == "working", what="a works")

    declare(daemon, {**fields, "model": "opus"})
    wait_until_it_waits_for(daemon, "working")
    line = client("plan").out
    assert line.split("\t") == ["~", "restart", "a", "changed: argv (waits: working)\n"]
    (operation,) = planned(daemon)
    assert (operation["action"], operation["fields"], operation["waits"]) == ("restart", ["argv"], ["working"])
    assert "changed: argv (waits: working)" in client("status").out
    daemon.wait_for(lambda: "change_held" in kinds(daemon), what="it is told")

    daemon.tmux("send-keys", "-t", "=a:", "-l", "a draft")
    with attached(daemon, "a", 120, 40):
        wait_until_it_waits_for(daemon, "working", "attached", "draft in the box")
        (daemon.workdir / "go").touch()
        wait_until_it_waits_for(daemon, "attached", "draft in the box")
    wait_until_it_waits_for(daemon, "draft in the box")
    assert agent(daemon)["pid"] == pid

    # Sent with the draft, and answered.
    daemon.tmux("send-keys", "-t", "=a:", "Enter")
    daemon.wait_for(lambda: agent(daemon)["pid"] not in (pid, None), what="a was restarted")
    daemon.wait_for(lambda: agent(daemon)["activity"] == "idle", what="a is idle")
    argv = argv_of(agent(daemon)["pid"])
    assert argv[argv.index("--model") + 1] == "opus"
    assert argv[argv.index("--resume") + 1] == talking_claude.SESSION
    assert planned(daemon) == []
    daemon.wait_for(lambda: "change_applied" in kinds(daemon), what="it is told")
    assert kinds(daemon).count("change_held") == kinds(daemon).count("change_applied") == 1


@pytest.mark.thorough
def test_an_edit_waits_for_agentctl_apply_over_a_restart_of_agentd(daemon: Daemon, client: Client) -> None:
    fields = stay("a", replicas=2, apply="ask")
    start(daemon, fields)
    before = {name: daemon.wait_state(name, "running")["pid"] for name in ("a-0", "a-1")}
    changed = {**fields, "env": {"LEVEL": "2"}}
    declare(daemon, changed)
    for name in before:
        wait_until_it_waits_for(daemon, "for agentctl apply", name=name)
    daemon.wait_for(lambda: kinds(daemon).count("change_held") == 2, what="it is told")
    since = agent(daemon, "a-0")["held_change"]
    daemon.kill()
    daemon.start()
    for name, pid in before.items():
        wait_until_it_waits_for(daemon, "for agentctl apply", name=name)
        assert agent(daemon, name)["pid"] == pid
    assert agent(daemon, "a-0")["held_change"] == since
    # Not told again; a killed daemon may have lost it.
    assert kinds(daemon).count("change_held") <= 2

    # One ends by itself, and is launched as declared now: what waits is applied to the other alone.
    daemon.tmux("send-keys", "-t", "=a-1:", "C-c")
    daemon.wait_for(lambda: agent(daemon, "a-1")["pid"] not in (None, before["a-1"]), what="a-1 runs again")
    assert agent(daemon, "a-1")["held_change"] is None
    second = agent(daemon, "a-1")["pid"]
    said = client("set", "a", "env.MORE=1", "--wait").out
    assert f"a-0 is running (pid {before['a-0']}); changed: env (waits: for agentctl apply)" in said
    assert client("unset", "a", "env.MORE", "--wait").status == 0
    done = client("apply", "a", "--wait")
    assert done.status == 0, done.err
    daemon.wait_for(lambda: agent(daemon, "a-0")["pid"] not in (None, before["a-0"]), what="a-0 was restarted")
    assert agent(daemon, "a-1")["pid"] == second
    assert planned(daemon) == []


@pytest.mark.thorough
def test_an_edit_that_is_taken_back_leaves_the_agent_alone(daemon: Daemon) -> None:
    fields = stay("a", apply="idle")
    start(daemon, fields)
    pid = daemon.wait_state("a", "running")["pid"]
    declare(daemon, {**fields, "workdir": "elsewhere"})
    wait_until_it_waits_for(daemon, "what it does is not known")
    # By another session of a group, and by a window that is linked elsewhere.
    daemon.tmux("new-session", "-d", "-s", "grouped", "-t", "=a")
    daemon.tmux("new-session", "-d", "-s", "other", "sleep 600")
    daemon.tmux("link-window", "-s", "=a:0", "-t", "other:5")
    for session in ("grouped", "other"):
        with attached(daemon, session, 80, 24):
            wait_until_it_waits_for(daemon, "what it does is not known", "attached")
        wait_until_it_waits_for(daemon, "what it does is not known")
    for session in ("grouped", "other"):
        daemon.tmux("kill-session", "-t", f"={session}")
    # What runs is shown as it runs.
    assert not agent(daemon)["workdir"].endswith("elsewhere")
    declare(daemon, fields)
    daemon.wait_for(lambda: "change_withdrawn" in kinds(daemon), what="it is taken back")
    assert (agent(daemon)["pid"], agent(daemon)["held_change"], planned(daemon)) == (pid, None, [])


@pytest.mark.parametrize(
    "more",
    everyday([{"apply_deadline": "100ms"}], [{"apply_deadline": "100ms"}, {"apply": "now"}, {"restarted_at": "now"}]),
    ids=lambda more: next(iter(more)),
)
def test_an_edit_that_waits_is_applied_by_its_deadline_another_policy_or_a_restart(
    daemon: Daemon, more: dict[str, object]
) -> None:
    fields = stay("a", apply="idle")
    start(daemon, fields)
    pid = daemon.wait_state("a", "running")["pid"]
    changed = {**fields, "env": {"LEVEL": "2"}}
    declare(daemon, changed)
    wait_until_it_waits_for(daemon, "what it does is not known")
    declare(daemon, {**changed, **more})
    daemon.wait_for(lambda: agent(daemon)["pid"] not in (pid, None), what="a was restarted")
    daemon.wait_for(lambda: "change_applied" in kinds(daemon), what="it is told")
