"""The jcard and its drop-ins taken together: which agents they declare, and what is wrong with each file. Pure.

Each file is taken as a whole by itself. With an error in one, its last good content stays in force, and no other file
is affected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from agentd.jcard.budget_check import TABLE
from agentd.jcard.budget_inheritance import inherit, not_held
from agentd.jcard.order import circle_of, in_words
from agentd.jcard.positions import Position, locate
from agentd.jcard.problems import Checked, LoadResult, Problem, Severity
from agentd.model.spec import AgentSpec, LoadContext
from agentd.text.durations import format_duration
from agentd.text.quoting import printable, quote


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that declares agents, as it was found."""

    path: Path
    owner: str | None
    """As `AgentSpec.owner`."""
    loaded: LoadResult | None
    """What is in it; ``None`` where it cannot be read."""
    unavailable: str | None = None
    """Why it cannot be read."""
    good: LoadResult | None = None
    """Its last content that was taken."""
    expired: bool = False
    """Whether its lease is over, so that it counts as removed."""


@dataclass(frozen=True, slots=True)
class TakenFile(Checked):
    """What becomes of one file."""

    path: Path
    owner: str | None
    problems: tuple[Problem, ...]
    in_force: LoadResult | None
    """The content that counts, the last good one if there are errors; ``None`` if there never was any."""
    agents: tuple[AgentSpec, ...]
    """What it declares: those in force, without any whose name, session or branch an earlier file has taken."""
    expired: bool

    @property
    def known(self) -> bool:
        """Whether it is known what the file declares: not, if it was never good."""
        return self.in_force is not None


def drop_in_context(context: LoadContext, path: Path, owner: str | None) -> LoadContext:
    """Give the context of a drop-in: its relative paths start at its own folder."""
    return replace(context, folder=path.parent, owner=owner, drop_in=True)


def merge(files: Iterable[SourceFile]) -> tuple[TakenFile, ...]:
    """Take files together, in the order in which they are given: the jcard, then the drop-ins by path.

    A name, session or branch that an earlier file has taken is an error of the later one, and so is a circle of agents
    that would wait for each other.
    """
    files = tuple(files)
    contents = [content for file in files for content in (file.loaded, file.good) if content is not None]
    # Which file is to blame is looked for only then: 1000 files would each look at all agents.
    claims = _Claims(circular=bool(circle_of(spec for content in contents for spec in content.agents)))
    return _with_budgets(tuple(claims.take(file) for file in files))


def _with_budgets(files: tuple[TakenFile, ...]) -> tuple[TakenFile, ...]:
    """Give agents what they inherit of budgets."""
    specs = [spec for file in files for spec in file.agents]
    common = next((each.budget for file in files if (each := file.in_force) is not None and each.budget), None)
    found = inherit(specs, common)
    unheld = not_held(common, specs)
    return tuple(_with_budget(file, found, unheld) for file in files) if found or unheld else files


def _with_budget(file: TakenFile, found: Mapping[str, AgentSpec], unheld: str | None) -> TakenFile:
    problems, content = file.problems, file.in_force
    if unheld is not None and content is not None and content.budget is not None:
        line, column = locate(content.text, (TABLE,))
        problems = (*problems, Problem(Severity.WARNING, str(file.path), unheld, line, column, None, TABLE))
    if problems is file.problems and found.keys().isdisjoint(spec.name for spec in file.agents):
        return file
    return replace(file, problems=problems, agents=tuple(found.get(spec.name, spec) for spec in file.agents))


class _Claim(NamedTuple):
    """What only one agent can have."""

    kind: str
    key: str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Holder:
    spec: AgentSpec
    path: Path
    content: LoadResult

    def place(self, field: str) -> Position:
        return locate(self.content.text, (*self.content.tables.get(self.spec.name, ()), field))

    def where(self, field: str) -> str:
        line, column = self.place(field)
        return f"{printable(str(self.path))}:{line}:{column}"


