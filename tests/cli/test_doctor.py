from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import cast

import pytest

from agentd.cli.agentctl import tmux_client
from agentd.cli.agentctl.doctor import machine
from agentd.cli.agentctl.doctor.examine import _check_recording
from agentd.cli.agentctl.doctor.finding import Finding, Level
from agentd.cli.agentctl.doctor.places import check_socket
from tests.cli.support import Client, TmuxServer
from tests.support.agents import jcard
from tests.support.daemon import Daemon

KEY = "sk-needle-0123456789"


@pytest.fixture
def client(daemon: Daemon) -> Client:
    """Point agentctl at the daemon's files, as its environment does."""
    environment = daemon.environment()
    return Client(daemon.folder, {**daemon.places, "HOME": environment["HOME"], "PATH": environment["PATH"]})


def stand_in(daemon: Daemon, name: str, body: str) -> None:
    path = daemon.bin / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def findings(client: Client, status: int) -> dict[str, list[tuple[str, str]]]:
    """Ask the doctor, and give levels and texts by topic."""
    done = client("doctor", "--json")
    assert done.status == status, done.out
    assert KEY not in done.out + done.err
    by_topic: dict[str, list[tuple[str, str]]] = {}
    for each in cast("dict[str, list[dict[str, str]]]", done.document)["findings"]:
        assert each["level"] in set(Level)
        assert each["advice"] or each["level"] in ("ok", "note")
        by_topic.setdefault(each["topic"], []).append((each["level"], each["text"]))
    return by_topic


def test_with_a_daemon_that_is_well_there_is_no_error(daemon: Daemon, client: Client) -> None:
    stand_in(daemon, "claude", "echo 9.8.7")
    daemon.write_secret("ANTHROPIC_API_KEY", KEY)
    daemon.write_jcard(jcard({"name": "a", "command": ["sleep", "600"]}, {"name": "b", "harness": "claude-code"}))
    daemon.start()
    daemon.wait_state("a", "running")
    found = findings(client, 0)
    for topic in ("python", "tmux", "daemon", "jcard", "secrets", "harness", "state", "files"):
        assert found[topic][0][0] == "ok", found
    assert ("ok", f"claude-code: 9.8.7, {daemon.bin}/claude") in found["harness"]
    assert ("ok", "claude-code: ANTHROPIC_API_KEY is set") in found["login"]
    assert ("ok", "custom: sleep") in found["harness"]
    assert {level for level, _ in found["harness"]} <= {"ok", "note"}, "what no agent uses is a note at most"
    assert [level for level, _ in found["socket"]] == ["ok", "ok"]
    plain = client("doctor")
    assert all(len(row) == 4 for row in plain.rows)


def test_without_a_daemon_that_is_the_error(client: Client) -> None:
    found = findings(client, 1)
    ((level, text),) = found["daemon"]
    assert (level, text) == (
        "error",
        f"agentd is not reachable on {client.env['AGENTD_API_SOCKET']}: there is no such socket",
    )
    assert [level for level, _ in found["jcard"]] == ["error"]


def test_what_agents_use_and_what_is_not_there_is_a_warning(daemon: Daemon, client: Client) -> None:
    stand_in(daemon, "claude", "exit 3")
    stand_in(daemon, "codex", "echo codex 1")
    daemon.write_secret("OPENAI_API_KEY", KEY)
    (daemon.home / ".claude").mkdir()
    daemon.write_jcard(
        jcard(
            {"name": "a", "harness": "claude-code", "env": {"HOME": str(daemon.home)}},
            {"name": "b", "harness": "codex", "secrets": []},
            {"name": "c", "harness": "codex", "env": {"CODEX_HOME": str(daemon.folder)}, "secrets": []},
            {"name": "d", "harness": "codex"},
            {
                "name": "h",
                "harness": "codex",
                "type": "sandboxed",
                "network": "none",
                "secrets": [{"name": "OPENAI_API_KEY", "to": ["api.openai.com"], "mode": "egress"}],
            },
            {"name": "e", "harness": "gemini-cli", "enabled": False},
            {"name": "f", "command": ["./nowhere"]},
            {"name": "g", "harness": "opencode"},
        )
    )
    (daemon.folder / "auth.json").write_text("{}")
    found = findings(client, 1)
    levels = {
        text.partition(":")[0] + "/" + topic: level for topic in ("harness", "login") for level, text in found[topic]
    }
    assert levels["f/harness"] == levels["opencode/harness"] == "warning"
    assert levels["gemini-cli/harness"] == "note"
    assert ("ok", f"claude-code: says no version (status 3), {daemon.bin}/claude") in found["harness"]
    assert ("warning", "claude-code: no credentials were found for a") in found["login"]
    assert ("warning", "codex: no credentials were found for b") in found["login"]
    (daemon.home / ".claude/.credentials.json").write_text("{}")
    found = findings(client, 1)
    assert ("ok", f"claude-code: {daemon.home}/.claude/.credentials.json is there") in found["login"]


def test_what_others_can_read_or_use_is_a_warning(daemon: Daemon, client: Client) -> None:
    daemon.write_secret("TOKEN", KEY)
    daemon.start()
    daemon.secrets.chmod(0o755)
    assert findings(client, 1)["secrets"][0][0] == "note"
    (daemon.secrets / "TOKEN").chmod(0o644)
    daemon.api_socket.chmod(0o666)
    found = findings(client, 1)
    assert found["secrets"][0] == ("warning", f"everybody on this machine can read TOKEN in {daemon.secrets}")
    assert found["socket"][0][0] == "warning"


