"""Channels by Kafka over TLS and SASL, through a door that speaks both before the broker; one is a managed agent's."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.channels.talking import AGENT, Topic, declare, user
from tests.support import kafka_broker, redis_server, talking_claude
from tests.support.gateway import Gateway, managed_home
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_door import PASSWORD, USER, door
from tests.support.ports import a_port

WRONG = "wr0ng-pa55word"


@dataclass(frozen=True)
class Secured:
    """A broker behind a door."""

    broker: KafkaBroker
    certificate: Path

    def topic(self, name: str, **more: object) -> Topic:
        """Those at the other end, who come by the door too: the broker sends all there."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return Topic(f"127.0.0.1:{self.broker.door}", f"mcp_agent_{name}", ssl_context=context, **more)

    def settings(self, name: str, **more: object) -> dict[str, object]:
        """Of a channel."""
        known = {"backend": "kafka", "channel_name": name, "bootstrap_servers": f"127.0.0.1:{self.broker.door}"}
        return {**known, "session_timeout": "1s", **more}


@contextmanager
def secured(folder: Path, *, sasl: bool) -> Iterator[Secured]:
    if kafka_broker.program() is None:
        pytest.skip("tests/gateway/fetch-brokers was not run")
    with kafka_broker.serving(folder / "kafka") as broker, a_port() as port:
        broker.door = port
        tls = redis_server.certificates(folder)
        with door(broker.door, broker.port, tls, sasl=sasl):
            broker.start()
            yield Secured(broker, tls[0])


def states(gateway: Gateway) -> dict[str, Any]:
    return {each["channel_name"]: each for each in gateway.ask("GET", "/channels")["channels"]}


def await_error(gateway: Gateway, name: str, said: str) -> None:
    """Wait until a channel says why it has no broker: where all is slow, that may be another reason at first."""

    def there() -> bool:
        shown = states(gateway)[name]
        return shown["state"] == "unavailable" and said in shown["error"]

    gateway.daemon.wait_for(there, 60, what=f"{name} says why")


async def test_tls_alone(gateway: Gateway, tmp_path: Path) -> None:
    with secured(tmp_path, sasl=False) as kafka:
        good = kafka.settings("c", agent="helper", security_protocol="SSL", ca_file=str(kafka.certificate))
        unknown = {**good, "channel_name": "unknown"}
        del unknown["ca_file"]
        unverified = {**unknown, "channel_name": "unverified", "verify": False}
        declare(gateway, good, unknown, unverified)
        gateway.daemon.start()
        gateway.start()
        for name in ("c", "unverified"):
            topic = kafka.topic(name, security_protocol="SSL")
            await topic.say(user("hello"))
            await topic.await_answers("You said: hello")
        await_error(gateway, "unknown", "certificate verify failed")
        assert "channel_unverified" in gateway.log_text()


async def test_sasl_over_tls(gateway: Gateway, tmp_path: Path) -> None:
    with secured(tmp_path, sasl=True) as kafka:
        about = {"security_protocol": "SASL_SSL", "username": USER}
        own: dict[str, object] = {"agent": "helper", "ca_file": str(kafka.certificate), **about}
        channels = [
            kafka.settings(name, **own, sasl_mechanism=mechanism, password_secret=secret)
            for name, mechanism, secret in (
                ("plain", "PLAIN", "GOOD"),
                ("short", "SCRAM-SHA-256", "GOOD"),
                ("long", "SCRAM-SHA-512", "GOOD"),
                ("wrong", "SCRAM-SHA-512", "WRONG"),
                ("wrong-plain", "PLAIN", "WRONG"),
            )
        ]
        gateway.daemon.write_secret("GOOD", PASSWORD)
        gateway.daemon.write_secret("WRONG", WRONG)
        declare(gateway, *channels, agents=(AGENT,))
        with gateway.daemon.jcard.open("a") as jcard:
            jcard.write(managed_home(gateway.daemon))
        talking_claude.install(gateway.daemon.bin)
        gateway.daemon.start()
        gateway.start()
        pubsub = kafka.settings(
            "bobs", **about, sasl_mechanism="SCRAM-SHA-256", password=PASSWORD, ca=kafka.certificate.read_text()
        )
        config = {"pubsub_enabled": True, "pubsub_config": pubsub}
        gateway.ask("POST", "/agents", {"username": "bob", "name": "helper", "json_config": config})
        login = {"sasl_mechanism": "PLAIN", "sasl_plain_username": USER, "sasl_plain_password": PASSWORD}
        for name, answer in (("plain", "You said"), ("short", "You said"), ("long", "You said"), ("bobs", "I hear")):
            topic = kafka.topic(name, security_protocol="SASL_SSL", **login)
            await topic.say(user("hello"))
            (said,) = await topic.await_answers(f"{answer}: hello")
            assert said["agent_name"] == ("bob--helper" if name == "bobs" else "helper")
        for name in ("wrong", "wrong-plain"):
            await_error(gateway, name, "the broker refused the user or the password")
        assert {name for name, each in states(gateway).items() if each["state"] == "connected"} == {
            "plain",
            "short",
            "long",
            "bobs",
        }
        told = gateway.log_text() + json.dumps([gateway.ask("GET", path) for path in ("/channels", "/agents")])
        assert not any(secret in told for secret in (PASSWORD, WRONG))
