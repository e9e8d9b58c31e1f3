"""What happens to agents and to the daemon is in the journal: all of it, once, in order, over restarts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from agentd.model.events import DETAILS, EVENT_DOCS, EventKind
from tests.daemon.support import bad, counting, declare, script, start, stay
from tests.recording.support import lines
from tests.support.daemon import Daemon, UnixConnection
from tests.support.waiting import wait_for, wait_for_file

Json = dict[str, object]


def events(daemon: Daemon, query: str = "") -> list[Json]:
    """What the API says happened."""
    return cast("list[Json]", daemon.get(f"/v1/events{query}"))


def kinds(daemon: Daemon, agent: str | None = None) -> list[object]:
    return [event["kind"] for event in events(daemon) if event["agent"] == agent]


def tells(daemon: Daemon, agent: str | None, begin: int, expected: list[str]) -> None:
    """Wait until an agent's events from one on are these; what the status shows at once is written a moment later."""
    daemon.wait_for(
        lambda: kinds(daemon, agent)[begin:] == expected,
        what=f"the events of {agent} are {expected}, not {kinds(daemon, agent)[begin:]}",
    )


def kept(daemon: Daemon) -> list[Json]:
    """What is in the database."""
    return lines(daemon.state / "journal")


def data(event: Json) -> dict[str, object]:
    return cast("dict[str, object]", event["data"])


def test_an_agents_life_is_told_in_order(daemon: Daemon) -> None:
    (daemon.secrets / "not-a-name").write_text("hidden-value")
    daemon.write_secret("TOKEN", "very-secret-value")
    start(
        daemon,
        stay("works"),
        stay("off", enabled=False),
        script("ends", "exit 0"),
        counting("fails", daemon.folder, "exit 3", restart="on-failure", max_restarts=1),
        script("slow", "exec sleep 600", timeout="700ms"),
        {"name": "absent", "command": ["/no/very-secret-value/such"]},
    )
    for name, state in {"ends": "exited", "fails": "failed", "slow": "timed_out", "absent": "failed"}.items():
        daemon.wait_state(name, state)
    daemon.wait_state("works", "running")
    begin = ["declared", "launched", "started"]
    again = ["launched", "started", "exited"]
    tells(daemon, "works", 0, begin)
    tells(daemon, "ends", 0, [*begin, "exited", "completed"])
    tells(daemon, "fails", 0, ["declared", *again, "restarting", *again, "failed"])
    tells(daemon, "slow", 0, [*begin, "stopping", "exited", "stopped", "timed_out"])
    tells(daemon, "absent", 0, ["declared", "launched", "launch_failed", "failed"])
    assert kinds(daemon, "off") == ["declared"]
    assert kinds(daemon)[:3] == ["daemon_started", "config_loaded", "secret_skipped"]

    assert [data(event)["exit_code"] for event in events(daemon, "?agent=FAILS&kind=exited")] == [3, 3]
    [started] = events(daemon, "?agent=works&kind=started")
    agent = daemon.agent("works")
    assert agent is not None
    assert data(started)["pid"] == agent["pid"]
    [timeout] = events(daemon, "?kind=timed_out")
    assert timeout["reason"] == "timed out after 700ms"

    declare(daemon, stay("works", env={"X": "1"}), stay("off"), stay("ends", grace_period="9s"))
    daemon.wait_state("off", "running")
    for name in ("fails", "slow", "absent"):
        daemon.wait_gone(name)
    daemon.write_jcard("agents = 3")
    daemon.wait_for(lambda: not daemon.health()["config"]["valid"], what="the jcard is refused")
    changed = ["changed", "stopping", "exited", "stopped", "launched", "started"]
    tells(daemon, "works", 3, changed)
    assert [data(event).get("fields") for event in events(daemon, "?kind=changed&agent=works")] == [["env"]]
    tells(daemon, "off", 1, ["changed", "launched", "started"])
    tells(daemon, "fails", -1, ["removed"])
    tells(daemon, None, 3, ["config_loaded", "config_rejected"])

    assert daemon.stop() == 0
    told = kept(daemon)
    assert [event["kind"] for event in told if event["agent"] is None][-2:] == ["daemon_stopping", "daemon_stopped"]
    assert [event["kind"] for event in told if event["agent"] == "works"][-3:] == ["stopping", "exited", "stopped"]
    numbers = [cast("int", event["seq"]) for event in told]
    assert numbers == list(range(1, len(told) + 1))
    for event in told:
        doc = EVENT_DOCS[EventKind(cast("str", event["kind"]))]
        assert set(data(event)) <= set(doc.data), event
        assert set(data(event)) <= set(DETAILS)
    everything = b"".join(file.read_bytes() for file in (daemon.state / "journal").iterdir())
    assert b"hidden-value" not in everything
    assert b"very-secret-value" not in everything
    assert b"[secret]" in everything


