"""Agent tables as written: their fields, and the names of their replicas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from agentd.jcard.explain import Fault, faults, field_name
from agentd.jcard.findings import Findings
from agentd.jcard.near import meant_as_agents, meant_as_further, meant_as_part, outside_a_table
from agentd.jcard.positions import Path
from agentd.jcard.table import MOST_REPLICAS, UNSET_WHEN_EMPTY, AgentTable, meaningful
from agentd.text.quoting import kind, quote


class Identity(NamedTuple):
    """The names of one replica."""

    name: str
    session: str
    suffix: str
    """Its number with a dash, such as ``-2``; empty if it is the only one."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One ``[agent]`` or ``[[agents]]`` table."""

    path: Path
    """``("agent",)`` or ``("agents", 2)``."""
    raw: Mapping[str, object]
    """The TOML values, so that a table with faults can still be checked against others."""
    table: AgentTable | None
    """The parsed table; ``None`` if anything in it is wrong."""
    faults: tuple[Fault, ...]
    name: str | None
    """As written, or derived from the harness; ``None`` if neither is usable."""
    stem: str | None
    """What the names of its replicas begin with."""
    first: int
    """The number of the first replica."""
    label: str
    """The agent in messages: its name, or the position of its table; short, without control characters."""

    def written(self, field: str) -> object:
        """Give the value written for a field; ``None`` if it is missing or faulty."""
        return None if field in self._faulty else self.raw.get(field)

    def identities(self) -> Iterator[Identity]:
        """Name the replicas and their sessions; none if the table's name is not usable."""
        if self.name is None:
            return
        session = self.written("session")
        if (number := _replicas(self.written("replicas"))) == 1:
            yield Identity(self.name, session if isinstance(session, str) else self.name, "")
            return
        for index in range(self.first, self.first + number):
            suffix = f"-{index}"
            yield Identity(
                f"{self.stem}{suffix}", f"{session if isinstance(session, str) else self.stem}{suffix}", suffix
            )

    def error(self, findings: Findings, message: str, *path: str | int, field: str | None = None) -> None:
        """Report an error at a path in the table; `field` is the field to name, if not that of the path."""
        findings.error((*self.path, *path), message, agent=self.label, field=field or field_name(path))

    def warning(self, findings: Findings, message: str, *path: str | int) -> None:
        """Report a warning at a path in the table."""
        findings.warning((*self.path, *path), message, agent=self.label, field=field_name(path))

    @property
    def _faulty(self) -> set[str | int]:
        return {fault.path[0] for fault in self.faults}


def read_declarations(document: Mapping[str, object], findings: Findings) -> list[Declaration]:
    """Find and parse all agent tables, ``[agent]`` first; only the shape is checked."""
    tables = list(_tables(document, findings))
    _warn_of_near_misses(document, findings)
    unnamed: Counter[str] = Counter()
    for _, raw in tables:
        if (harness := _unnamed_harness(raw)) is not None:
            unnamed[harness] += _numbers_taken(raw)
    seen: Counter[str] = Counter()
    declarations = []
    for path, raw in tables:
        harness = _unnamed_harness(raw)
        default = _Default(harness, harness, 0)
        if harness is not None and unnamed[harness] > _numbers_taken(raw):
            default = _Default(f"{harness}-{seen[harness]}", harness, seen[harness])
            seen[harness] += _numbers_taken(raw)
        declarations.append(_declaration(path, raw, default))
    return declarations


class _Default(NamedTuple):
    """The name of an unnamed agent: alone, and with replicas."""

    name: str | None
    stem: str | None
    first: int


def _warn_of_near_misses(document: Mapping[str, object], findings: Findings) -> None:
    for key, value in document.items():
        meant = meant_as_agents(key, value)
        if meant is not None:
            findings.warning((key,), f"{quote(key)} declares no agents; did you mean {meant}?")
        elif outside_a_table(key, value):
            findings.warning(
                (key,), f"{quote(key)} stands in no agent's table; write [[agents]] above the agent's fields"
            )
        elif (meant := meant_as_further(key, value)) is not None or (meant := meant_as_part(key, value)) is not None:
            findings.warning((key,), f"{quote(key)} is not read; did you mean {meant}?")


def _numbers_taken(raw: Mapping[str, object]) -> int:
    """Count the names that an unnamed table takes; one with no replicas still takes one."""
    return max(1, _replicas(raw.get("replicas")))


def _replicas(written: object) -> int:
    """Give the number of replicas; one if the field is missing or wrong."""
    usable = isinstance(written, int) and not isinstance(written, bool) and 0 <= written <= MOST_REPLICAS
    return written if usable and isinstance(written, int) else 1


def _tables(document: Mapping[str, object], findings: Findings) -> Iterator[tuple[Path, Mapping[str, object]]]:
    match document.get("agent"):
        case None:
            pass
        case dict(single):
            yield ("agent",), _without_unset(single)
        case list():
            findings.error(("agent",), "found an array of tables: write [agent] for one agent, [[agents]] for several")
        case other:
            findings.error(("agent",), f"found {kind(other)}, expected a table: write [agent] and its fields below it")
    match document.get("agents"):
        case None:
            pass
        case dict():
            findings.error(
                ("agents",),
                "found a table: write [[agents]] (with two brackets) above the fields of each agent, "
                "or [agent] if there is only one",
            )
        case list(several):
            for index, item in enumerate(several):
                if isinstance(item, dict):
                    yield ("agents", index), _without_unset(item)
                else:
                    findings.error(
                        ("agents", index),
                        f"found {kind(item)}, expected a table: write [[agents]] and its fields below it",
                    )
        case other:
            findings.error(
                ("agents",), f"found {kind(other)}, expected tables: write [[agents]] above the fields of each agent"
            )


def _without_unset(raw: Mapping[str, object]) -> Mapping[str, object]:
    """Drop fields that generated jcards write as ``""`` for "not set", as the Go agentd does."""
    return {field: value for field, value in raw.items() if not (value == "" and field in UNSET_WHEN_EMPTY)}


def _unnamed_harness(raw: Mapping[str, object]) -> str | None:
    harness = raw.get("harness")
    return harness if "name" not in raw and isinstance(harness, str) and harness else None


def _declaration(path: Path, raw: Mapping[str, object], default: _Default) -> Declaration:
    table: AgentTable | None = None
    found: tuple[Fault, ...] = ()
    try:
        table = AgentTable.model_validate(meaningful(raw))
    except ValidationError as error:
        found = tuple(faults(error))
    written = raw.get("name")
    name, stem, first = default
    if isinstance(written, str):
        name = stem = None if any(fault.path[0] == "name" for fault in found) else written
    label = name or (written if isinstance(written, str) and written else _place(path))
    return Declaration(path, raw, table, found, name, stem, first, quote(label)[1:-1])


def _place(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else part for part in path)
