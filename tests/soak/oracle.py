"""What really runs, told by the process table, by marker files and by tmux, without asking agentd."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.soak.population import SENTINEL, Declared

_NAME, _RUN = b"AGENTD_AGENT=", b"AGENTD_RUN_ID="


@dataclass(frozen=True, slots=True)
class Seen:
    """The runs of all agents at one moment: pids by run, by agent."""

    runs: Mapping[str, Mapping[str, frozenset[int]]]


def look(mark: str) -> Seen:
    """Read the environment of every process of this soak, which has ``mark`` on its PATH.

    Launchers are left out, the children of the tmux server: one whose agent has ended is a shell for inspection, which
    is no run, and from which the next run's launcher takes the terminal.
    """
    found: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            environment = Path(f"/proc/{entry.name}/environ").read_bytes()
            state, parent = Path(f"/proc/{entry.name}/stat").read_bytes().rpartition(b") ")[2].split()[:2]
            if mark.encode() not in environment or state in (b"Z", b"X"):
                continue
            if Path(f"/proc/{int(parent)}/comm").read_bytes().startswith(b"tmux"):
                continue
        except OSError:
            continue
        values = environment.split(b"\0")
        name = next((value.removeprefix(_NAME) for value in values if value.startswith(_NAME)), None)
        run = next((value.removeprefix(_RUN) for value in values if value.startswith(_RUN)), None)
        if name is not None and run is not None:
            found[name.decode()][run.decode()].add(int(entry.name))
    return Seen({name: {run: frozenset(pids) for run, pids in runs.items()} for name, runs in found.items()})


class Mark(NamedTuple):
    """What an agent notes as its first act."""

    pid: int
    run: str
    version: int
    """-1 where it was given none: half a jcard stood for long enough to take effect."""


def marks(folder: Path, name: str) -> list[Mark]:
    """Each time that an agent began, as it noted itself."""
    path = folder / name
    text = path.read_text() if path.exists() else ""
    # A line that crosses a page may be seen before it is whole.
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [Mark(int(pid), run, int(version or -1)) for pid, run, version in (line.split(" ") for line in lines)]


def complaints(seen: Seen, declared: Mapping[str, Declared], sessions: Sequence[str], folder: Path) -> list[str]:
    """Say what is not as declared; nothing, once all is."""
    found = [
        f"{name} is not declared and runs as {dict(runs)}" for name, runs in seen.runs.items() if name not in declared
    ]
    wanted = {agent.name for agent in declared.values() if agent.enabled}
    found += [f"session {name} is missing" for name in sorted(wanted - set(sessions))]
    found += [f"session {name} is too much" for name in sorted(set(sessions) - wanted - {"_agentd"})]
    for agent in declared.values():
        runs = seen.runs.get(agent.name, {})
        if not agent.enabled:
            if runs:
                found.append(f"{agent.name} is disabled and runs as {dict(runs)}")
        elif len(runs) > 1:
            found.append(f"{agent.name} runs more than once: {dict(runs)}")
        elif agent.kind.stays:
            noted = marks(folder, agent.name)
            if not runs:
                found.append(f"{agent.name} does not run")
            elif not noted or noted[-1].pid not in runs.get(noted[-1].run, ()):
                found.append(f"{agent.name} noted {noted[-1:]} last, and {dict(runs)} runs")
            elif noted[-1].version != agent.version:
                found.append(f"{agent.name} runs as declared before: {noted[-1]}, not version {agent.version}")
    return found


def twice(seen: Seen, again: Callable[[], Seen]) -> list[str]:
    """Say which agents have two runs at once: at no moment may there be one.

    Reading the process table takes a moment, in which one run may end and the next begin: so there is a second look.
    """
    if all(len(runs) < 2 for runs in seen.runs.values()):
        return []
    later = again().runs
    both = {name: runs.keys() & later.get(name, {}).keys() for name, runs in seen.runs.items()}
    return [f"{name}: {dict(seen.runs[name])}" for name, runs in both.items() if len(runs) > 1]


def restarted_sentinels(declared: Mapping[str, Declared], folder: Path) -> list[str]:
    """Say which of the agents that nothing ever touched did not run exactly once."""
    counts = {agent.name: len(marks(folder, agent.name)) for agent in declared.values() if agent.kind is SENTINEL}
    return [f"{name} was started {count} times" for name, count in counts.items() if count != 1]