class _Claims:
    """What the files so far have taken."""

    def __init__(self, *, circular: bool) -> None:
        self._holders: dict[_Claim, _Holder] = {}
        self._circular = circular

    def take(self, file: SourceFile) -> TakenFile:
        problems = list(() if file.loaded is None else file.loaded.problems)
        if file.loaded is None:
            problems.append(Problem(Severity.ERROR, str(file.path), file.unavailable or "cannot be read"))
        usable = file.loaded is not None and not file.loaded.errors
        if file.expired:
            problems.append(_expired(file))
            return TakenFile(file.path, file.owner, tuple(problems), file.good, (), expired=True)
        if file.loaded is not None and usable:
            clashes = [*self._clashes(file.path, file.loaded), *self._circles(file.path, file.loaded)]
            problems += clashes
            usable = not clashes
        in_force = file.loaded if usable else file.good
        agents: tuple[AgentSpec, ...] = ()
        if in_force is not None:
            # Without any whose name, session or branch is taken.
            agents = tuple(spec for spec in in_force.agents if usable or self._holders.keys().isdisjoint(_claims(spec)))
            for spec in agents:
                holder = _Holder(spec, file.path, in_force)
                self._holders.update((claim, holder) for claim in _claims(spec))
        return TakenFile(file.path, file.owner, tuple(problems), in_force, agents, expired=False)

    def _clashes(self, path: Path, content: LoadResult) -> Iterator[Problem]:
        """Find what is taken already; one error a table is enough."""
        reported = set()
        for spec in content.agents:
            taken = next((claim for claim in _claims(spec) if claim in self._holders), None)
            table = content.tables.get(spec.name, ())
            if taken is not None and table not in reported:
                reported.add(table)
                yield _clash(_Holder(spec, path, content), self._holders[taken], taken)

    def _circles(self, path: Path, content: LoadResult) -> Iterator[Problem]:
        """Find agents that would wait for those of the files before, which wait for them."""
        if not self._circular:
            return
        before = [holder.spec for claim, holder in self._holders.items() if claim.kind == "name"]
        circle = circle_of((*before, *content.agents))
        spec = next((spec for spec in content.agents if spec.name in circle), None)
        if spec is not None:
            line, column = _Holder(spec, path, content).place("after")
            yield Problem(Severity.ERROR, str(path), in_words(circle), line, column, spec.name, "after")


def _claims(spec: AgentSpec) -> Iterator[_Claim]:
    yield _Claim("name", spec.name.casefold())
    yield _Claim("session", spec.session)
    if spec.checkout is not None and spec.checkout.branch is not None:
        yield _Claim("branch", (str(spec.checkout.repo), spec.checkout.branch))


def _clash(later: _Holder, earlier: _Holder, claim: _Claim) -> Problem:
    spec, other = later.spec, earlier.spec
    field = "name" if claim.kind == "session" and spec.session == spec.name else claim.kind
    its_field = "name" if claim.kind == "session" and other.session == other.name else claim.kind
    by = f"agent {quote(other.name)} at {earlier.where(its_field)}"
    if claim.kind == "name":
        message = f"found {quote(spec.name)}, which is already taken by {by}"
        if spec.name != other.name:
            message += ": names must differ in more than case"
    elif claim.kind == "session":
        message = f"found {quote(spec.session)}, which is already the session of {by}; each agent needs its own"
    else:
        assert spec.checkout is not None
        message = (
            f"found {quote(str(spec.checkout.branch))}, which is already the branch of {by}, in the same repository; "
            "each worktree needs its own"
        )
    line, column = later.place(field)
    return Problem(Severity.ERROR, str(later.path), message, line, column, spec.name, claim.kind)


def _expired(file: SourceFile) -> Problem:
    known = file.good or file.loaded
    lease = None if known is None else known.lease
    span = "" if lease is None else f" of {format_duration(lease)}"
    message = f"its lease{span} is over, so it counts as removed; touch it to bring it back"
    if known is not None and known.boot is not None:
        message = (
            f"its lease{span} is over, or it is of another boot: it counts as removed; write it anew to bring it back"
        )
    return Problem(Severity.WARNING, str(file.path), message)
