"""Channels by Redis."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as RedisClient

from tests.gateway.channels.talking import AGENT, Stream, await_connected, declare, status, user
from tests.gateway.stand_in import COMMAND
from tests.support import redis_server
from tests.support.forked import run_agentctl
from tests.support.gateway import Gateway
from tests.support.redis_server import PASSWORD, RedisServer


def channel(redis: RedisServer, **more: object) -> dict[str, object]:
    return {"agent": "helper", "backend": "redis", "channel_name": "c", "url": redis.url, **more}


def start(gateway: Gateway, *channels: dict[str, object]) -> None:
    declare(gateway, *channels)
    gateway.daemon.start()
    gateway.start()
    await_connected(gateway)


def _has(stream: Stream, kind: str, number: int) -> bool:
    return len(stream.all(kind)) >= number


def await_answers(gateway: Gateway, stream: Stream, *wanted: str) -> None:
    gateway.daemon.wait_for(lambda: len(stream.contents()) >= len(wanted), timeout=50, what="all are answered")
    assert sorted(stream.contents()) == sorted(wanted)


def test_a_stream_is_answered(gateway: Gateway, redis: RedisServer) -> None:
    stream = Stream(redis.client(), "c")
    early = stream.say(user("sent before the gateway was there"))
    start(gateway, channel(redis, mode="stream"))
    await_answers(gateway, stream, "You said: sent before the gateway was there")
    (answer,) = stream.all("assistant")
    assert (answer["in_reply_to"], answer["channel_id"], answer["metadata"]) == (early, None, {})
    session = gateway.ask("GET", f"/sessions/{answer['session_id']}")["session"]
    assert (session["agent"], session["tmux_session"], session["metadata"]["channel"]) == (
        "helper",
        "helper",
        "agent:c",
    )

    stream.say(user("USE-TOOL please", channel_id="room", metadata={"n": 1}, id="mine"))
    gateway.daemon.wait_for(lambda: len(stream.all("status")) == 4, what="the second run is over")
    about = {"in_reply_to": "mine", "channel_id": "room", "metadata": {"n": 1}, "agent_name": "helper"}
    told = [each for kind in ("tool_call", "tool_result", "assistant") for each in stream.all(kind)[-1:]]
    assert all(about.items() <= each.items() for each in told)
    call, result, answer = told
    assert (call["tool_name"], call["arguments"], result["ok"]) == ("Bash", "ls", True)
    assert call["tool_call_id"] == result["tool_call_id"]
    assert answer["content"] == "You said: USE-TOOL please"
    assert [each["status"] for each in stream.all("status")] == ["running", "succeeded"] * 2
    # A conversation of its own.
    session = gateway.ask("GET", f"/sessions/{answer['session_id']}")["session"]
    assert session["tmux_session"].startswith("helper--s-")
    diagnostics = gateway.ask("GET", f"/runs/{answer['run_id']}/diagnose")["diagnostics"]
    assert diagnostics["channel"]["state"] == "connected"


def test_bad_messages_are_put_aside_and_others_passed_over(gateway: Gateway, redis: RedisServer) -> None:
    start(gateway, channel(redis, mode="stream"))
    stream = Stream(redis.client(), "c")
    for data in (b'{"type":"user"', b'{"type":"user","content":1}', b"\xff", b"  "):
        stream.say(data)
    for data in (b'{"type":"greeting"}', b"[1]", b'{"type":"assistant","content":"not ours"}'):
        stream.say(data)
    # As redis-cli does it: XADD agent:c * type user content text.
    stream.client.xadd(stream.name, {"message": '{"type":"user","content":"in a field of another name"}'})
    stream.client.xadd(stream.name, {"type": "user", "content": "by fields"})
    gateway.daemon.wait_for(lambda: status(gateway)["counts"].get("sent") == 3, what="the good one is answered")
    counts = status(gateway)["counts"]
    assert (counts["dead"], counts["skipped"], counts["taken"]) == (5, 2, 1)
    dead: Any = stream.client.xrange("agent:c.dead")
    reasons = [json.loads(fields[b"data"])["reason"] for _, fields in dead]
    assert ["expected JSON" in reasons[0], *reasons[1:]] == [
        True,
        "content: expected a text",
        "expected UTF-8, found something else at byte 0",
        "expected a text, found none",
        "expected the field data with the message, or the fields type and content; found message",
    ]
    metrics = gateway.request("GET", "/metrics").body.decode()
    assert 'agentd_gateway_channel_up{agent="helper",backend="redis",channel="c"} 1.0' in metrics
    assert 'agentd_gateway_channel_messages{agent="helper",backend="redis",channel="c",outcome="dead"} 5.0' in metrics


@pytest.mark.parametrize("mode", ["stream", "pubsub"])
def test_no_message_stops_a_channel(gateway: Gateway, redis: RedisServer, mode: str) -> None:
    start(gateway, channel(redis, mode=mode))
    client = redis.client()
    large = "x" * (1024 * 1024 + 1)
    answer = {"type": "tool_confirmation_response", "request_id": "none", "confirmed": True, "text": large}
    poison = [
        user(large),
        large.encode(),
        user("hi", metadata=float("inf")),
        b'{"type":"user","content":"hi","metadata":1e999}',
        user("hi", channel_id="x" * 5000),
        user("hi", id="x" * 5000),
        user("hi", channel_id="\0"),
        b"\xff" * (7 << 20),
    ]
    for data in [*poison, json.dumps(answer).encode(), user("after all", id="mine")]:
        client.xadd("agent:c", {"data": data}) if mode == "stream" else client.publish("agent:c", data)
    gateway.daemon.wait_for(lambda: status(gateway)["counts"].get("sent") == 3, 60, what="the good one is answered")
    shown = status(gateway)
    assert (shown["state"], shown["error"]) == ("connected", None)
    counts = shown["counts"]
    assert (counts["dead"], counts["taken"], counts.get("skipped")) == (len(poison), 1, 1)


def test_what_an_agent_asks_is_answered_by_the_channel(gateway: Gateway, redis: RedisServer) -> None:
    start(gateway, channel(redis, mode="stream"))
    stream = Stream(redis.client(), "c")
    for confirmed, said in ((True, "(allowed)"), (False, "(denied: no)")):
        stream.say(user("ASK-PERMISSION please"))
        number = 1 if confirmed else 2
        gateway.daemon.wait_for(partial(_has, stream, "tool_confirmation_request", number), what="it asks")
        asked = stream.all("tool_confirmation_request")[-1]
        assert (asked["tool_name"], asked["arguments"], asked["agent_name"]) == ("Bash", "ls", "helper")
        answer = {"type": "tool_confirmation_response", "request_id": asked["request_id"], "confirmed": confirmed}
        stream.say(json.dumps({**answer, "text": "no"}).encode())
        # The first one counts.
        stream.say(json.dumps({**answer, "confirmed": not confirmed}).encode())
        gateway.daemon.wait_for(partial(_has, stream, "assistant", number), what="an answer")
        assert stream.contents()[-1] == f"You said: ASK-PERMISSION please {said}"
    counts = status(gateway)["counts"]
    assert (counts["decided"], counts["skipped"]) == (2, 2)


def test_redis_is_killed_and_back_twenty_times(gateway: Gateway, redis: RedisServer) -> None:
    start(gateway, channel(redis, mode="stream"))
    stream = Stream(redis.client(), "c")
    wanted = []
    for number in range(20):
        stream.say(user(f"number {number}"))
        wanted.append(f"You said: number {number}")
        if number == 0:
            gateway.daemon.wait_for(lambda: status(gateway)["counts"].get("taken") == 1, what="one is taken")
        redis.kill()
        if number == 1:
            gateway.daemon.wait_for(lambda: status(gateway)["state"] == "unavailable", what="the channel is down")
            assert gateway.ask("GET", "/health")["channels"][0]["state"] == "unavailable"
        redis.start()
    await_answers(gateway, stream, *wanted)


def test_the_gateway_is_killed_while_messages_come_and_are_answered(gateway: Gateway, redis: RedisServer) -> None:
    start(gateway, channel(redis, mode="stream"))
    stream = Stream(redis.client(), "c")
    wanted = []
    for number in range(6):
        stream.say(user(f"STUB-SLEEP:0.1 number {number}"))
        wanted.append(f"You said: STUB-SLEEP:0.1 number {number}")
        if number % 2:
            gateway.daemon.wait_for(partial(_has, stream, "assistant", number - 1), what="the one before")
        gateway.kill()
        gateway.start()
    gateway.daemon.wait_for(lambda: len({each["in_reply_to"] for each in stream.all("assistant")}) == 6, timeout=50)
    # What was sent when it was killed may come again, under the same id.
    answers = {each["id"]: each["content"] for each in stream.all("assistant")}
    assert sorted(answers.values()) == sorted(wanted)


def test_what_a_dead_consumer_left_is_taken_over(gateway: Gateway, redis: RedisServer) -> None:
    stream = Stream(redis.client(), "c")
    stream.client.xgroup_create(stream.name, "agentd.-.helper", id="0", mkstream=True)
    stream.say(user("left behind"))
    assert stream.client.xreadgroup("agentd.-.helper", "another gateway", {stream.name: ">"})
    start(gateway, channel(redis, mode="stream", session_timeout="300ms"))
    await_answers(gateway, stream, "You said: left behind")


def test_pubsub_is_answered_and_two_agents_have_channels_of_their_own(gateway: Gateway, redis: RedisServer) -> None:
    client = redis.client()
    heard = client.pubsub()  # type: ignore[no-untyped-call]
    heard.subscribe("agent:c", "agent:c.dead")
    start(gateway, channel(redis), channel(redis, channel_name="other", mode="stream"))
    await_connected(gateway, 1)
    client.publish("agent:c", user("hello", id="mine", metadata={"a": "b"}))
    client.publish("agent:c", user("hello", id="mine"))
    client.publish("agent:c", b'{"type":"user"}')
    said: list[Any] = []

    def await_kinds(*kinds: str) -> None:
        def there() -> bool:
            while (message := heard.get_message(ignore_subscribe_messages=True, timeout=0)) is not None:
                said.append(json.loads(message["data"]))
            return {*kinds} <= {each.get("type", "dead") for each in said}

        gateway.daemon.wait_for(there, what=f"{kinds} are heard")

    await_kinds("assistant", "dead")
    (answer,) = [each for each in said if each.get("type") == "assistant"]
    assert (answer["content"], answer["in_reply_to"], answer["metadata"]) == ("You said: hello", "mine", {"a": "b"})
    assert status(gateway)["counts"]["repeated"] == 1
    heard.close()


def test_tls_and_a_password(gateway: Gateway, tmp_path: Path) -> None:
    if redis_server.program() is None:
        pytest.skip("redis-server is not installed")
    with redis_server.serving(tmp_path / "redis", tls=True) as redis:
        assert redis.tls is not None
        good = channel(redis, mode="stream", password_secret="REDIS_PASSWORD", ca_file=str(redis.tls[0]))
        unknown = {**good, "channel_name": "unknown"}
        del unknown["ca_file"]
        wrong = {**good, "channel_name": "wrong", "password_secret": "WRONG"}
        missing = {**good, "channel_name": "missing", "password_secret": "MISSING"}
        unverified = {**unknown, "channel_name": "unverified", "verify": False}
        gateway.daemon.write_secret("REDIS_PASSWORD", PASSWORD)
        gateway.daemon.write_secret("WRONG", "wr0ng-pa55word")
        declare(gateway, good, unknown, wrong, missing, unverified)
        gateway.daemon.start()
        gateway.start()
        stream = Stream(redis.client(), "c")
        stream.say(user("hello"))
        await_answers(gateway, stream, "You said: hello")

        def shown() -> dict[str, Any]:
            return {each["channel_name"]: each for each in gateway.ask("GET", "/channels")["channels"]}

        gateway.daemon.wait_for(
            lambda: {each["state"] for each in shown().values()} == {"connected", "unavailable"}, what="all were tried"
        )
        states = shown()
        assert states["unverified"]["state"] == "connected"
        assert "certificate verify failed" in states["unknown"]["error"]
        assert "MISSING" in states["missing"]["error"]
        assert states["wrong"]["state"] == "unavailable"
        assert "channel_unverified" in gateway.log_text()
        for secret in (PASSWORD, "wr0ng-pa55word"):
            assert secret not in gateway.log_text()
            assert secret not in json.dumps(states)


def test_what_cannot_be_said_by_a_channel_is_refused_at_once(gateway: Gateway, redis: RedisServer) -> None:
    other = {"name": "other", "command": COMMAND, "grace_period": "1s"}
    declare(
        gateway,
        channel(redis, mode="stream"),
        channel(redis, mode="stream", agent="other", url=f"redis://127.0.0.1:{redis.port}/1"),
        # The same agent hears it elsewhere, too.
        channel(redis, mode="stream", agent="other", url=f"redis://127.0.0.1:{redis.port}/2"),
        agents=(AGENT, other),
    )
    gateway.daemon.start()
    gateway.start()
    for number in range(3):
        await_connected(gateway, number)

    def refused(status: int, **body: object) -> str:
        answer = gateway.request("POST", "/channels/c/messages", {"content": "hi", **body})
        assert answer.status == status, answer.body
        told: Any = answer.json()
        return str(told["error"]["message"])

    assert refused(422) == "agent: missing, expected one of helper, other: each has a channel c"
    assert refused(404, agent="nobody") == "there is no channel c of the agent nobody"
    assert refused(422, agent="other", channel_id="x" * 1001).startswith("channel_id: found 1001 characters")
    assert refused(422, agent="other", content="\x01").startswith("content: ")
    assert refused(413, agent="other", content="x" * (1024 * 1024 + 1)).startswith(
        "content: the message has 1048577 bytes"
    )
    assert redis.client().xlen("agent:c") == 0
    gateway.ask("POST", "/channels/c/messages", {"content": "hi", "agent": "other"})
    with RedisClient(port=redis.port, db=1) as client:
        stream = Stream(client, "c")
        await_answers(gateway, stream, "You said: hi")
        assert stream.all("assistant")[0]["agent_name"] == "other"


def test_agentctl_writes_to_a_channel(gateway: Gateway, redis: RedisServer) -> None:
    start(gateway, channel(redis, mode="stream"))
    stream = Stream(redis.client(), "c")

    def send(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["agentctl", "--gateway", gateway.url, "message", "send", *words]
        return run_agentctl(command, env=gateway.daemon.environment(), cwd=gateway.daemon.folder, timeout=60)

    about = ("--channel-id", "room", "--metadata", '{"n": 1}')
    sent = json.loads(send("--channel", "c", *about, "--text", "hello").stdout)
    await_answers(gateway, stream, "You said: hello")
    (answer,) = stream.all("assistant")
    assert (answer["in_reply_to"], answer["channel_id"], answer["metadata"]) == (sent["message_id"], "room", {"n": 1})
    assert "there is no channel other" in send("--channel", "other", "hello").stderr
    assert "send needs --session-id or --channel" in send("hello").stderr
    redis.kill()
    gateway.daemon.wait_for(lambda: status(gateway)["state"] == "unavailable", what="the channel is down")
    assert "the channel c cannot be written to" in send("--channel", "c", "hello").stderr
