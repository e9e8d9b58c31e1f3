"""agentd is SIGKILLed at every step from a message to the end of its turn, and of the answer to what an agent asks.

The agent writes down what it reads from its terminal. Who sends, or answers, does so again until it is told what became
of it, several at once.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from weakref import WeakKeyDictionary

from tests.faults.kills import await_death, start_and_kill
from tests.faults.points import Point, Trigger
from tests.faults.waits import pause
from tests.faults.world import BrokenPromiseError, World
from tests.support.daemon import UnixConnection

_DELIVERIES, _RUN_WATCH = "agentd.turns.messages.deliveries", "agentd.turns.run_watch"
_CHANGES, _HANDOVER = "agentd.turns.messages.changes", "agentd.turns.messages.handover"
_CUSTOM = "agentd.turns.custom.adapter"

MESSAGE_POINTS = (
    Point("message.before_kept", _DELIVERIES, "Deliveries._accept", before=True),
    Point("message.kept", _DELIVERIES, "Deliveries._accept"),
    Point("message.before_withdrawn", _DELIVERIES, "Deliveries._withdraw", before=True),
    Point("message.withdrawn", _DELIVERIES, "Deliveries._withdraw"),
    Point("message.changed", _CHANGES, "Changes.changed", before=True),
    Point("message.told", _CHANGES, "Changes.changed"),
    Point("message.before_typed", _RUN_WATCH, "RunWatch.deliver", before=True),
    Point("message.typed", _RUN_WATCH, "RunWatch.deliver"),
    Point("message.begun", _DELIVERIES, "Deliveries.took", before=True),
    Point("message.taken", _DELIVERIES, "Deliveries.took"),
    Point("message.recalled", _HANDOVER, "Handover._recall", before=True),
    Point("request.asked", _CUSTOM, "CustomWatch._hold", before=True),
    Point("request.before_answered", _RUN_WATCH, "RunWatch.answer", before=True),
    Point("request.answering", _CUSTOM, "CustomWatch.answer", before=True),
    Point("request.decided", _CUSTOM, "CustomWatch.answer"),
    Point("request.answered", _RUN_WATCH, "RunWatch.answer"),
)

NAME = "hearer"
_AGENT = Path(__file__).parents[1] / "support/listening_agent.py"
_REACHED = 1.0
_ANSWER = 5.0
_BOUND = 150.0
"""Seconds for all messages to be over: one that was just typed when agentd was killed, and left no record, fails after
2 minutes."""
_PEOPLE = 3
"""Who answer each request at once."""


@dataclass(slots=True)
class Talk:
    """What was said, and decided."""

    world: World
    name: str = NAME
    """Of who is talked to."""
    said: list[str] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)
    """Messages that were taken back, as whoever did was told."""
    killed: set[str] = field(default_factory=set)
    """Messages during which agentd was killed: of these it may say that it does not know whether they arrived."""
    given: Counter[str] = field(default_factory=Counter)
    """By request, how many answers to it were taken."""
    decisions: set[tuple[str, str]] = field(default_factory=set)
    """What was decided of which text, and was told to have been taken."""
    tried: set[tuple[str, str]] = field(default_factory=set)
    """The same, and of which nobody knows, since agentd did not live to say so."""
    open: bool = True
    died: bool = False
    """Whether agentd died while messages were sent."""

    @property
    def folder(self) -> Path:
        return self.world.daemon.folder / self.name

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, object] | None:
        """Ask on the socket for turns; ``None`` if nobody answers."""
        socket = self.world.daemon.api_socket.with_name(f"{self.world.daemon.api_socket.name}.turns")
        try:
            with contextlib.closing(UnixConnection(socket, timeout=_ANSWER)) as connection:
                connection.request(method, path, None if body is None else json.dumps(body))
                answer = connection.getresponse()
                read = answer.read()
            return answer.status, json.loads(read) if read else None
        except (OSError, http.client.HTTPException):
            return None

    def insist(self, text: str) -> None:
        """Send a message until it is kept, as a careful sender does."""
        body = {"id": text.rsplit(maxsplit=1)[-1], "text": text}
        answer = self._until_taken("POST", f"/v1/turns/{self.name}/messages", body)
        if answer[0] != HTTPStatus.ACCEPTED:
            raise BrokenPromiseError(f"{text!r} was refused: {answer}\n{self.world.explain()}")

    def take_back(self, text: str) -> None:
        """Take a message back, if it waits: who is told that it was does not do so again."""
        answer = self._until_taken("DELETE", f"/v1/turns/{self.name}/messages/{text.rsplit(maxsplit=1)[-1]}")
        if answer[0] == HTTPStatus.OK:
            self.withdrawn.add(text)
        elif answer[0] != HTTPStatus.CONFLICT:
            raise BrokenPromiseError(f"{text!r} could not be taken back: {answer}\n{self.world.explain()}")

    def _until_taken(self, method: str, path: str, body: object = None) -> tuple[int, object]:
        end = time.monotonic() + _BOUND
        while (answer := self.ask(method, path, body)) is None or answer[0] >= HTTPStatus(500):
            if time.monotonic() > end:
                raise BrokenPromiseError(f"{method} {path} was not taken: {answer}\n{self.world.explain()}")
            if not self.world.daemon.running:
                self.died = True
                self.world.daemon.trigger.disarm()
                self.world.daemon.start(ready=False)
            pause(0.02)
        return answer

    def view(self, text: str) -> dict[str, object] | None:
        """What agentd says of a message."""
        answer = self.ask("GET", f"/v1/turns/{self.name}/messages/{text.rsplit(maxsplit=1)[-1]}")
        if answer is None or not isinstance(answer[1], dict):
            return None
        found = answer[1].get("message")
        return found if isinstance(found, dict) else None

    def heard(self) -> Counter[str]:
        path = self.folder / "heard"
        return Counter(json.loads(line) for line in path.read_text().splitlines()) if path.exists() else Counter()

    def answering(self, person: int) -> None:
        """Answer whatever is asked, until the talk is over."""
        decision = ("allow", "deny")[person % 2]
        while self.open:
            answer = self.ask("GET", f"/v1/turns/{self.name}")
            requests = answer[1].get("requests") if answer is not None and isinstance(answer[1], dict) else None
            for request in requests or ():
                number, text = str(request["id"]), str(request["text"])
                self.tried.add((text, decision))
                told = self.ask("POST", f"/v1/turns/{self.name}/answer", {"request": number, "decision": decision})
                if told is not None and told[0] == HTTPStatus.OK:
                    self.given[number] += 1
                    self.decisions.add((text, decision))
            pause(0.01)

    def over(self, text: str) -> bool:
        """Whether agentd says that nothing more comes of a message."""
        view = self.view(text)
        return view is not None and view["status"] in ("ended", "failed", "withdrawn")

    def amiss(self) -> Iterator[str]:
        """What is not as it must be."""
        heard = self.heard()
        for request, times in self.given.items():
            if times > 1:
                yield f"{request} was answered {times} times"
        for text in self.said:
            view = self.view(text)
            if view is None:
                yield f"{text}: agentd does not answer"
                continue
            yield from self._amiss_end(text, view, heard[text])

    def _amiss_end(self, text: str, view: dict[str, object], times: int) -> Iterator[str]:
        if times > 1:
            yield f"{text} was heard {times} times"
        elif text in self.withdrawn:
            if times or view["status"] != "withdrawn":
                yield f"{text} was taken back, and heard {times} times: {view}"
        elif view["status"] == "ended":
            if times != 1:
                yield f"{text} was heard {times} times, and is said to have ended"
            yield from self._amiss_answer(text, view)
        elif view["status"] != "failed" or text not in self.killed:
            yield f"{text}, heard {times} times: {view}"

    def _amiss_answer(self, text: str, view: dict[str, object]) -> Iterator[str]:
        answer, asks = str(view["final_text"]), text.startswith("run ")
        line = text.removeprefix("run ")
        right = {f"I hear: {decision}: {line}" for of, decision in self.tried if of == line}
        if view["outcome"] == "completed" and answer not in (right if asks else {f"I hear: {text}"}):
            yield f"{text} was answered {answer!r}, tried were {sorted(right)}"


_TALKS: WeakKeyDictionary[World, Talk] = WeakKeyDictionary()


def prepare_messages(world: World) -> None:
    """Declare an agent that is talked to."""
    talk = _TALKS[world] = Talk(world)
    world.foreign = lambda name: name == NAME
    talk.folder.mkdir()
    command = json.dumps([sys.executable, "-I", "-S", str(_AGENT)])
    world.daemon.write_drop_in(
        f"{NAME}.toml",
        f'[agent]\nname = "{NAME}"\nharness = "custom"\ncommand = {command}\nworkdir = "{talk.folder}"\n'
        'restart_delay = "20ms"\nrestart_delay_max = "20ms"\ngrace_period = "1s"\n',
    )
    world.daemon.trigger = Trigger(MESSAGE_POINTS)
    world.judges.append(talk.amiss)


def killed_in_a_turn(world: World) -> str:
    """Agentd is SIGKILLed while messages are delivered and several people answer what the agent asks."""
    chance, daemon, talk = world.chance, world.daemon, _TALKS[world]
    point, passes = chance.choice(MESSAGE_POINTS), chance.choice((1, 1, 2, 3))
    again = [chance.uniform(0, 0.4) for _ in range(chance.choice((0, 0, 1, 2)))]
    asks = point.step == "request"
    texts = [
        f"{'run ' if asks or chance.random() < 0.5 else ''}m{len(talk.said) + each}"
        for each in range(chance.choice((1, 2, 3)))
    ]
    talk.open, talk.died = True, False
    people = [threading.Thread(target=talk.answering, args=(person,)) for person in range(_PEOPLE)]
    for each in people:
        each.start()
    try:
        daemon.trigger.arm(point, passes)
        talk.said += texts
        talk.killed |= {*texts}
        for text in texts:
            talk.insist(text)
        if "withdrawn" in point.name or chance.random() < 0.5:
            texts.append(f"m{len(talk.said)}")
            talk.said.append(texts[-1])
            talk.killed.add(texts[-1])
            talk.insist(texts[-1])
            talk.take_back(texts[-1])
        reached = talk.died or await_death(world, _REACHED)
        daemon.kill()
        daemon.trigger.disarm()
        start_and_kill(daemon, again)
        world.await_true(lambda: all(map(talk.over, texts)), "all messages are over", _BOUND)
    finally:
        talk.open = False
        for each in people:
            each.join()
    world.converge()
    return f"{point.name}{'' if reached else ' (not passed: killed anyway)'}"
