"""Whatever is killed: no message is lost, none is answered twice, none is delivered twice."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

import pytest

from tests.gateway.stand_in import SCRIPT, declare, events, kinds, send, session, wait
from tests.support.daemon import UnixConnection
from tests.support.gateway import Gateway
from tests.support.postgresql import Server


@pytest.fixture(autouse=True)
def _running(gateway: Gateway) -> None:
    declare(gateway)
    gateway.daemon.start()
    gateway.start("--max-concurrency=2")


async def test_a_gateway_on_postgresql_recovers_as_well(gateway: Gateway, postgresql: Server) -> None:
    gateway.stop()
    url = await postgresql.database()
    gateway.start(f"--database={url}")
    made = session(gateway)
    gate = gateway.daemon.folder / "gate"
    first, second = send(gateway, made, f"STUB-UNTIL:{gate} one"), send(gateway, made, "two")
    wait_activity(gateway, first, "working")
    gateway.kill()
    gateway.restart()
    gate.touch()
    assert wait(gateway, first)["result_text"] == f"You said: STUB-UNTIL:{gate} one"
    assert wait(gateway, second)["result_text"] == "You said: two"
    assert [role for role, _ in said(gateway, made)] == ["user", "user", "assistant", "assistant"]


def wait_activity(gateway: Gateway, run_id: str, wanted: str) -> None:
    gateway.daemon.wait_for(
        lambda: gateway.ask("GET", f"/runs/{run_id}/diagnose")["diagnostics"]["activity"] == wanted,
        what=f"the agent is {wanted}",
    )


def said(gateway: Gateway, session_id: str) -> list[tuple[str, str]]:
    found = [event["data"] for event in events(gateway, session_id) if event["event_type"] == "message.created"]
    return [(data["role"], data["text"]) for data in found]


@pytest.mark.parametrize("ends", ["between", "with the next"])
def test_the_next_gateway_recovers_what_was_at_work_and_what_waited(gateway: Gateway, ends: str) -> None:
    made, gate = session(gateway), gateway.daemon.folder / "gate"
    first, second = send(gateway, made, f"STUB-UNTIL:{gate} one"), send(gateway, made, "two")
    wait_activity(gateway, first, "working")
    gateway.kill()
    if ends == "between":
        # Its turn ends while no gateway is there.
        gate.touch()
        gateway.daemon.wait_for(
            lambda: {agent["activity"] for agent in gateway.daemon.agents().values() if agent["owner"]} == {"idle"}
        )
    gateway.restart()
    gate.touch()
    assert wait(gateway, first)["result_text"] == f"You said: STUB-UNTIL:{gate} one"
    assert wait(gateway, second)["result_text"] == "You said: two"
    assert [role for role, _ in said(gateway, made)] == ["user", "user", "assistant", "assistant"]
    cursors = [event["cursor"] for event in events(gateway, made)]
    assert cursors == sorted(set(cursors))
    texts = [event["data"]["text"] for event in events(gateway, made) if event["event_type"] == "run.output"]
    assert "".join(texts) == f"You said: STUB-UNTIL:{gate} oneYou said: two"


def test_a_gateway_that_is_stopped_leaves_turns_to_their_agents(gateway: Gateway) -> None:
    made, gate = session(gateway), gateway.daemon.folder / "gate"
    run_id = send(gateway, made, f"STUB-UNTIL:{gate} one")
    wait_activity(gateway, run_id, "working")
    gateway.restart()
    assert gateway.ask("GET", f"/runs/{run_id}")["run"]["status"] == "running"
    gate.touch()
    assert wait(gateway, run_id)["result_text"] == f"You said: STUB-UNTIL:{gate} one"


def test_turns_go_on_while_agentd_is_killed_and_started_again(gateway: Gateway) -> None:
    made, gate = session(gateway), gateway.daemon.folder / "gate"
    run_id = send(gateway, made, f"STUB-UNTIL:{gate} one")
    wait_activity(gateway, run_id, "working")
    gateway.daemon.kill()
    assert gateway.ask("GET", "/health")["agentd"] == "unreachable"
    assert gateway.ask("GET", "/daemon/status")["daemon_health"] == "degraded"
    waiting = send(gateway, session(gateway), "two")
    gateway.daemon.start()
    gate.touch()
    assert wait(gateway, run_id)["result_text"] == f"You said: STUB-UNTIL:{gate} one"
    assert wait(gateway, waiting)["result_text"] == "You said: two"


def test_a_run_whose_agent_is_killed_fails_with_the_signal(gateway: Gateway) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "STUB-SLEEP:60")
    wait_activity(gateway, run_id, "working")
    pid = gateway.ask("GET", f"/runs/{run_id}/diagnose")["diagnostics"]["active_pid"]
    os.kill(pid, signal.SIGKILL)
    run = wait(gateway, run_id)
    assert (run["status"], run["exit_code"], run["exit_signal"]) == ("failed", None, 9)
    assert kinds(gateway, made)[-2:] == ["run.error", "run.failed"]
    assert wait(gateway, send(gateway, made, "again"))["result_text"] == "You said: again"


@pytest.mark.thorough
def test_all_three_are_killed_in_a_turn(gateway: Gateway) -> None:
    made = session(gateway)
    run_id, waiting = send(gateway, made, "STUB-SLEEP:60"), send(gateway, made, "two")
    wait_activity(gateway, run_id, "working")
    pid = gateway.ask("GET", f"/runs/{run_id}/diagnose")["diagnostics"]["active_pid"]
    gateway.kill()
    gateway.daemon.kill()
    os.kill(pid, signal.SIGKILL)
    gateway.daemon.start()
    gateway.restart()
    assert wait(gateway, run_id)["status"] == "failed"
    assert wait(gateway, waiting)["result_text"] == "You said: two"


@pytest.mark.thorough
def test_a_canceled_turn_is_interrupted_by_the_next_gateway(gateway: Gateway) -> None:
    made = session(gateway)
    run_id, waiting = send(gateway, made, "STUB-SLEEP:60"), send(gateway, made, "two")
    wait_activity(gateway, run_id, "working")
    gateway.daemon.kill()
    gateway.ask("POST", f"/runs/{run_id}/cancel")
    gateway.kill()
    gateway.daemon.start()
    gateway.restart()
    assert wait(gateway, waiting)["result_text"] == "You said: two"


def test_a_permission_is_answered_after_a_restart_of_the_gateway(gateway: Gateway) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "ASK-PERMISSION")
    wait_activity(gateway, run_id, "waiting_permission")
    gateway.kill()
    gateway.restart()
    gateway.daemon.wait_for(
        lambda: gateway.ask("GET", f"/runs/{run_id}")["run"]["status"] == "awaiting_input", what="the run waits"
    )
    (asked,) = [event for event in events(gateway, made) if event["event_type"] == "run.awaiting_input"]
    answer = {"request_id": asked["data"]["request_id"], "decision": "allow"}
    gateway.ask("POST", f"/runs/{run_id}/answer", answer)
    assert wait(gateway, run_id)["result_text"].endswith("(allowed)")


NAMELESS = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import stand_in

tell = stand_in.tell
stand_in.tell = lambda event, request=None, **body: tell(event, **body)
stand_in.main()
"""
"""Its requests have no ids of its own: each agentd gives them others."""