def test_a_jcard_that_the_daemon_refuses_is_an_error(daemon: Daemon, client: Client) -> None:
    daemon.write_jcard("[agent]\nharness = 3\n")
    daemon.start()
    daemon.wait_for(lambda: daemon.health()["config"]["error"], what="the jcard was refused")
    found = findings(client, 1)
    assert found["jcard"][0][0] == "error"
    assert [level for level, _ in found["daemon"]] == ["ok", "error"]


def levels(found: object) -> list[str]:
    return [str(each.level) for each in cast("list[Finding]", found)]


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        (None, []),
        ({"journal": {"state": "ok", "error": None, "bytes": 5, "lost": 0}}, ["ok"]),
        ({"journal": {"state": "failing", "error": "disk full", "bytes": 5, "lost": 2}}, ["error", "warning"]),
        ({"transcripts": {"state": "off"}, "journal": "?"}, ["note"]),
    ],
)
def test_what_the_daemon_says_of_its_recording_is_passed_on(recording: None, expected: list[str]) -> None:
    assert levels(list(_check_recording(recording))) == expected


def test_limits_are_held_against_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  200  files\n"
    assert levels(list(machine.check_files(limits, 10))) == ["ok"]
    assert levels(list(machine.check_files(limits, 100))) == ["warning"]
    values = {"/proc/sys/kernel/pty/max": "100", "/proc/sys/kernel/pty/nr": "50"}
    monkeypatch.setattr(machine, "read_line", values.get)
    assert levels(list(machine.check_terminals(50, 20))) == ["ok"]
    assert levels(list(machine.check_terminals(60, 20))) == ["warning"]
    assert levels(list(machine.check_terminals(90, 20))) == ["error"]


@pytest.mark.parametrize(
    ("version", "level"), [("tmux 3.1c", "error"), ("tmux 3.2a", "ok"), ("tmux next-3.5", "ok"), ("", "warning")]
)
def test_an_old_tmux_is_an_error(short_folder: Path, version: str, level: str) -> None:
    tmux = short_folder / "tmux"
    tmux.write_text(f"#!/bin/sh\necho {version}\n")
    tmux.chmod(0o755)
    assert levels(list(machine.check_tmux(str(short_folder), short_folder / "sock", 1)))[0] == level
    assert levels(list(machine.check_tmux("/nowhere", short_folder / "sock", 1))) == ["error"]


@pytest.mark.parametrize(
    ("linked", "agents", "found"),
    [("libutempter.so.0", 100, ["ok", "note"]), ("libutempter.so.0", 99, ["ok"]), ("libevent.so", 1000, ["ok"])],
)
def test_a_tmux_that_waits_for_utempter_is_told_to_those_with_many_agents(
    short_folder: Path, linked: str, agents: int, found: list[str]
) -> None:
    tmux = short_folder / "tmux"
    tmux.write_text(f"#!/bin/sh\n# {linked}\necho tmux 3.5\n")
    tmux.chmod(0o755)
    assert levels(list(machine.check_tmux(str(short_folder), short_folder / "sock", agents))) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('echo "tmux 3.5"; exit 0', ["ok"]),
        ('[ "$1" = -V ] && echo tmux 3.5 || echo 3.4', ["ok", "warning"]),
        ('[ "$1" = -V ] && echo tmux 3.5 || { echo "no server running" >&2; exit 1; }', ["ok", "warning"]),
        ('[ "$1" = -V ] && echo tmux 3.5 || exec sleep 60', ["ok", "warning"]),
    ],
    ids=["is the program's", "is older", "is gone", "does not answer"],
)
def test_a_server_that_is_not_the_programs_or_does_not_answer_is_a_warning(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, found: list[str]
) -> None:
    monkeypatch.setenv("PATH", f"{short_folder}:{os.environ['PATH']}")
    if "sleep" in answer:
        monkeypatch.setattr(tmux_client, "LONGEST_ANSWER", 2.0)
    tmux = short_folder / "tmux"
    tmux.write_text(f"#!/bin/sh\n{answer}\n")
    tmux.chmod(0o755)
    (short_folder / "sock").touch()
    assert levels(list(machine.check_tmux(str(short_folder), short_folder / "sock", 1))) == found


def test_on_a_terminal_what_to_do_stands_below(client: Client, operator_tmux: TmuxServer) -> None:
    operator_tmux.session("s", client.shell_words("doctor"), columns=200, rows=60)
    screen = operator_tmux.wait_for_text("s", "[status 1]").splitlines()
    at = next(index for index, line in enumerate(screen) if line.startswith("✗ daemon"))
    assert screen[at + 1].strip().startswith("→ start it: agentctl service install")


@pytest.mark.parametrize("socket", ["tmux_socket", "api_socket"])
def test_no_advice_ends_or_doubles_a_run_when_a_socket_is_gone(daemon: Daemon, client: Client, socket: str) -> None:
    daemon.start("--interval=1h")
    daemon.signal(signal.SIGSTOP)  # before it can make the socket again
    getattr(daemon, socket).unlink()
    try:
        if socket == "api_socket":
            found = cast("dict[str, list[dict[str, str]]]", client("doctor", "--json").document)["findings"]
            (text,) = [f"{each['text']}; {each['advice']}" for each in found if each["topic"] == "daemon"]
            assert f"agentd (pid {daemon.pid}) runs" in text
        else:
            (finding,) = check_socket("socket", daemon.tmux_socket, 0o770)
            text = str(finding.advice)
        assert "makes it again" in text
        assert not any(word in text for word in ("restart", "start it", "kill", "keep"))
    finally:
        daemon.signal(signal.SIGCONT)
