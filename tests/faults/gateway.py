"""The gateway, agentd and agents are SIGKILLed at every step from a message to its answer, its clock is set an hour on
or back, its database deleted, also under it, its disk is full, its server of databases crashes, and its package is
removed or replaced under it.

Agents write down what they hear. No message is lost, none is heard twice, and each is answered once.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from tests.faults.gateway_homes import Home, home_of
from tests.faults.points import Point, Trigger
from tests.faults.waits import pause
from tests.faults.world import BrokenPromiseError, World
from tests.support.daemon import Running, UnixConnection

_STEPS, _SCHEDULER = "agentd.gateway.engine.steps", "agentd.gateway.engine.scheduler"
_DRIVER, _AGENTS = "agentd.gateway.engine.driver", "agentd.gateway.engine.agents"
_TURNS, _DATABASE = "agentd.api.client.turns", "agentd.gateway.store.database"

POINTS = (
    Point("message.before_queued", _STEPS, "queue_run", before=True),
    Point("message.queued", _STEPS, "queue_run"),
    Point("message.kept", _STEPS, "add_message"),
    Point("write.before", _DATABASE, "Database.write", before=True),
    Point("write.done", _DATABASE, "Database.write"),
    Point("run.before_started", _SCHEDULER, "Scheduler._start", before=True),
    Point("run.begun", _SCHEDULER, "Scheduler._begin"),
    Point("run.started", _SCHEDULER, "Scheduler._start"),
    Point("run.before_declared", _AGENTS, "Agents.ensure", before=True),
    Point("run.declared", _AGENTS, "Agents.ensure"),
    Point("turn.before_delivered", _TURNS, "Turns.deliver", before=True),
    Point("turn.delivered", _TURNS, "Turns.deliver"),
    Point("turn.before_told", _DRIVER, "Driver._take", before=True),
    Point("turn.before_kept", _DRIVER, "take", before=True),
    Point("turn.kept", _DRIVER, "take"),
    Point("result.before", _STEPS, "end_run", before=True),
    Point("result.kept", _STEPS, "end_run"),
    Point("result.followed", _DRIVER, "Driver.drive"),
)

_AGENT = Path(__file__).parents[1] / "support/listening_agent.py"
NAME = "listener"
_REACHED = 1.5
"""Seconds in which a point that will be passed is passed."""
_ANSWER = 5.0
_BOUND = 60.0
"""Seconds for an answer. A message that agentd was just typing when it was killed fails after 30 s: nobody knows then
whether it arrived, and it is not typed twice."""
_MOST_SESSIONS = 3
_END = 12.0
"""Seconds that a database that does not answer may hold its end up, and some."""


@dataclass(slots=True)
class Talk:
    """The gateway of a world, and what was said by it."""

    world: World
    home: Home
    trigger: Trigger = field(default_factory=lambda: Trigger(POINTS))
    process: Running | None = None
    sessions: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    """Ids of runs by their messages."""
    forgotten: int = 0
    """Messages of databases that were deleted."""
    may_fail: set[str] = field(default_factory=set)
    """Messages whose agent or agentd was killed before they were answered."""

    @property
    def socket(self) -> Path:
        return self.world.daemon.runtime / "gateway.sock"

    @property
    def folder(self) -> Path:
        return self.world.daemon.folder / "listeners"

    def start(self) -> None:
        self.launch()
        self.world.await_true(lambda: self.ask("GET", "/health") is not None, "the gateway answers")

    def launch(self) -> None:
        """Start it without waiting for it."""
        daemon = self.world.daemon
        argv = [
            f"--config={daemon.jcard}", f"--secret-dir={daemon.secrets}", f"--api-socket={daemon.api_socket}",
            f"--state-dir={daemon.state}", f"--data-dir={daemon.data}", f"--listen=unix:{self.socket}", *daemon.flags,
            *self.home.arguments(),
        ]  # fmt: skip
        environment, log = daemon.environment(), daemon.folder / "gateway.log"
        self.process = self.home.launch(argv, environment, self.trigger, log)

    @property
    def gone(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def go_on(self) -> None:
        """Have it there: what has just passed its point may still be dying."""
        self.world.await_true(
            lambda: self.gone or self.ask("GET", "/health") is not None, "the gateway answers, or ends"
        )
        if self.gone:
            self.start()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def end(self) -> None:
        """SIGTERM it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(_END)
        except subprocess.TimeoutExpired:
            raise BrokenPromiseError(f"the gateway did not end within {_END:g} s of SIGTERM") from None
        if status != 0:
            raise BrokenPromiseError(f"the gateway ended with status {status} after SIGTERM, expected 0")

    def delete(self) -> None:
        """Delete its database under it."""
        for file in self.world.daemon.state.glob("gateway.db*"):
            file.unlink(missing_ok=True)
        self.world.await_true((self.world.daemon.state / "gateway.db").exists, "the database is put back")

    def forget(self) -> None:
        """Delete its database while it is away."""
        self.kill()
        for file in self.world.daemon.state.glob("gateway.db*"):
            file.unlink()
        self.forgotten += len(self.said)
        self.sessions.clear()
        self.said.clear()
        self.start()

    def died(self, patience: float) -> bool:
        """Wait for the gateway to die at the step it was armed for, and say whether it did."""
        assert self.process is not None
        try:
            return self.process.wait(patience) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False

    def ask(self, method: str, path: str, body: object = None, key: str | None = None) -> Any:  # noqa: ANN401
        """Ask the gateway; ``None`` if it gives no answer, or says that its database is away."""
        headers = {"Content-Type": "application/json", **({} if key is None else {"Idempotency-Key": key})}
        try:
            with contextlib.closing(UnixConnection(self.socket, timeout=_ANSWER)) as connection:
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                answer = connection.getresponse()
                read = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            return None
        assert answer.status < http.HTTPStatus.BAD_REQUEST, f"{method} {path}: {answer.status} {read!r}"
        return json.loads(read)

    def insist(self, path: str, body: object, key: str) -> Any:  # noqa: ANN401
        """Send a request again until it is answered, as a careful client does."""
        end = time.monotonic() + _BOUND
        while (answer := self.ask("POST", path, body, key)) is None:
            if time.monotonic() > end:
                raise BrokenPromiseError(f"POST {path} was not answered for {_BOUND:g} s")
            if self.gone:
                self.trigger.disarm()
                self.start()
            pause(0.02)
        return answer

    def meet(self) -> None:
        """Make a session, until there are enough."""
        if len(self.sessions) < _MOST_SESSIONS:
            made = self.insist("/sessions", {"agent": NAME}, f"session-{len(self.sessions)}")
            self.sessions.append(made["session"]["id"])

    def explain(self, texts: list[str]) -> str:
        """What became of some messages, for a failure message."""
        heard = self.heard()
        runs = [f"{text}, heard {heard[text]} times: {json.dumps(self.run(self.said[text]))}" for text in texts]
        log = (self.world.daemon.folder / "gateway.log").read_text().splitlines()[-15:]
        screens = [f"--- {name}: {self._screen(name)}" for name in self.world.daemon.agents() if name.startswith(NAME)]
        return "\n".join([*runs, f"all that was heard: {dict(heard)}", *screens, "--- the gateway's log", *log])

    def _screen(self, name: str) -> str:
        try:
            return self.world.daemon.request("GET", f"/v1/agents/{name}/screen").body.decode().rstrip()
        except (OSError, AssertionError) as error:
            return str(error)

    def heard(self) -> Counter[str]:
        lines = [line for file in self.folder.glob("heard") for line in file.read_text().splitlines()]
        return Counter(json.loads(line) for line in lines)

    def run(self, run_id: str) -> Any:  # noqa: ANN401
        found = self.ask("GET", f"/runs/{run_id}")
        return None if found is None else found["run"]

    def amiss(self) -> Iterator[str]:
        """What is not as it must be, of all that was said."""
        heard = self.heard()
        for text, run_id in self.said.items():
            run = self.run(run_id)
            if run is None:
                yield "the gateway does not answer"
            elif heard[text] > 1:
                yield f"{text} was heard {heard[text]} times"
            elif run["status"] == "succeeded":
                if heard[text] != 1 or run["result_text"] != f"I hear: {text}":
                    yield f"{text} was heard {heard[text]} times, and answered {run['result_text']!r}"
            elif run["status"] != "failed" or text not in self.may_fail:
                yield f"{text}: {run['status']}, {run['error']}"
        for session in self.sessions:
            yield from self._amiss_in(session)

    def _amiss_in(self, session: str) -> Iterator[str]:
        page = self.ask("GET", f"/sessions/{session}/events?limit=1000")
        events = [] if page is None else page["events"]
        cursors = [event["cursor"] for event in events]
        if cursors != sorted(set(cursors)):
            yield f"the events of {session} are not in order: {cursors}"
        ends: Counter[str] = Counter()
        output: Counter[str] = Counter()
        for event in events:
            if event["event_type"] in ("run.succeeded", "run.failed"):
                ends[event["run_id"]] += 1
            if event["event_type"] == "message.created" and event["data"]["role"] == "assistant":
                output[event["run_id"]] += 1
        for run_id in {event["run_id"] for event in events} - {None}:
            if ends[run_id] != 1 or output[run_id] > 1:
                yield f"{run_id} ended {ends[run_id]} times, with {output[run_id]} answers"


