"""A small world to break: one agentd, some agents, and the simplest model of what must be true of them."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from tests.faults.forked import ForkedDaemon
from tests.faults.oracle import Mark, Marks, lives, of_runs
from tests.support.agents import jcard

SCRIPT = Path(__file__).with_name("scripted_agent.sh")
BOUND = 20.0
"""Seconds in which everything must be as declared after a fault. A loaded machine is ten times slower than a quiet one,
where it takes a third of a second."""
QUICK = "20ms"
"""Back-off of an agent that is back within the bound; one with another back-off stays in it."""
_POLL = 0.01


class BrokenPromiseError(AssertionError):
    """Something that docs/reliability.md promises does not hold."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One agent as declared, and what must be true of it."""

    name: str
    kind: str = "plain"
    restart: str = "always"
    generation: int = 1
    """Changed with every change of its launch, so that each definition's runs can be told apart."""
    enabled: bool = True
    starts: int | None = 1
    """Runs of this generation that there must have been; ``None`` after a fault whose toll is not known beforehand."""
    runs: bool | None = True
    """Whether it must be running now; ``None`` if either is right."""
    last: tuple[int | None, int | None] | None = None
    """Exit code and signal that its last run must be said to have ended with; ``None`` if that is not known."""
    grace: str = "3s"
    delay: str = QUICK
    secrets: tuple[str, ...] = ()
    path: str | None = None
    """The PATH that its shell is sought on, if it is not named by its path."""
    checkout: Mapping[str, str] | None = None
    """What declares the git worktree that it works in, if that is not the folder of the marks."""

    def table(self, folder: Path) -> dict[str, object]:
        """Write its table of the jcard."""
        return {
            "name": self.name,
            "command": ["/bin/sh" if self.path is None else "sh", str(SCRIPT), str(folder), self.name, self.kind],
            "env": {"GENERATION": str(self.generation), **({} if self.path is None else {"PATH": self.path})},
            "restart": self.restart,
            "restart_delay": self.delay,
            "restart_delay_max": "60ms" if self.delay == QUICK else self.delay,
            "timeout": "24h",
            "grace_period": self.grace,
            "enabled": self.enabled,
            **({"workdir": str(folder)} if self.checkout is None else self.checkout),
            "secrets": list(self.secrets),
        }


