"""Messages, runs and turns, by real processes."""

from __future__ import annotations

import pytest

from tests.gateway.stand_in import declare, events, kinds, send, session, wait
from tests.support.gateway import Gateway


@pytest.fixture(autouse=True)
def _running(gateway: Gateway) -> None:
    declare(gateway)
    gateway.daemon.start()
    gateway.start()


def test_a_message_is_answered_in_a_turn_of_an_agent_of_its_own(gateway: Gateway) -> None:
    made = session(gateway)
    run = wait(gateway, send(gateway, made, "hello there"))
    assert (run["status"], run["result_text"]) == ("succeeded", "You said: hello there")
    assert run["usage"]["input_tokens"] == len("hello there")
    assert kinds(gateway, made) == [
        "session.created",
        "run.queued",
        "message.created",
        "run.started",
        "run.output",
        "message.created",
        "run.succeeded",
    ]
    output = [event["data"]["text"] for event in events(gateway, made) if event["event_type"] == "run.output"]
    assert len(output) > 1
    assert "".join(output) == run["result_text"]
