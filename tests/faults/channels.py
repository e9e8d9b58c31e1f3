"""The gateway, its broker and agentd are SIGKILLed at every step from a message on a channel to its answer there.

Agents write down what they hear. No message is lost, none is heard twice, and each has one answer, which may be sent
again under its id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from tests.faults.brokers import Broker, Kafka, Redis
from tests.faults.gateway import NAME, POINTS, Talk, declare
from tests.faults.gateway_homes import Home
from tests.faults.points import Point, Trigger
from tests.faults.waits import pause
from tests.faults.world import BrokenPromiseError, World
from tests.support import kafka_broker, redis_server

_CHANNEL, _INBOX = "agentd.gateway.channels.channel", "agentd.gateway.engine.inbox"

_POINTS = (
    Point("channel.before_taken", _CHANNEL, "Channel.take", before=True),
    Point("channel.session_found", _INBOX, "Inbox._session"),
    Point("channel.stored", _INBOX, "Inbox.take"),
    Point("channel.taken", _CHANNEL, "Channel.take"),
    Point("answer.read", _INBOX, "Inbox.outgoing"),
    Point("answer.noted", _INBOX, "Inbox.sent"),
    *POINTS,
)

_ROOMS = 3
_BOUND = 60.0
_REACHED = 1.5
_OVER = ("succeeded", "failed", "canceled", "timed_out")
_VICTIMS = ("point", "point", "point", "point", "gateway", "broker", "agentd", "all")


class _Home(Home):
    """With a jcard of its own, which declares a channel; agents are declared where agentd reads them."""

    def __init__(self, world: World, config: Path) -> None:
        super().__init__(world)
        self._config = config

    def arguments(self) -> Sequence[str]:
        """Give what its command line says of it."""
        return (f"--config={self._config}", f"--config-dir={self.world.daemon.drop_ins}")


def lacks_redis() -> str | None:
    """What the machine lacks for the family of Redis."""
    return None if redis_server.program() is not None else "redis-server is not installed"


def lacks_kafka() -> str | None:
    """What the machine lacks for the family of Kafka."""
    return None if kafka_broker.program() is not None else "tests/gateway/fetch-brokers was not run"


@dataclass(slots=True)
class _Channel:
    """A stream or topic, and what was said by it."""

    world: World
    broker: Broker
    talk: Talk
    texts: list[str] = field(default_factory=list)
    may_fail: set[str] = field(default_factory=set)

    def say(self, text: str) -> None:
        """Write a message, which is kept then."""
        room = self.world.chance.randrange(_ROOMS)
        self.broker.say({"type": "user", "content": text, "id": text, "channel_id": room})

    def told(self) -> list[Any]:
        """All that the gateway wrote."""
        return [each for each in self.broker.all() if "in_reply_to" in each]

    def over(self, texts: list[str]) -> bool:
        """Whether each is answered, or has failed."""
        ended = {each["in_reply_to"] for each in self.told() if each.get("status") in _OVER}
        return ended >= {*texts}

    def amiss(self) -> Iterator[str]:
        """What is not as it must be, of all that was said."""
        told, heard = self.told(), self.talk.heard()
        for text in self.texts:
            answers = {each["id"]: each["content"] for each in _about(told, text, "assistant")}
            ends = {each["id"]: each["status"] for each in _about(told, text, "status") if each["status"] in _OVER}
            if heard[text] > 1 or len(ends) != 1:
                yield f"{text} was heard {heard[text]} times, and ended so: {[*ends.values()]}"
            elif [*ends.values()] == ["succeeded"]:
                if heard[text] != 1 or [*answers.values()] != [f"I hear: {text}"]:
                    yield f"{text} was heard {heard[text]} times, and answered {[*answers.values()]}"
            elif answers or text not in self.may_fail:
                yield f"{text} ended so: {[*ends.values()]}, answered {[*answers.values()]}"


def _about(told: list[Any], text: str, kind: str) -> list[Mapping[str, Any]]:
    return [each for each in told if each["in_reply_to"] == text and each["type"] == kind]


_CHANNELS: WeakKeyDictionary[World, _Channel] = WeakKeyDictionary()


def prepare_channels(world: World) -> None:
    """Declare an agent that listens, and start Redis."""
    _prepare(world, Redis)


def prepare_kafka(world: World) -> None:
    """Declare an agent that listens, and start a broker like Kafka."""
    _prepare(world, Kafka)


def _prepare(world: World, kind: Callable[[World, Path], Broker]) -> None:
    folder = world.daemon.folder / "broker"
    folder.mkdir()
    broker = kind(world, folder)
    broker.start()
    config = world.daemon.folder / "gateway.toml"
    table = {"agent": NAME, "channel_name": "c", **broker.table()}
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
    config.write_text(f"[[gateway.channels]]\n{lines}")
    talk = declare(world, Talk(world, _Home(world, config), Trigger((*broker.points, *_POINTS))))
    channel = _CHANNELS[world] = _Channel(world, broker, talk)
    world.judges.append(channel.amiss)


def killed_on_a_channel(world: World) -> str:
    """Kill the gateway at a step of a message, its broker, agentd, or all of them."""
    chance, channel = world.chance, _CHANNELS[world]
    talk = channel.talk
    if talk.process is None or talk.process.poll() is not None:
        talk.start()
    victim, point = chance.choice(_VICTIMS), chance.choice((*channel.broker.points, *channel.broker.points, *_POINTS))
    number = len(channel.texts)
    texts = [f"m{number + each}" for each in range(chance.choice((1, 2, 3)))]
    if victim in ("agentd", "all"):
        channel.may_fail.update(texts)
    if away := chance.random() < 0.25:
        talk.kill()
    if victim == "point":
        talk.trigger.arm(point, chance.choice((1, 1, 2, 3)))
    channel.texts += texts
    for text in texts:
        channel.say(text)
    if away:
        talk.launch()
    reached = talk.died(_REACHED) if victim == "point" else _strike(channel, victim)
    talk.trigger.disarm()
    talk.go_on()
    try:
        world.await_true(lambda: channel.over(texts), "all messages are answered", _BOUND)
    except BrokenPromiseError as error:
        told = [each for each in channel.told() if each["in_reply_to"] in texts]
        log = (world.daemon.folder / "gateway.log").read_text().splitlines()[-15:]
        raise BrokenPromiseError(f"{victim} {point.name}: {error}\n{told}\n{talk.heard()}\n" + "\n".join(log)) from None
    world.converge()
    return f"{point.name}{'' if reached else ' (not passed)'}" if victim == "point" else victim


def _strike(channel: _Channel, victim: str) -> bool:
    world = channel.world
    pause(world.chance.choice((0.0, 0.02, 0.05, 0.1, 0.3)))
    if victim in ("gateway", "all"):
        channel.talk.kill()
    if victim in ("broker", "all"):
        channel.broker.kill()
    if victim in ("agentd", "all"):
        world.daemon.kill()
        world.daemon.start(ready=False)
    if victim in ("broker", "all"):
        pause(world.chance.choice((0.0, 0.3)))
        channel.broker.start()
    return True