class World:
    """A daemon, what is declared to it, and what agents wrote down.

    Parameters
    ----------
    chance
        Decides everything that is left to chance; nothing is drawn depending on time, so a seed replays.
    daemon
        Makes its agentd.
    """

    def __init__(self, folder: Path, chance: Random, daemon: Callable[[Path], ForkedDaemon] = ForkedDaemon) -> None:
        self.chance = chance
        self.daemon = daemon(folder)
        self.marks_folder = folder / "marks"
        self.marks_folder.mkdir()
        self.marks = Marks(self.marks_folder)
        self.agents: dict[str, Declared] = {}
        self.drop_ins: dict[str, str] = {}
        """Which agents have a drop-in of their own, and its name in the folder."""
        self.top: dict[str, object] = {}
        """What the jcard says beside its agents."""
        self.slowest = 0.0
        """Longest convergence so far, in seconds."""
        self.long_stop = 1.0
        """Seconds that something is stopped which is then continued."""
        self.judges: list[Callable[[], Iterable[str]]] = []
        """Each says what else is not as it must be, once agents and API are."""
        self.foreign: Callable[[str], bool] = lambda _name: False
        """Whether an agent of this name is somebody else's, of whom the model knows nothing."""
        self.before_the_end: list[Callable[[], None]] = []
        """Called before agentd is ended."""
        self.others: list[ForkedDaemon] = []
        """Further agentds, which a family has started: closed with the world's own, before it."""
        self.at_the_end: list[Callable[[], None]] = []
        """Called once nothing of it runs any more."""
        self._named = 0

    def close(self) -> list[str]:
        """End everything, and say what was wrong with the end."""
        for end in self.before_the_end:
            end()
        problems = [problem for each in (*self.others, self.daemon) for problem in each.close()]
        for give_back in reversed(self.at_the_end):
            give_back()
        return problems

    # -- what is declared

    def write(self) -> None:
        """Declare the agents there are."""
        self.daemon.write_jcard(self.text())
        for name, file in list(self.drop_ins.items()):
            if name in self.agents:
                self.daemon.write_drop_in(file, self.drop_in_text(name))
            else:
                (self.daemon.drop_ins / file).unlink(missing_ok=True)
                del self.drop_ins[name]

    def text(self) -> str:
        """The jcard of the agents there are that have no drop-in."""
        tables = (agent.table(self.marks_folder) for agent in self.agents.values() if agent.name not in self.drop_ins)
        return jcard(*tables, **self.top)

    def drop_in_text(self, name: str) -> str:
        """The drop-in of one agent."""
        return jcard(self.agents[name].table(self.marks_folder))

    def add(self, kind: str = "plain", restart: str = "always") -> Declared:
        """Declare another agent, not yet written."""
        name = f"a{self._named}"
        self._named += 1
        os.mkfifo(self.marks_folder / f"{name}.fifo")
        self.agents[name] = Declared(name, kind, restart, grace="500ms" if kind == "stubborn" else "3s")
        return self.agents[name]

    def remove(self, name: str) -> None:
        """Declare an agent no longer."""
        del self.agents[name]

    def change(self, name: str) -> None:
        """Change an agent's launch."""
        self._set(name, generation=self.agents[name].generation + 1, starts=1, runs=True, last=None, enabled=True)

    def disable(self, name: str) -> None:
        """Disable an agent."""
        self._set(name, enabled=False, runs=False, starts=None, last=None)

    def unknown_toll(self) -> None:
        """How many runs there must have been is not known any more, of no agent."""
        for name in self.agents:
            self.toll_of(name)

    def toll_of(self, name: str) -> None:
        """How many runs of an agent there must have been is not known any more."""
        agent = self.agents[name]
        always = agent.restart == "always" or not agent.enabled
        self._set(name, starts=None, last=None, runs=agent.enabled if always else None)

    def disturbed(self, name: str, last: tuple[int | None, int | None] | None = None) -> None:
        """An agent's run was ended by something other than agentd: once, so one restart or none."""
        agent = self.agents[name]
        if not agent.runs:
            return
        again = agent.restart == "always" or (agent.restart == "on-failure" and last != (0, None))
        again = again and agent.delay == QUICK
        starts = None if agent.starts is None else agent.starts + again
        self._set(name, starts=starts, runs=again, last=last)

    def _set(self, name: str, **changes: object) -> None:
        self.agents[name] = replace(self.agents[name], **changes)  # type: ignore[arg-type]

    # -- what agents do

    def current(self, name: str) -> Mark:
        """The mark of an agent's run; only while it runs."""
        return self.marks.of(name)[-1]

    def running(self) -> list[str]:
        """The agents that must be running."""
        return [name for name, agent in self.agents.items() if agent.runs]

    def end(self, name: str, status: int) -> None:
        """Let an agent that runs end with this status."""
        path = self.marks_folder / f"{name}.fifo"
        self.await_true(lambda: _told(path, f"{status}\n".encode()), f"{name} listens for its end")
        self.disturbed(name, (status, None))

    def say(self, name: str, lines: int) -> None:
        """Let an agent that runs print so many lines more, and wait until it has."""
        run_id = self.current(name).run_id
        path, said = self.marks_folder / f"{name}.fifo", self.marks.said(run_id) + lines
        self.await_true(lambda: _told(path, f"say {lines}\n".encode()), f"{name} listens for what to say")
        self.await_true(lambda: self.marks.said(run_id) == said, f"{name} has said {said} lines")

    def kill(self, name: str) -> None:
        """SIGKILL an agent that runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.current(name).pid, signal.SIGKILL)
        self.disturbed(name, (None, signal.SIGKILL))

    def server(self) -> int:
        """Pid of the tmux server."""
        found: list[int] = []

        def probe() -> bool:
            pid = self.daemon.tmux_pid()
            found[:] = [] if pid is None else [pid]
            return pid is not None

        self.await_true(probe, "the tmux server runs")
        return found[0]

    # -- the judgement

    def await_true(self, probe: Callable[[], object], what: str, bound: float = BOUND) -> None:
        """Wait for a condition.

        Raises
        ------
        BrokenPromiseError
            When time is up.
        """
        until = time.monotonic() + bound
        while not probe():
            if time.monotonic() > until:
                raise BrokenPromiseError(f"not within {bound:g} s: {what}\n{self.explain()}")
            time.sleep(_POLL)

    def converge(self, bound: float = BOUND) -> None:
        """Wait until everything is as declared, and judge everything that must hold then.

        Raises
        ------
        BrokenPromiseError
            If it is not within the bound, or something happened that must never happen.
        """
        began = time.monotonic()
        problems = list(self._amiss())
        while problems:
            if self.marks.overlaps() or time.monotonic() > began + bound:
                raise BrokenPromiseError("\n".join((f"after {bound:g} s:", *problems, self.explain())))
            time.sleep(_POLL)
            problems = list(self._amiss())
        self.slowest = max(self.slowest, time.monotonic() - began)
        if self.marks.overlaps():
            raise BrokenPromiseError("two runs at once: " + "; ".join(self.marks.overlaps()) + self.explain())
        unknown = [name for name, agent in self.agents.items() if agent.starts is None and agent.enabled]
        if unknown:
            # New definitions, of which everything is known again.
            for name in unknown:
                self.change(name)
            self.write()
            self.converge(bound)

    def _amiss(self) -> Iterator[str]:
        """What is not as it must be, cheapest first; the process table and the API only once the marks agree."""
        amiss = False
        for name, agent in self.agents.items():
            for problem in self._amiss_of(agent):
                amiss = True
                yield f"{name}: {problem}"
        for name in self.marks.names():
            if name not in self.agents and any(lives(mark) for mark in self.marks.of(name)):
                amiss = True
                yield f"{name}: removed, and lives"
        if not amiss:
            found = [*self._strays(), *self._untold()]
            yield from found
            if not found:
                for judge in self.judges:
                    yield from judge()

    def _amiss_of(self, agent: Declared) -> Iterator[str]:
        marks = self.marks.of(agent.name)
        starts = [mark for mark in marks if mark.word == "start" and mark.generation == agent.generation]
        if agent.starts is not None and len(starts) > agent.starts:
            raise BrokenPromiseError(
                f"{agent.name}: started {len(starts)} times, expected {agent.starts}\n{self.explain()}"
            )
        if agent.starts is not None and len(starts) < agent.starts:
            yield f"started {len(starts)} times, expected {agent.starts}"
        living = [mark for mark in marks if mark.word == "start" and lives(mark)]
        if agent.runs and [mark for mark in living if mark.generation != agent.generation]:
            yield "a run of a former definition lives"
        if len(living) > 1 or (agent.runs is not None and len(living) != agent.runs):
            yield f"{len(living)} runs live, expected {agent.runs}"

    def _strays(self) -> Iterator[str]:
        last = {marks[-1].run_id for name in self.agents if (marks := self.marks.of(name))}
        for relic in of_runs(str(self.daemon.bin)):
            agent = self.agents.get(relic.agent)
            if self.foreign(relic.agent) or (agent is not None and agent.starts is None):
                continue  # a run that could not start leaves a shell, and no mark
            if relic.run_id not in last:
                yield f"left behind: {relic}"

    def _untold(self) -> Iterator[str]:
        """Where the API, which users see, says something else than the marks."""
        try:
            told = {name: shown for name, shown in self.daemon.agents().items() if not self.foreign(name)}
        except (OSError, AssertionError, ValueError) as error:
            yield f"the API does not answer: {error!r}"
            return
        if told.keys() != self.agents.keys():
            yield f"the API shows {sorted(told)}, declared are {sorted(self.agents)}"
            return
        for name, agent in self.agents.items():
            shown = told[name]
            if agent.runs is None:
                continue
            if shown["running"] != agent.runs or (agent.runs and shown["state"] != "running"):
                yield f"{name}: shown as {shown['state']}"
            elif agent.runs and shown["pid"] != self.current(name).pid:
                yield f"{name}: shown with pid {shown['pid']}, it is {self.current(name).pid}"
            elif agent.starts is not None and shown["restarts"] != agent.starts - 1:
                yield f"{name}: shown with {shown['restarts']} restarts, {agent.starts - 1} there were"
            elif agent.last is not None and (shown["exit_code"], shown["exit_signal"]) != agent.last:
                yield f"{name}: shown to have ended with {shown['exit_code']}, {shown['exit_signal']}, not {agent.last}"

    def explain(self) -> str:
        """What the world looks like, for a failure message."""
        marks = [
            f"{name}: {mark.word} pid {mark.pid} generation {mark.generation} run {mark.run_id} at {mark.uptime} "
            f"{'' if mark.status is None else mark.status}{' (lives)' if lives(mark) else ''}"
            for name in self.marks.names()
            for mark in self.marks.of(name)[-6:]
        ]
        declared = [str(agent) for agent in self.agents.values()]
        return "\n".join(("--- declared", *declared, "--- marks", *marks, self.daemon.explain()))


def _told(path: Path, text: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nobody reads it yet
            return False
        raise
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)
    return True