@pytest.mark.thorough
def test_what_an_operator_does_to_tmux_and_what_is_killed_is_told(daemon: Daemon) -> None:
    ready = daemon.folder / "ready"
    options = ("--ignore=INT,TERM", "--forever", "--ready", ready)
    start(daemon, stay("shown"), bad("stubborn", *options, grace_period="200ms"))
    daemon.wait_state("shown", "running")
    wait_for_file(ready)
    daemon.tmux("kill-session", "-t", "=shown")
    daemon.wait_state("shown", "failed")
    declare(daemon, stay("shown"))
    daemon.wait_gone("stubborn")
    end = ["stopping", "killed", "exited", "stopped", "removed"]
    tells(daemon, "stubborn", 3, end)
    # The agent has its own end from the terminal that is gone, before tmux tells of that or after.
    assert {"session_lost", "exited", "failed"} <= set(kinds(daemon, "shown")[3:])
    pid = daemon.tmux_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    daemon.wait_for(lambda: "tmux_server_died" in kinds(daemon), what="the end of the tmux server is told")


@dataclass
class Follower:
    """Follows the events, and comes back with the last number it has seen whenever the daemon is gone."""

    daemon: Daemon
    seen: list[Json] = field(default_factory=list)
    connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        last = "0"
        while not self.over.is_set():
            with contextlib.suppress(OSError):
                for number, event in self._blocks(last):
                    last = number
                    if event is not None:
                        self.seen.append(event)
            self.over.wait(0.01)

    def _blocks(self, last: str) -> Iterator[tuple[str, Json | None]]:
        with contextlib.closing(UnixConnection(self.daemon.api_socket, timeout=0.5)) as connection:
            connection.request("GET", "/v1/events?follow=1", headers={"Last-Event-ID": last})
            answer = connection.getresponse()
            self.connections += 1
            fields: dict[str, str] = {}
            while line := answer.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                fields[name] = value
                if name == "" and "id" in fields:
                    yield fields["id"], json.loads(fields["data"]) if "data" in fields else None
                    fields = {}

    @property
    def numbers(self) -> list[int]:
        return [cast("int", event["seq"]) for event in self.seen]


@pytest.mark.thorough
@pytest.mark.slow
def test_a_follower_sees_each_event_once_over_sigkill_and_restarts(daemon: Daemon) -> None:
    restless = counting("restless", daemon.folder, "exit 1", restart="always", restart_delay_max="20ms")
    start(daemon, stay("calm"), restless)
    follower = Follower(daemon)
    thread = threading.Thread(target=follower.run)
    thread.start()
    try:
        for end in (daemon.kill, daemon.kill, daemon.stop, daemon.kill):
            before = len(follower.seen)
            daemon.wait_for(lambda before=before: len(follower.seen) > before + 30, what="events are seen")  # type: ignore[misc]
            end()
            daemon.start()
        daemon.wait_state("calm", "running")
        daemon.stop()
        last = kept(daemon)[-1]["seq"]
        wait_for(lambda: follower.numbers[-1] == last, what="the last event is seen")
    finally:
        follower.over.set()
        thread.join(30)
    assert follower.connections >= 5
    # Every one as it is kept.
    assert follower.seen == kept(daemon)
    adopted = [event for event in follower.seen if event["kind"] == "adopted" and event["agent"] == "calm"]
    assert len(adopted) == 3


@pytest.fixture
def small_state(daemon: Daemon) -> Iterator[Daemon]:
    """A daemon whose state directory is a file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    daemon.state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(daemon.state)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("cannot mount a small file system here")
    try:
        space = os.statvfs(daemon.state)
        assert space.f_blocks * space.f_frsize == 262144, "not the small file system"
        yield daemon
        if daemon.running:
            daemon.stop()
    finally:
        subprocess.run(["umount", "--lazy", daemon.state], check=True)


@pytest.mark.slow
@pytest.mark.thorough
def test_no_agent_notices_a_full_disk_and_health_says_so(small_state: Daemon) -> None:
    daemon = small_state
    start(daemon, stay("calm"))
    calm = daemon.wait_state("calm", "running")
    filler = daemon.state / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range(256):
            file.write(b"x" * 1024)
    # What is left of the last block fills up with events, and then agents come, go and restart as ever.
    restless = counting("restless", daemon.folder, "exit 1", restart="always", restart_delay_max="20ms")
    declare(daemon, stay("calm"), restless)
    journal = daemon.wait_for(
        lambda: journal if (journal := recording(daemon))["state"] == "failing" else None, what="health says so"
    )
    assert "database or disk is full" in str(journal["error"])
    follower = Follower(daemon)
    thread = threading.Thread(target=follower.run)
    thread.start()
    try:
        wait_for(lambda: len(follower.seen) > 20, what="those who follow are told all the same")
        declare(daemon, stay("calm"), stay("late"))
        daemon.wait_state("late", "running")
        daemon.wait_gone("restless")
        assert daemon.agent("calm") == {**calm, "uptime_seconds": (daemon.agent("calm") or calm)["uptime_seconds"]}
        filler.unlink()
        daemon.wait_for(lambda: recording(daemon)["state"] == "ok", 20, what="it writes again")
        assert recording(daemon)["lost"] == 0
        daemon.stop()
        last = kept(daemon)[-1]["seq"]
        wait_for(lambda: follower.numbers[-1] == last, what="the last event is seen")
    finally:
        follower.over.set()
        thread.join(30)
    assert [event["seq"] for event in kept(daemon)] == list(range(1, len(kept(daemon)) + 1)) == follower.numbers
    log = daemon.log_text()
    assert (log.count("journal_not_written"), log.count("journal_written_again")) == (1, 1)


def recording(daemon: Daemon) -> Json:
    """How the journal is doing."""
    return cast("dict[str, dict[str, Json]]", daemon.get("/v1/health"))["recording"]["journal"]
