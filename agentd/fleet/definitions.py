"""What each agent of a fleet's jcard is, as the drop-in that its host gets. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from agentd.fleet.leases import LeaseTerms
from agentd.fleet.plans import Wish
from agentd.fleet.wishes import wishes_of
from agentd.jcard.document import parse_document
from agentd.jcard.edit.drop_ins import drop_in_text
from agentd.jcard.edit.writing import TomlValue
from agentd.jcard.load import load_jcard
from agentd.jcard.positions import Path
from agentd.jcard.problems import Problem, Severity
from agentd.model.placement import OnHostLoss
from agentd.model.spec import AgentSpec, LoadContext
from agentd.text.durations import format_duration

_OF_THE_TABLE: Final = ("place", "replicas")
"""What a host need not know: the rest of a table is handed on as it is."""


@dataclass(frozen=True, slots=True)
class Definition:
    """An agent, as a host gets it."""

    name: str
    text: str
    """Of its drop-in."""
    digest: str
    leased: bool
    """Whether it ends on a host that is cut off. One that waits for its host does not: it runs nowhere else."""
    grace: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a jcard asks for."""

    wishes: tuple[Wish, ...] = ()
    definitions: Mapping[str, Definition] | None = None
    warnings: tuple[str, ...] = ()


class JcardError(Exception):
    """A jcard is refused; the text has a line for each problem."""


def read_wanted(text: str, path: str, context: LoadContext, terms: LeaseTerms) -> Wanted:
    """Read a jcard for a fleet.

    Parameters
    ----------
    path
        What messages call it.
    context
        Of the Controller's host: paths that are relative here are resolved by each host for itself.

    Raises
    ------
    JcardError
        If anything in it is wrong.
    """
    result = load_jcard(text.encode(), path, context)
    errors = [str(problem) for problem in result.problems if problem.severity is Severity.ERROR]
    # A host that got such an agent without its trigger would start it at once.
    errors += [
        f"{path}: the agent {spec.name} has triggers, which a fleet does not hand on; declare both on a host"
        for spec in result.agents
        if spec.triggers
    ]
    if errors:
        raise JcardError("\n".join(errors))
    document = parse_document(text.encode(), path)
    assert not isinstance(document, Problem), "it was loaded"
    definitions = {}
    for spec in result.agents:
        if spec.enabled:
            raw = _table(document.values, result.tables[spec.name])
            definitions[spec.name] = _definition(spec, raw, terms)
    others = sorted(document.values.keys() - {"agent", "agents"})
    warnings = [str(problem) for problem in result.problems]
    if others:
        warnings.append(f"{path}: a fleet's jcard declares agents alone; say in each host's own: {', '.join(others)}")
    return Wanted(wishes_of(result.agents, result.tables), definitions, tuple(warnings))


def _table(values: Mapping[str, object], path: Path) -> Mapping[str, object]:
    found: object = values
    for part in path:
        match found:
            case dict():
                found = found[part]
            case list() if isinstance(part, int):
                found = found[part]
            case _:
                break
    assert isinstance(found, dict), f"{path} is the path of a table"
    return found


def _definition(spec: AgentSpec, raw: Mapping[str, object], terms: LeaseTerms) -> Definition:
    table = {field: value for field, value in raw.items() if field not in _OF_THE_TABLE and value != ""}
    table["name"] = spec.name
    if "session" in table:
        table["session"] = spec.session
    if "branch" in table and spec.checkout is not None and spec.checkout.branch is not None:
        table["branch"] = spec.checkout.branch
    leased = spec.place.on_host_loss is OnHostLoss.RESCHEDULE
    head: dict[str, dict[str, TomlValue]] = {"drop_in": {"lease": format_duration(terms.lease)}} if leased else {}
    # What TOML has beside these, times and dates, no field of an agent takes.
    written = drop_in_text("Written by agentd-fleet.", {**head, "agent": cast("Mapping[str, TomlValue]", table)})
    digest = hashlib.sha256(written.encode()).hexdigest()[:16]
    return Definition(spec.name, written, digest, leased, spec.policy.grace_period)
