"""Managed agents that are talked to, and asked, by a broker of their user's."""

from __future__ import annotations

import http
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.channels.talking import Stream, user
from tests.support import redis_server, talking_claude
from tests.support.agents import jcard
from tests.support.gateway import Gateway, managed_home
from tests.support.redis_server import PASSWORD
from tests.support.waiting import wait_for

TOOLS = [
    {"name": "delete", "seek_confirm": True, "time_to_confirm": 120_000, "default": False},
    {"name": "soon", "seek_confirm": True, "time_to_confirm": 100, "default": True},
]


def _answer(request: dict[str, Any], *, confirmed: bool) -> bytes:
    response = {"type": "tool_confirmation_response", "request_id": request["request_id"], "confirmed": confirmed}
    return json.dumps(response).encode()


@pytest.fixture
def agent(gateway: Gateway) -> Iterator[tuple[Stream, str]]:
    """Bob's agent helper, with a stream by TLS and a password: those at the other end, and the agent's session."""
    if redis_server.program() is None:
        pytest.skip("redis-server is not installed")
    daemon = gateway.daemon
    talking_claude.install(daemon.bin)
    daemon.write_jcard(jcard() + managed_home(daemon))
    daemon.start()
    gateway.start()
    with redis_server.serving(daemon.folder / "redis", tls=True) as redis:
        assert redis.tls is not None
        stream = Stream(redis.client(), "bobs")
        stream.say(user("early"))
        pubsub = {
            "backend": "redis",
            "channel_name": "bobs",
            "mode": "stream",
            "url": redis.url.replace("127.0.0.1", f":{PASSWORD}@127.0.0.1"),
            "ca": redis.tls[0].read_text(),
        }
        config = {"mcp": {"servers": {"toy": {"command": "toy", "tool_calls": TOOLS}}}}
        channel = {"pubsub_enabled": True, "pubsub_config": pubsub}
        made = gateway.ask("POST", "/agents", {"username": "bob", "name": "helper", "json_config": config | channel})
        yield stream, made["session_id"]
        shown = [gateway.ask("GET", path) for path in ("/agents", "/channels", "/health")]
        assert PASSWORD not in json.dumps(shown) + gateway.log_text()


def told(stream: Stream, kind: str, number: int) -> Any:  # noqa: ANN401
    """Wait for so many messages of a type; gives the last."""
    wait_for(lambda: len(stream.all(kind)) >= number, 90, what=f"{number} of {kind}")
    return stream.all(kind)[number - 1]


def decided(stream: Stream) -> list[Any]:
    """What the gateway says was decided."""
    return [each for each in stream.all("tool_confirmation_response") if "decided_by" in each]


def test_an_agent_is_talked_to_by_the_channel_of_its_user(gateway: Gateway, agent: tuple[Stream, str]) -> None:
    stream, session = agent
    answer = told(stream, "assistant", 1)
    # It is the agent's own conversation, whoever speaks.
    assert (answer["content"], answer["session_id"]) == ("I hear: early", session)
    gateway.ask("POST", "/agents/helper/stop")
    wait_for(lambda: gateway.ask("GET", "/channels")["channels"] == [], what="its channel is down")
    stream.say(user("sent to one that is stopped", id="late"))
    gateway.ask("POST", "/agents/helper/start")
    answer = told(stream, "assistant", 2)
    assert (answer["content"], answer["in_reply_to"]) == ("I hear: sent to one that is stopped", "late")
    gateway.ask("DELETE", "/agents/helper")
    wait_for(lambda: gateway.ask("GET", "/channels")["channels"] == [], what="its channel is gone")


def test_a_tool_is_confirmed_by_the_channel_or_by_http(gateway: Gateway, agent: tuple[Stream, str]) -> None:
    stream, session = agent
    stream.say(user('tool mcp__toy__delete {"path": "/x"}', id="mine"))
    request = told(stream, "tool_confirmation_request", 1)
    assert request.items() >= {
        "server_name": "toy", "tool_name": "delete", "timeout_ms": 120_000, "agent_name": "bob--helper",
    }.items()  # fmt: skip
    assert request["arguments"] == {"path": "/x"}
    stream.say(_answer(request, confirmed=True))
    # The first one counts.
    stream.say(_answer(request, confirmed=False))
    assert told(stream, "assistant", 2)["content"] == "mcp__toy__delete ran"
    wait_for(lambda: decided(stream), 90, what="the gateway says what was decided")
    (response,) = decided(stream)
    assert (response["request_id"], response["confirmed"]) == (request["request_id"], True)
    assert (response["decided_by"], response["agent_name"]) == ("user", "bob--helper")

    # A turn that came by HTTP asks there, too.
    run = gateway.ask("POST", f"/sessions/{session}/messages", {"text": "tool mcp__toy__delete"})["run"]
    request = told(stream, "tool_confirmation_request", 2)
    gateway.ask("POST", f"/agents/helper/confirmations/{request['request_id']}", {"confirmed": False})
    stream.say(_answer(request, confirmed=True))
    waited = gateway.ask("GET", f"/runs/{run['id']}/wait?timeout_s=90")
    assert waited["run"]["result_text"] == "mcp__toy__delete was refused"

    stream.say(user("tool mcp__toy__soon", id="soon"))
    assert told(stream, "assistant", 3)["content"] == "mcp__toy__soon ran"
    wait_for(lambda: len(decided(stream)) == 3, 90, what="the gateway says what was decided")
    assert [each["decided_by"] for each in decided(stream)] == ["user", "user", "default"]


def test_an_answer_that_came_while_the_gateway_was_away_counts(gateway: Gateway, agent: tuple[Stream, str]) -> None:
    stream, _ = agent
    stream.say(user("tool mcp__toy__delete", id="again"))
    request = told(stream, "tool_confirmation_request", 1)
    gateway.kill()
    stream.say(_answer(request, confirmed=True))
    gateway.start()
    wait_for(lambda: "mcp__toy__delete ran" in stream.contents(), 90, what="it is confirmed")
    path = f"/agents/helper/confirmations/{request['request_id']}"
    assert gateway.request("POST", path, {"confirmed": False}).status == http.HTTPStatus.CONFLICT
