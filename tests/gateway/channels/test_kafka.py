"""Channels by Kafka."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.channels.talking import Topic, await_connected, declare, status, user
from tests.support.gateway import Gateway
from tests.support.kafka_broker import KafkaBroker


def channel(broker: KafkaBroker, **more: object) -> dict[str, Any]:
    # Apache's brokers take no shorter session than 6 s, and tansu lets half of it pass before a group is ready.
    known = {"agent": "helper", "backend": "kafka", "channel_name": "c", "bootstrap_servers": broker.server}
    return {**known, "session_timeout": "1s", **more}


def start(gateway: Gateway, broker: KafkaBroker) -> None:
    declare(gateway, channel(broker))
    gateway.daemon.start()
    gateway.start()
    await_connected(gateway)


async def test_a_topic_is_answered_and_bad_messages_do_not_stop_it(gateway: Gateway, broker: KafkaBroker) -> None:
    topic = Topic(broker.server, "mcp_agent_c")
    (early,) = await topic.say(user("sent before", channel_id="room", metadata=[1]))
    start(gateway, broker)
    (answer,) = await topic.await_answers("You said: sent before")
    assert (answer["in_reply_to"], answer["channel_id"], answer["metadata"]) == (early, "room", [1])
    await topic.say(b'{"type":"user"', b"plain text", b'"a JSON string"', b"\xff", b'{"type":"other"}', b"[1]")
    await topic.await_answers("You said: sent before", "You said: plain text", "You said: a JSON string")
    gateway.daemon.wait_for(lambda: status(gateway)["counts"].get("own", 0) >= 9, what="its own are passed over")
    counts = status(gateway)["counts"]
    assert (counts["taken"], counts["dead"], counts["skipped"]) == (3, 2, 2)
    aside = await Topic(broker.server, "mcp_agent_c.dead").values(lambda values: len(values) >= 2)
    dead = [json.loads(each) for each in aside]
    assert sorted(each["message"] for each in dead) == ["\\xff", '{"type":"user"']
    assert all(each["source"].startswith("mcp_agent_c/") and each["reason"] for each in dead)


async def test_what_is_too_large_does_not_stop_a_topic(gateway: Gateway, broker: KafkaBroker) -> None:
    topic = Topic(broker.server, "mcp_agent_c")
    start(gateway, broker)
    # What is put aside, and what is given back with an answer, may be larger than what came.
    numbers = b'{"type":"user","content":"many numbers","metadata":[' + b",".join([b"1e9"] * 700_000) + b"]}"
    messages = (b"\xff" * (7 << 20), b"x" * (9 << 20), user("x" * (1024 * 1024 + 1)), numbers, user("after all"))
    await Topic(broker.server, topic.name, max_request_size=32 << 20).say(*messages)
    gateway.daemon.wait_for(
        lambda: status(gateway)["counts"].get("sent", 0) >= 6, 60, what="the good ones are answered"
    )
    shown = status(gateway)
    assert (shown["state"], shown["error"], shown["counts"]["taken"]) == ("connected", None, 2)
    answers = await topic.await_answers("You said: many numbers", "You said: after all")
    assert {each["content"]: (each["metadata"], each.get("truncated")) for each in answers} == {
        "You said: many numbers": ({}, True),
        "You said: after all": ({}, None),
    }
    aside = await Topic(broker.server, "mcp_agent_c.dead").values(lambda values: len(values) >= 3)
    dead = [json.loads(each) for each in aside]
    assert len(dead) == shown["counts"]["dead"] == 3


async def test_compressed_messages_are_answered(gateway: Gateway, broker: KafkaBroker) -> None:
    start(gateway, broker)
    kinds = ("gzip", "snappy", "lz4", "zstd")
    for kind in kinds:
        # What repeats itself is sent smaller than it is: else the client leaves it as it is.
        await Topic(broker.server, "mcp_agent_c", compression_type=kind).say(user(f"{kind} " + "x" * 500))
    answers = [f"You said: {kind} " + "x" * 500 for kind in kinds]
    await Topic(broker.server, "mcp_agent_c").await_answers(*answers)
    assert status(gateway)["error"] is None


async def test_what_is_sent_while_nobody_is_there_is_answered_once(gateway: Gateway, broker: KafkaBroker) -> None:
    topic = Topic(broker.server, "mcp_agent_c")
    start(gateway, broker)
    await topic.say(user("one"))
    await topic.await_answers("You said: one")
    gateway.stop()
    await topic.say(user("two"))
    gateway.daemon.kill()
    gateway.start()
    await topic.say(user("three"))
    gateway.daemon.start()
    await topic.await_answers("You said: one", "You said: two", "You said: three")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_broker_is_killed_and_back_twenty_times(gateway: Gateway, broker: KafkaBroker) -> None:
    start(gateway, broker)
    topic = Topic(broker.server, "mcp_agent_c")
    for number in range(20):
        await topic.say(user(f"number {number}"))
        if number == 0:
            gateway.daemon.wait_for(lambda: status(gateway)["counts"].get("taken") == 1, what="one is taken")
        broker.kill()
        if number == 1:
            gateway.daemon.wait_for(lambda: status(gateway)["state"] == "unavailable", what="the channel is down")
            assert gateway.ask("GET", "/health")["channels"][0]["state"] == "unavailable"
        broker.start()
    # An answer that a broker got when it was killed may be there twice, under the same id.
    await topic.await_each(*(f"You said: number {number}" for number in range(20)))


async def test_the_gateway_is_killed_while_messages_come(gateway: Gateway, broker: KafkaBroker) -> None:
    start(gateway, broker)
    topic = Topic(broker.server, "mcp_agent_c")
    for number in range(4):
        await topic.say(user(f"STUB-SLEEP:0.1 number {number}"))
        gateway.daemon.wait_for(lambda: status(gateway)["counts"].get("taken"), what="one is taken")
        gateway.kill()
        gateway.start()
    await topic.await_each(*(f"You said: STUB-SLEEP:0.1 number {number}" for number in range(4)))


async def test_two_gateways_share_the_messages(gateway: Gateway, second: Gateway, broker: KafkaBroker) -> None:
    start(gateway, broker)
    start(second, broker)
    topic = Topic(broker.server, "mcp_agent_c")
    # Each has half of the partitions, once the group has settled.
    sent: list[str] = []

    def taken() -> list[int]:
        return [status(each)["counts"].get("taken", 0) for each in (gateway, second)]

    while not all(taken()):
        text = f"number {len(sent)}"
        sent.append(f"You said: {text}")
        await topic.say(user(text))
        # One after the other: each costs its agent a turn.
        gateway.daemon.wait_for(lambda: sum(taken()) >= len(sent), 30, what="one of them has taken it")
    await topic.await_answers(*sent)
    # What one leaves, the other takes.
    second.stop()
    more = [f"after {number}" for number in range(4)]
    await topic.say(*map(user, more))
    await topic.await_answers(*sent, *(f"You said: {each}" for each in more))
