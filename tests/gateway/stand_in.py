"""The stand-in agent of the examples, declared in a jcard, and what tests say to it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.agents import jcard
from tests.support.gateway import Gateway, managed_home

SCRIPT = Path(__file__).parents[2] / "examples/gateway/stand_in.py"

COMMAND = [sys.executable, "-I", "-S", str(SCRIPT)]


def declare(gateway: Gateway, *agents: Mapping[str, object], **table: object) -> None:
    """Declare the agent ``helper`` and others, in a jcard with a table for the gateway."""
    known: list[Mapping[str, object]] = [
        {"name": "helper", "command": COMMAND, "restart_delay": "100ms", "grace_period": "1s"},
        *agents,
    ]
    settings = "\n[gateway]\n" + _lines({"managed_type": "native", **table})
    gateway.daemon.write_jcard(jcard(*known) + settings + managed_home(gateway.daemon, table=True))


def _lines(table: dict[str, object]) -> str:
    return "".join(f"{name} = {value!r}\n" for name, value in table.items())


def session(gateway: Gateway, **wanted: object) -> str:
    """Make a session; returns its id."""
    made = gateway.ask("POST", "/sessions", wanted or {"agent": "helper"})
    return str(made["session"]["id"])


def send(gateway: Gateway, session_id: str, text: str) -> str:
    """Send a message; returns the run's id."""
    return str(gateway.ask("POST", f"/sessions/{session_id}/messages", {"text": text})["run"]["id"])


def wait(gateway: Gateway, run_id: str, timeout: float = 30) -> Any:  # noqa: ANN401
    """Wait until a run is over."""
    waited = gateway.ask("GET", f"/runs/{run_id}/wait?timeout_s={timeout:g}")
    assert not waited["timed_out"], gateway.ask("GET", f"/runs/{run_id}/diagnose")
    return waited["run"]


def events(gateway: Gateway, session_id: str) -> list[Any]:
    """All events of a session."""
    page = gateway.ask("GET", f"/sessions/{session_id}/events?limit=1000")
    assert not page["has_more"]
    return list(page["events"])


def kinds(gateway: Gateway, session_id: str) -> list[str]:
    """What happened in a session, one word each, output as one."""
    found: list[str] = []
    for event in events(gateway, session_id):
        if event["event_type"] != "backend.event" and found[-1:] != [event["event_type"]]:
            found.append(event["event_type"])
    return found
