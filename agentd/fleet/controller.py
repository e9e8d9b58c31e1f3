"""The Controller: the core with its ledger, answering hosts and agentctl, each call in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from agentd import __version__
from agentd.fleet.capacity import Demand, demand_of
from agentd.fleet.core import Core
from agentd.fleet.definitions import JcardError, Wanted, read_wanted
from agentd.fleet.errors import HostAnswersError, UnknownHostError
from agentd.fleet.leases import LeaseTerms
from agentd.fleet.ledger import Book, HostRecord, Ledger
from agentd.fleet.messages import HostReport, Orders
from agentd.fleet.plans import Plan, Step
from agentd.fleet.protocol import (
    AssignmentView,
    FleetView,
    HostState,
    HostView,
    PlacedView,
    Placement,
    PlanView,
)
from agentd.fleet.rebalancing import rebalance
from agentd.harness.registry import load_harnesses
from agentd.model.placement import Place
from agentd.settings.context import load_context
from agentd.text.timestamps import rfc3339

_PARTS: Final = 1000

_UNWATCHED: Final = (
    "its agentd did not answer when the host was heard last, so its agents may run for ever: make sure that none does, "
    "then agentctl fleet forget it"
)


class Controller:
    """Decides for all hosts.

    Parameters
    ----------
    ledger
        Path of the file.
    lease
        In seconds.
    host, address
        The host that this is on, and where that is now.
    """

    def __init__(self, ledger: Path, lease: float, host: str | None = None, address: str | None = None) -> None:
        self._lock = threading.Lock()
        self._terms = LeaseTerms.of(lease)
        self._host = host
        self._started_at = time.time()
        self._ledger = Ledger(ledger)
        # Paths are resolved by each host for itself: here they only have to be checked.
        self._context = load_context(Path("/fleet.toml"), "", Path("/"), load_harnesses().harnesses, Path("/"))
        book = _at(self._ledger.begin(), host, address)
        wanted, self._warnings = Wanted((), {}), tuple[str, ...]()
        if book.jcard is not None:
            try:
                wanted = self._read(book.jcard, book.path or "")
            except JcardError as error:
                # An older version: stopping everything would be worse than changing nothing.
                raise JcardError(f"the jcard that was applied last is not understood: {error}") from error
        self._core = Core(book, self._ledger.write, wanted, self._terms, time.monotonic())

    def _read(self, text: str, path: str) -> Wanted:
        return read_wanted(text, path, self._context, self._terms)

    # Hosts

    def hear(self, report: HostReport) -> Orders | None:
        """Answer a host."""
        with self._lock:
            return self._core.hear(report, time.monotonic())

    def check_name(self, record: HostRecord, token: str) -> None:
        """Check that a host may have its name, before it takes anything of another's.

        Raises
        ------
        HostTakenError
            If not.
        """
        with self._lock:
            self._core.check_name(record, token, time.monotonic())

    # agentctl

    def plan(self, text: str, path: str) -> PlanView:
        """Say what a jcard would do.

        Raises
        ------
        JcardError
            If it is refused.
        """
        with self._lock:
            wanted = self._read(text, path)
            return _shown(self._core.preview(wanted, time.monotonic()), wanted.warnings, applied=False)

    def apply(self, text: str, path: str) -> PlanView:
        """Take a jcard; raises as `plan`."""
        with self._lock:
            wanted, now = self._read(text, path), time.monotonic()
            plan = self._core.apply(text, path, wanted, time.time(), now)
            return _shown(plan, wanted.warnings, applied=True)

    def drain(self, host: str, *, draining: bool) -> PlanView:
        """Empty a host, or use it again.

        Raises
        ------
        UnknownHostError
            If there is none of that name.
        """
        with self._lock:
            self._check_known(host)
            plan = self._core.drain(host, draining=draining, now=time.monotonic())
            return _shown(plan, (), applied=True)

    def forget(self, host: str) -> PlanView:
        """Take somebody's word that nothing runs on a lost host any more.

        Raises
        ------
        UnknownHostError
            If there is none of that name.
        HostAnswersError
            If it is not lost.
        """
        with self._lock:
            self._check_known(host)
            try:
                plan = self._core.forget(host, time.monotonic())
            except ValueError:
                message = f"{host} answers: drain it, end its agentd-fleet once it is empty, and forget it then"
                raise HostAnswersError(message) from None
            return _shown(plan, (), applied=True)

    def _check_known(self, host: str) -> None:
        if host not in self._core.book.hosts:
            raise UnknownHostError(f"there is no host {host}: agentctl fleet hosts lists them")

    def rebalance(self, *, dry_run: bool) -> PlanView:
        """Even the hosts out, or say what that would move."""
        with self._lock:
            now, core = time.monotonic(), self._core
            current = {run.agent: run.host for run in core.book.runs.values() if not run.leaving}
            plan = rebalance(core.wanted.wishes, core.hosts(now), current)
            moves = {
                each.agent: each.previous
                for each in plan.assignments
                if each.step is Step.MOVE and each.previous is not None
            }
            if not dry_run:
                core.move(moves, now)
            return _shown(plan, (), applied=not dry_run)

    def fleet(self) -> FleetView:
        """Show the fleet as a whole."""
        with self._lock:
            core, now = self._core, time.monotonic()
            book, runs = core.book, core.book.runs
            placed = [wish for wish in core.wanted.wishes if wish.name in runs]
            alive = [name for name in book.hosts if core.alive(name, now)]
            warnings = [
                *core.wanted.warnings,
                *(f"{name} does not answer" for name in sorted(book.hosts.keys() - alive)),
            ]
            return FleetView(
                self._host, __version__, rfc3339(self._started_at), book.revision, book.path,
                None if book.applied_at is None else rfc3339(book.applied_at), self._terms.lease, len(book.hosts),
                len(alive), len(core.wanted.wishes), len(placed), len(core.wanted.wishes) - len(placed), warnings,
            )  # fmt: skip

    def hosts(self) -> list[HostView]:
        """Show all hosts, by name."""
        with self._lock:
            now, wall = time.monotonic(), time.time()
            return [self._host_view(name, now, wall) for name in sorted(self._core.book.hosts)]

    def _host_view(self, name: str, now: float, wall: float) -> HostView:
        core = self._core
        record, heard = core.book.hosts[name], core.last_heard(name)
        places = {wish.name: wish.place for wish in core.wanted.wishes}
        here = [run.agent for run in core.book.runs.values() if run.host == name]
        used = _sum(demand_of(places.get(agent, Place())) for agent in here)
        state = HostState.DRAINING if record.draining else HostState.READY
        if not core.alive(name, now):
            state = HostState.FENCED if core.ended(name, now) else HostState.LOST
        seen = heard is not None and heard.heard
        return HostView(
            name, state, record.slots, record.cpus, record.memory, record.gpus, dict(record.labels),
            used.slots, used.cpus / _PARTS, used.memory, used.gpus / _PARTS, len(here), record.address,
            None if heard is None else heard.version,
            rfc3339(wall - (now - heard.granted)) if heard is not None and seen else None,
            _UNWATCHED if state is HostState.LOST and not record.watched else None if heard is None else heard.note,
        )  # fmt: skip

    def agents(self) -> list[PlacedView]:
        """Show where each agent is, by name."""
        with self._lock:
            core = self._core
            leaving = core.outlook(time.monotonic())
            planned = {each.agent: each for each in core.plan.assignments}
            names = sorted({*core.book.runs, *(wish.name for wish in core.wanted.wishes)})
            wished = {wish.name for wish in core.wanted.wishes}
            views = []
            for name in names:
                run, plan = core.book.runs.get(name), planned.get(name)
                reason = "" if plan is None else plan.reason
                if run is None:
                    views.append(PlacedView(name, Placement.PENDING, None, None, reason))
                elif run.leaving:
                    placement = Placement.MOVING if name in wished else Placement.LEAVING
                    views.append(PlacedView(name, placement, None, run.host, leaving.get(name, "")))
                else:
                    waits = plan is not None and plan.step is Step.WAIT
                    placement = Placement.WAITING if waits else Placement.PLACED
                    views.append(PlacedView(name, placement, run.host, None, reason))
            return views

    def addresses(self) -> Mapping[str, bool]:
        """Name the hosts, and say which of them are heard."""
        with self._lock:
            now = time.monotonic()
            return {name: self._core.alive(name, now) for name in self._core.book.hosts}


def _at(book: Book, host: str | None, address: str | None) -> Book:
    """Know our own host at its present address: nobody could ask to forget it, where it is the only one."""
    if host not in book.hosts or address is None:
        return book
    return replace(book, hosts={**book.hosts, host: replace(book.hosts[host], address=address)})


def _sum(demands: Iterable[Demand]) -> Demand:
    totals = [0, 0, 0, 0]
    for demand in demands:
        totals = [total + part for total, part in zip(totals, demand, strict=True)]
    return Demand(*totals)


def _shown(plan: Plan, warnings: Iterable[str], *, applied: bool) -> PlanView:
    views = [
        AssignmentView(each.agent, each.step.value, each.host, each.previous, each.reason) for each in plan.assignments
    ]
    views += [AssignmentView(agent, "remove", None, host, "") for agent, host in plan.removed]
    return PlanView(sorted(views, key=lambda each: each.agent), [*warnings], applied)
