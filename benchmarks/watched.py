"""What it costs to know what 300 quiet agents are doing, and how soon a hook is seen.

``python -m benchmarks.watched [--agents N] [--seconds N] [--hooks N]``. The agents stand in for Claude Code: each
writes its status file and sleeps. Two agentd have as many of them, at the same time: one watches them, the other has
``turns = false``, which is the reference. One agent more, a scripted one, posts what hooks say: from then on until a
tight poll of the API shows the activity, beside one look at the API. Then it runs whole hooks, beside what the process
of each takes: that is the machine's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import cpu_seconds, fork_marks, load, resident_megabytes, working_folder
from benchmarks.subject import PATIENCE, SubjectError, get
from tests.daemon.test_turns import CLAUDE, SESSION, Claude, socket_of
from tests.support.agents import jcard
from tests.support.daemon import Daemon, UnixConnection

_QUIET = f"""#!/bin/sh
[ -z "$SCRIPTED" ] || exec {sys.executable} -I -S -X utf8 {CLAUDE} "$@"
read -r line </proc/$$/stat
set -- ${{line##*) }}
shift 19
printf '{{"pid": %d, "procStart": "%s", "version": "2.1.197", "status": "idle", "statusUpdatedAt": %d000}}' \\
    $$ "$1" "$(date +%s)" >"$HOME/.claude/sessions/$$.json"
exec sleep infinity
"""

_MS = 1000.0


class Watched:
    """An agentd with so many quiet agents."""

    def __init__(self, folder: Path, count: int, *, turns: bool) -> None:
        folder.mkdir()
        self.daemon = daemon = Daemon(folder)
        (daemon.home / ".claude/sessions").mkdir(parents=True)
        program = daemon.bin / "claude"
        program.write_text(_QUIET)
        program.chmod(0o755)
        common = {"turns": turns, "grace_period": "2s"}
        home = {"HOME": str(daemon.home)}
        self.talker = Claude(daemon, "talker", env={**home, "SCRIPTED": "1"}, **common)
        quiet = {"name": "quiet", "harness": "claude-code", "workdir": str(daemon.workdir), "env": home, **common}
        daemon.write_jcard(jcard({**quiet, "replicas": count}, self.talker.table))
        self._count = count

    def start(self) -> None:
        """Start it, and wait until all agents run and are at rest."""
        user = pwd.getpwuid(os.geteuid()).pw_name
        self.daemon.start(f"--agent-user={user}", "--transcripts=off", ready=False)
        self.daemon.wait_for(self.daemon.api_socket.exists, PATIENCE, what="agentd listens")
        self.daemon.wait_for(self._idle, PATIENCE, what="all agents run and are idle")

    def _idle(self) -> bool:
        agents = self.daemon.agents().values()
        told = [agent for agent in agents if agent["activity"] in ("idle", "unknown")]
        return len(told) == self._count + 1 and all(agent["state"] == "running" for agent in told)

    def told(self) -> int:
        """How many agents are known to be idle."""
        return sum(agent["activity"] == "idle" for agent in self.daemon.agents().values())

    def memory(self) -> float:
        """Megabytes of the daemon, once the API has shown all agents."""
        self.daemon.agents()
        return resident_megabytes(self.daemon.pid)

    def hook(self, number: int) -> tuple[float, float]:
        """Run a hook; milliseconds until the API shows it, and those that its own process takes."""
        name, activity, body = _said(number)
        begun = time.monotonic()
        seen, seconds, _ = self._until_shown(activity, lambda: self.talker.hook(name, **body))
        return _MS * (seen - begun), _MS * seconds

    def event(self, number: int) -> tuple[float, float]:
        """Have a hook's event posted; milliseconds from then until the API shows it, and those of one look at that."""
        name, activity, body = _said(number)
        said = {"session_id": SESSION, "hook_event_name": name, **body}
        socket = str(socket_of(self.daemon))
        seen, posted, look = self._until_shown(activity, lambda: self.talker.do(post=name, body=said, socket=socket))
        return _MS * (seen - posted), _MS * look

    def _until_shown(self, activity: str, order: Callable[[], None]) -> tuple[float, float, float]:
        """Give when the API showed it, what the talker noted of it, and the seconds of the last look."""
        before = len(self.talker.printed())
        wanted = f'"activity":"{activity}"'.encode()
        connection = UnixConnection(self.daemon.api_socket, timeout=PATIENCE)
        with contextlib.closing(connection):
            order()
            end = time.monotonic() + PATIENCE
            while True:
                asked = time.monotonic()
                shown = wanted in get(connection, "/v1/agents/talker")
                seen = time.monotonic()
                if shown:
                    break
                if seen > end:
                    raise SubjectError(f"the API does not show that the talker is {activity}")
        self.daemon.wait_for(lambda: len(self.talker.printed()) > before, PATIENCE, what="the talker has noted it")
        return seen, self.talker.printed()[-1][2], seen - asked


def _said(number: int) -> tuple[str, str, Mapping[str, str]]:
    """A hook, the activity that it tells of, and what it says: of the beginning of a turn and its end by turns."""
    if number % 2 == 0:
        return "UserPromptSubmit", "working", {"prompt_id": f"p{number}", "prompt": "go"}
    return "Stop", "idle", {"prompt_id": f"p{number - 1}", "last_assistant_message": "done"}


@contextlib.contextmanager
def running(count: int) -> Iterator[tuple[Watched, Watched]]:
    """The watched ones and the reference, which leave nothing when this ends."""
    folder = working_folder()
    with contextlib.ExitStack() as stack:
        both: list[Watched] = []
        for name in ("w", "r"):
            one = Watched(folder / name, count, turns=name == "w")
            stack.callback(one.daemon.close)
            one.start()
            both.append(one)
        yield both[0], both[1]
    with contextlib.suppress(OSError):
        folder.rmdir()


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured, watched and not."""

    cpu: tuple[float, float]
    """Per cent of a core."""
    memory: tuple[float, float]
    """Megabytes."""
    forked: int
    """How many of both agentd had a child while nothing happened."""
    events: list[tuple[float, float]]
    """Milliseconds of each event of a hook until the API showed it, and of one look at the API."""
    hooks: list[tuple[float, float]]
    """Milliseconds of each whole hook until the API showed it, and of its own process."""


def measure(arguments: argparse.Namespace) -> Figures:
    """Measure, and give all figures."""
    with running(arguments.agents) as both:
        told = [each.told() for each in both]
        if told[0] < arguments.agents:
            raise SubjectError(f"expected {arguments.agents} agents to be known to be idle, found {told[0]}")
        memory = [each.memory() for each in both]
        pids = [each.daemon.pid for each in both]
        time.sleep(2)
        used, marks, begun = [cpu_seconds(pid) for pid in pids], fork_marks(pids), time.perf_counter()
        time.sleep(arguments.seconds)
        seconds = time.perf_counter() - begun
        cpu = [100 * (cpu_seconds(pid) - before) / seconds for pid, before in zip(pids, used, strict=True)]
        after = fork_marks(pids)
        events, hooks = list[tuple[float, float]](), list[tuple[float, float]]()
        for number in range(4 * arguments.hooks):
            # Not in step with agentd's own pace.
            time.sleep(random.uniform(0.05, 0.15))
            if number < 2 * arguments.hooks:
                events.append(both[0].event(number))
            else:
                hooks.append(both[0].hook(number))
    forked = sum(marks[pid] != after[pid] for pid in pids)
    return Figures((cpu[0], cpu[1]), (memory[0], memory[1]), forked, events, hooks)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _verdict(value: float, limit: float) -> str:
    return "met" if value < limit else "MISSED"


def table(figures: Figures, agents: int) -> str:
    """Write the Markdown table."""
    lines = [_row(f"{agents} quiet agents", "watched", "reference", "more", "target", "verdict"), _row(*["---"] * 6)]
    for what, (watched, reference), most in (
        ("CPU of agentd while nothing happens [% of a core]", figures.cpu, 1.0),
        ("RSS of agentd [MB]", figures.memory, 10.0),
    ):
        more = watched - reference
        cells = (f"{watched:.2f}", f"{reference:.2f}", f"{more:.2f}", f"{most:g} more")
        lines.append(_row(what, *cells, _verdict(more, most)))
    for what, pairs, beside, limit in (
        ("an event of a hook, until the API shows it [ms]", figures.events, "a look at the API", 50.0),
        ("a whole hook, until the API shows it [ms]", figures.hooks, "its own process", None),
    ):
        sides = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        shown, own = (f"{median(each):.1f} (worst {max(each):.1f})" for each in sides)
        later = f"{median(sides[0]) - median(sides[1]):.1f}"
        verdict = ("", "") if limit is None else (f"{limit:g}", _verdict(median(sides[0]), limit))
        lines.append(_row(what, shown, f"{own}: {beside}", later, *verdict))
    return "\n".join(lines)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60, help="of idleness")
    parser.add_argument("--hooks", type=int, default=30, help="turns, of two hooks each, and as many of two events")
    arguments = parser.parse_args()
    before = load()
    figures = measure(arguments)
    print(f"load average before: {before}, after: {load()}; processes that forked: {figures.forked}\n")
    print(table(figures, arguments.agents))
    return 0


if __name__ == "__main__":
    sys.exit(main())