_TALKS: WeakKeyDictionary[World, Talk] = WeakKeyDictionary()


def prepare_gateway(world: World) -> None:
    """Declare an agent that listens, and start a gateway with the first round."""
    talk = _TALKS[world] = declare(world, Talk(world, home_of(world)))
    world.judges.append(talk.amiss)


def declare(world: World, talk: Talk) -> Talk:
    """Declare the agent that is talked to."""
    world.foreign = lambda name: name.startswith(NAME)
    talk.folder.mkdir()
    command = json.dumps([sys.executable, "-I", "-S", str(_AGENT)])
    world.daemon.write_drop_in(
        f"{NAME}.toml",
        f'[agent]\nname = "{NAME}"\nharness = "custom"\ncommand = {command}\nworkdir = "{talk.folder}"\n'
        'restart_delay = "20ms"\nrestart_delay_max = "20ms"\ngrace_period = "1s"\nenabled = false\n',
    )
    # Before agentd is ended, which says what was left behind.
    world.before_the_end.append(talk.kill)
    return talk


def killed_in_a_conversation(world: World) -> str:
    """Kill the gateway at a step of a run, agentd, or an agent, while messages are answered."""
    chance, talk = world.chance, _TALKS[world]
    if talk.process is None:
        talk.start()
    victim = chance.choice((*talk.home.victims, "gateway", "agentd", "agent", "both", "end"))
    if victim == "database":
        talk.forget()
    number = talk.forgotten + len(talk.said)
    talk.meet()
    point = chance.choice(POINTS)
    if victim == "point":
        talk.trigger.arm(point, chance.choice((1, 1, 2, 3)))
    texts = [f"m{number + each}" for each in range(chance.choice((1, 2, 3)))]
    if victim in ("agentd", "agent", "both"):
        talk.may_fail.update(texts)
    said = [(text, f"/sessions/{chance.choice(talk.sessions)}/messages") for text in texts]
    if victim == "trouble":
        _trouble(talk, said)
    for text, path in said:
        talk.said[text] = talk.insist(path, {"text": text}, f"key-{text}")["run"]["id"]
    reached = _strike(talk, victim)
    if victim == "point":
        talk.trigger.disarm()
    talk.go_on()
    try:
        world.await_true(lambda: all(_over(talk, text) for text in texts), "all messages are answered", _BOUND)
    except BrokenPromiseError as error:
        raise BrokenPromiseError(f"{victim} {point.name}: {talk.explain(texts)}\n{error}") from None
    world.converge()
    what = f"{point.name}{'' if reached else ' (not passed)'}" if victim == "point" else victim
    return f"{talk.home.name}, {what}"


