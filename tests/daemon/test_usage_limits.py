"""Agents at their usage limit, with a real daemon: a stand-in tells of the limit by AGENTD_HOOK."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.support import Client
from tests.daemon.test_turns import kinds
from tests.support.agents import jcard
from tests.support.daemon import Daemon, UsageLimitJson

AGENT = Path(__file__).parents[1] / "support" / "limited_agent.py"


@pytest.fixture
def client(daemon: Daemon) -> Client:
    return Client(daemon.folder, daemon.places)


def declare(daemon: Daemon, on_usage_limit: object, **fields: object) -> None:
    command = [sys.executable, "-I", "-S", str(AGENT), str(daemon.folder / "taken")]
    limit = {} if on_usage_limit is None else {"on_usage_limit": on_usage_limit}
    daemon.write_jcard(jcard({"name": "a", "command": command, "workdir": str(daemon.workdir), **limit, **fields}))


def start(daemon: Daemon, client: Client, on_usage_limit: object, message: str) -> UsageLimitJson:
    """Run it until it is at its limit."""
    declare(daemon, on_usage_limit)
    daemon.start()
    daemon.wait_for(lambda: ">" in daemon.screen("a"), what="it takes a line")
    assert client("send", "a", message).status == 0
    return at_limit(daemon)


def at_limit(daemon: Daemon) -> UsageLimitJson:
    def limit() -> UsageLimitJson | None:
        agent = daemon.agent("a")
        return None if agent is None else agent["usage_limit"]

    return daemon.wait_for(limit, what="it is at its usage limit")


def taken(daemon: Daemon) -> list[str]:
    return (daemon.folder / "taken").read_text().splitlines()


def event(daemon: Daemon, kind: str) -> Mapping[str, object]:
    daemon.wait_for(lambda: kind in kinds(daemon), what=f"the event {kind}")
    events = daemon.get(f"/v1/events?kind={kind}")
    assert isinstance(events, list)
    found = events[-1]
    assert isinstance(found, dict)
    return found


def test_it_goes_on_once_its_limit_has_reset(daemon: Daemon, client: Client) -> None:
    limit = start(daemon, client, {"action": "wait", "jitter": "0s"}, "limit 4")
    assert limit["resume_at"] == limit["resets_at"]
    assert (limit["action"], limit["source"], limit["resumes"]) == ("wait", "hooks", 0)
    daemon.wait_for(lambda: taken(daemon) == ["limit 4", "continue"], what="it was told to go on")
    daemon.wait_for(lambda: daemon.agents()["a"]["usage_limit"] is None, what="its turn has begun")
    daemon.wait_for(lambda: daemon.agents()["a"]["activity"] == "idle", what="its turn has ended")
    assert event(daemon, "limit_resumed")["data"] == {"run": daemon.agents()["a"]["conversation"], "resumes": 1}
    assert kinds(daemon).count("limit_resumed") == 1


@pytest.mark.thorough
def test_until_when_it_waits_and_why_is_shown_and_an_edit_cancels_it(daemon: Daemon, client: Client) -> None:
    limit = start(daemon, client, "wait", "limit 4000")
    assert limit["reason"] == "it goes on once the limit has reset"
    (plan,) = json.loads(client("plan", "--json").out)["resumes"]
    assert plan == {"agent": "a", "resume_at": limit["resume_at"], "reason": limit["reason"]}
    assert f"resume\ta\tat {limit['resume_at']}" in client("plan").out
    assert "goes on in 1h" in client("status").out
    assert str(limit["resume_at"]) in client("status", "a").out
    found = event(daemon, "limit_reached")
    assert found["reason"] == "You've hit your session limit; it goes on once the limit has reset"

    assert client("set", "a", "on_usage_limit=notify", "--wait").status == 0
    daemon.wait_for(lambda: at_limit(daemon)["resume_at"] is None, what="it waits no more")
    assert client("plan").out == ""
    assert daemon.agents()["a"]["state"] == "running"


@pytest.mark.thorough
def test_the_wait_is_kept_over_restarts_of_agentd(daemon: Daemon, client: Client) -> None:
    before = start(daemon, client, "wait", "limit 4000")
    # What is not written yet goes with a daemon that is killed.
    event(daemon, "limit_reached")
    daemon.kill()
    daemon.start()
    daemon.wait_state("a", "running")
    assert at_limit(daemon) == before


@pytest.mark.thorough
def test_without_a_reset_it_says_what_is_done_instead(daemon: Daemon, client: Client) -> None:
    limit = start(daemon, client, "wait", "limit")
    assert limit["resets_at"] is None
    assert limit["resume_at"] is not None
    assert limit["reason"] == "its program does not say when the limit resets: it tries again after 30m"


@pytest.mark.thorough
def test_stop_stops_it_with_the_reason(daemon: Daemon, client: Client) -> None:
    declare(daemon, "stop", restart="always")
    daemon.start()
    daemon.wait_for(lambda: ">" in daemon.screen("a"), what="it takes a line")
    assert client("send", "a", "limit 4000").status == 0
    agent = daemon.wait_state("a", "failed")
    assert agent["error"] == "stopped at its usage limit: You've hit your session limit"
    assert agent["usage_limit"] is None
    data = event(daemon, "stopped")["data"]
    assert isinstance(data, dict)
    assert data["cause"] == "usage limit"
    # That is the end of it, and not a crash that its restart policy would answer.
    assert kinds(daemon).count("launched") == 1


@pytest.mark.thorough
def test_notify_tells_and_does_nothing(daemon: Daemon, client: Client) -> None:
    limit = start(daemon, client, "notify", "limit 4000")
    assert (limit["action"], limit["resume_at"]) == ("notify", None)
    data = event(daemon, "limit_reached")["data"]
    assert isinstance(data, dict)
    assert data["limit_action"] == "notify"


def test_what_is_left_of_a_quota_is_told_with_its_source_and_age(daemon: Daemon, client: Client) -> None:
    limit = start(daemon, client, None, "limit 4000")
    assert (limit["action"], limit["resume_at"]) == (None, None)
    daemon.wait_for(lambda: "turn_quota" in kinds(daemon), what="the limit is told as a quota that is used up")
    (found,) = json.loads(client("usage", "a", "--json").out)
    (window,) = found["quota"]
    assert (window["window"], window["used_percent"], window["source"]) == ("session limit", 100.0, "hooks")
    assert (window["resets_at"], window["age_seconds"] < 30) == (limit["resets_at"], True)
    assert [run["run"] for run in found["runs"]] == [daemon.agents()["a"]["conversation"]]
    assert client("send", "a", "quota 42").status == 0

    def windows() -> list[str]:
        (found,) = json.loads(client("usage", "--agents", "--json").out)
        return [f"{each['window']} {each['used_percent']:g}" for each in found["quota"]]

    daemon.wait_for(lambda: windows() == ["session limit 100", "weekly 42"], what="both windows are told")
    assert "weekly 42 %" in client("usage", "--agents").out
