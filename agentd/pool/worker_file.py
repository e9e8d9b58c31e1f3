"""The drop-in of a worker: what stands in it, by what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from agentd.jcard.edit.drop_ins import drop_in_text
from agentd.jcard.edit.writing import TomlValue
from agentd.model.pool import PoolProvider, WorkerFacts, WorkerIsolation
from agentd.model.spec import AgentType, Isolation, Mode, RestartPolicy
from agentd.text.durations import format_duration

_EFFORT: Final[Mapping[str, tuple[str, ...]]] = {
    "claude-code": ("--effort", "{effort}"),
    "codex": ("-c", "model_reasoning_effort={effort}"),
}
"""Arguments for the reasoning effort, by harness; from `claude --help` and Codex's configuration reference."""

EFFORTS: Final = ("minimal", "low", "medium", "high", "xhigh", "max")

_MAX_TURNS: Final[Mapping[str, tuple[str, ...]]] = {"claude-code": ("--max-turns", "{turns}")}
"""Arguments that bound the steps of a run that ends with its answer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker works."""

    folder: Path
    """Absolute: the folder that was named."""
    root: Path | None
    """Of the git repository that it is in, if there is one."""
    head: str | None
    """Commit that is checked out."""

    @property
    def inside(self) -> str | None:
        """The folder relative to the root; ``None`` for the root itself."""
        return None if self.root is None or self.folder == self.root else str(self.folder.relative_to(self.root))


@dataclass(frozen=True, slots=True)
class Wish:
    """What a worker is to be, checked."""

    name: str
    provider: PoolProvider
    task: str
    place: Place
    facts: WorkerFacts
    reasoning_effort: str | None = None
    max_runtime: float | None = None
    max_turns: int | None = None


def takes_effort(harness: str) -> bool:
    """Whether the reasoning effort of a harness can be chosen."""
    return harness in _EFFORT


def takes_max_turns(harness: str) -> bool:
    """Whether the steps of a run of a harness can be bounded."""
    return harness in _MAX_TURNS


def answers_once(wish: Wish) -> bool:
    """Whether the worker answers its task and exits, and takes no messages.

    What is in a sandbox cannot be watched at its turns, and the steps of a program that stays cannot be bounded.
    """
    sandboxed = wish.facts.isolation in (WorkerIsolation.READ_ONLY, WorkerIsolation.SANDBOXED)
    return sandboxed or wish.max_turns is not None


def worker_text(wish: Wish) -> str:
    """Write the drop-in."""
    facts: dict[str, TomlValue] = {}
    for name, value in asdict(wish.facts).items():
        if value not in (None, ()):
            facts[name] = [*value] if isinstance(value, tuple) else str(value)
    return drop_in_text(
        "Written by agentd's pool; agentctl terminate removes it.", {"worker": facts, "agent": _agent(wish)}
    )


def _agent(wish: Wish) -> Mapping[str, TomlValue]:
    provider = wish.provider
    table: dict[str, TomlValue] = {
        "name": wish.name,
        "harness": provider.harness,
        "mode": (Mode.ONESHOT if answers_once(wish) else Mode.INTERACTIVE).value,
        "restart": RestartPolicy.NO.value,
        **_place(wish),
        "prompt": wish.task,
    }
    if provider.command:
        table["command"] = [*provider.command]
    if args := _arguments(wish):
        table["args"] = [*args]
    if provider.model is not None:
        table["model"] = provider.model
    if provider.env:
        table["env"] = dict(provider.env)
    if provider.secrets is not None:
        table["secrets"] = [*provider.secrets]
    if wish.max_runtime is not None:
        table["timeout"] = format_duration(wish.max_runtime)
    return table


def _place(wish: Wish) -> Mapping[str, TomlValue]:
    place, isolation = wish.place, wish.facts.isolation
    if isolation is WorkerIsolation.NONE:
        return {"workdir": str(place.folder)}
    assert place.root is not None
    inside: Mapping[str, TomlValue] = {} if place.inside is None else {"workdir": place.inside}
    kind = Isolation.READ_ONLY if isolation is WorkerIsolation.READ_ONLY else Isolation.WORKTREE
    base: Mapping[str, TomlValue] = {} if place.head is None else {"base": place.head}
    boxed: Mapping[str, TomlValue] = (
        {} if isolation is WorkerIsolation.WORKTREE else {"type": AgentType.SANDBOXED.value}
    )
    return {"repo": str(place.root), "isolation": kind.value, **inside, **base, **boxed}


def _arguments(wish: Wish) -> tuple[str, ...]:
    harness, args = wish.provider.harness, wish.provider.args
    if wish.reasoning_effort is not None:
        args += tuple(each.replace("{effort}", wish.reasoning_effort) for each in _EFFORT[harness])
    if wish.max_turns is not None:
        args += tuple(each.replace("{turns}", str(wish.max_turns)) for each in _MAX_TURNS[harness])
    return args