def _trouble(talk: Talk, said: list[tuple[str, str]]) -> None:
    """Say it while there is trouble: what is taken then is taken, and what is not is said again."""
    chance = talk.world.chance
    with talk.home.troubled():
        for text, path in said:
            talk.ask("POST", path, {"text": text}, f"key-{text}")
        pause(chance.choice((0.0, 0.1, 0.5, 1.5)))
        if talk.process is not None and talk.process.poll() is not None:
            raise BrokenPromiseError(f"the gateway ended by itself: {talk.process.poll()}")
        how = chance.choice(("goes on", "SIGTERM", "SIGKILL"))
        if how == "SIGTERM":
            talk.end()
        elif how == "SIGKILL":
            talk.kill()


def _over(talk: Talk, text: str) -> bool:
    run = talk.run(talk.said[text])
    return run is not None and run["ended_at"] is not None


def _strike(talk: Talk, victim: str) -> bool:
    world = talk.world
    if victim == "point":
        return talk.died(_REACHED)
    if victim == "clock":
        talk.trigger.clock_offset = world.chance.choice((3600.0, -3600.0))
    pause(world.chance.choice((0.0, 0.02, 0.05, 0.1, 0.3)))
    if victim in ("gateway", "both"):
        talk.kill()
    if victim == "end":
        talk.end()
    if victim == "deleted":
        talk.delete()
    if victim in ("agentd", "both"):
        world.daemon.kill()
        world.daemon.start(ready=False)
    if victim == "agent":
        agents = [agent for name, agent in world.daemon.agents().items() if name.startswith(NAME) and agent["pid"]]
        for agent in agents[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent["pid"] or 0, signal.SIGKILL)
    return True
