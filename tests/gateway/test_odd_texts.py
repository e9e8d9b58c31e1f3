"""An agent whose program tells of itself in what is no text, and in numbers that are none."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.gateway.stand_in import SCRIPT, declare, events, send, session, wait
from tests.support.gateway import Gateway
from tests.support.postgresql import Server

ODD = f"""
import itertools, sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import stand_in

HALF = "half \\ud83d \\0 of a pair"
tell = stand_in.tell
stand_in.NUMBERS = itertools.repeat(HALF)

def told(event, **body):
    if event == "ended":
        tell("usage", input_tokens=10**30, output_tokens=7, cost_usd=float("inf"))
        body["final_text"] += HALF
    return tell(event, **body)

def asked(message):
    tell("text", text=HALF)
    tell("text_delta", text=HALF)
    tell("tool_started", tool=HALF, name=HALF, text=HALF)
    asking = dict(request=HALF + 9000 * "x", name=HALF, text=HALF, tool=HALF, arguments={{HALF: HALF}})
    answer = tell("permission_asked", **asking)
    tell("tool_completed", tool=HALF)
    return answer["decision"] + " "

stand_in.tell, stand_in.asked = told, asked
stand_in.main()
"""


@pytest.fixture(autouse=True)
def _running(gateway: Gateway) -> None:
    declare(gateway, {"name": "odd", "command": [sys.executable, "-I", "-S", "-c", ODD]})
    gateway.daemon.start()


def _talk(gateway: Gateway) -> None:
    made = session(gateway, agent="odd")
    run_id = send(gateway, made, "hello")
    asking: list[Any] = []

    def asks() -> bool:
        asking[:] = [each["data"] for each in events(gateway, made) if each["event_type"] == "run.awaiting_input"]
        return bool(asking)

    gateway.daemon.wait_for(asks, what="it asks")
    assert len([each for each in gateway.daemon.agents() if each.startswith("odd--s-")]) == 1
    answer = {"request_id": asking[0]["request_id"], "decision": "allow"}
    gateway.ask("POST", f"/runs/{run_id}/answer", answer)
    run = wait(gateway, run_id)
    assert (run["status"], run["result_text"]) == ("succeeded", "allow half \ufffd \ufffd of a pair")
    assert (run["usage"]["output_tokens"], run["usage"]["cost_usd"]) == (7 + len("allow "), None)
    assert "half \ufffd" in events(gateway, made)[-1]["data"]["result_text"]


def test_what_is_no_text_keeps_nothing_from_going_on(gateway: Gateway) -> None:
    gateway.start()
    _talk(gateway)


async def test_nor_on_postgresql(gateway: Gateway, postgresql: Server) -> None:
    gateway.start(f"--database={await postgresql.database()}")
    _talk(gateway)