@pytest.mark.thorough
@pytest.mark.parametrize("asks", ["ASK-PERMISSION", "ASK-QUESTION"])
def test_what_a_child_asks_anew_after_a_kill_of_agentd_is_answered_by_its_parent(gateway: Gateway, asks: str) -> None:
    declare(gateway, {"name": "nameless", "command": [sys.executable, "-I", "-S", "-c", NAMELESS]})
    gateway.daemon.wait_for(lambda: "nameless" in gateway.daemon.agents(), what="it is declared")
    parent = session(gateway, agent="nameless")
    spawned = gateway.ask("POST", f"/sessions/{parent}/spawn", {"task": asks})
    child, run_id = spawned["session"]["id"], spawned["run"]["id"]

    def asked() -> list[str]:
        found = [each["data"] for each in events(gateway, parent) if each["event_type"] == "parent.request"]
        return [data["request_id"] for data in found]

    gateway.daemon.wait_for(lambda: len(asked()) == 1, what="it asks its parent")
    gateway.daemon.kill()
    gateway.daemon.start()
    gateway.daemon.wait_for(lambda: len(asked()) > 1, what="it asks again")
    sent = gateway.ask("POST", f"/sessions/{child}/send", {"text": "yes"})
    assert sent["run"]["id"] == run_id
    assert wait(gateway, run_id)["result_text"].endswith(("(allowed)", "(yes)"))
    answered = [each["data"] for each in events(gateway, child) if each["event_type"] == "parent.reply"]
    assert [data["request_id"] for data in answered] == asked()[-1:]


def test_it_ends_soon_though_agentd_hangs_and_its_database_is_deleted(gateway: Gateway) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "STUB-SLEEP:60")
    wait_activity(gateway, run_id, "working")
    assert gateway.daemon.process is not None
    os.kill(gateway.daemon.process.pid, signal.SIGSTOP)
    try:
        for file in gateway.daemon.state.glob("gateway.db*"):
            file.unlink()
        gateway.daemon.wait_for((gateway.daemon.state / "gateway.db").exists, what="it is put back")
        health: Any = gateway.request("GET", "/health", timeout=20).json()
        assert (health["status"], health["agentd"]) == ("healthy", "unreachable")
        with contextlib.closing(UnixConnection(gateway.socket, timeout=30)) as asking:
            # It is answered by what agentd says, which is nothing.
            asking.request("GET", f"/runs/{run_id}/diagnose")
            assert gateway.ask("GET", "/daemon/status")["daemon_health"] == "degraded"
            gateway.stop(timeout=20)
    finally:
        os.kill(gateway.daemon.process.pid, signal.SIGCONT)
    gateway.restart()
    assert gateway.ask("POST", f"/runs/{run_id}/cancel")["run"]["status"] == "canceled"
