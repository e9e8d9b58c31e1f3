"""What the Controller decides: where agents are, what each host is told, and when what ran on a lost one has ended.

Pure: time is an argument, and every change of the `Book` is handed to `write` before anything of it is said to a host.
One rule keeps an agent from running twice: it has one `Run` at most. That names the only host that is told to have it,
and ends only once that host says that it is gone, or was cut off for so long that its lease has ended it, which takes
an agentd, or once somebody says that the host is no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agentd.fleet.definitions import Definition, Wanted
from agentd.fleet.errors import HostTakenError
from agentd.fleet.leases import LeaseTerms
from agentd.fleet.ledger import Book, HostRecord, Run
from agentd.fleet.messages import HostReport, Orders, are_of_two
from agentd.fleet.outlook import outlook
from agentd.fleet.placement import place
from agentd.fleet.plans import Assignment, Host, Leaving, Plan, Step
from agentd.model.placement import Place

_NONE: Final[Mapping[str, Definition]] = {}


@dataclass(slots=True)
class Heard:
    """When and from whom a host was heard last."""

    granted: float
    """When it was answered last, or when this Controller started: a former one may have answered until then."""
    heard: bool = False
    """By this Controller."""
    token: str = ""
    number: int = -1
    version: str | None = None
    note: str | None = None


class Core:
    """The fleet, as the Controller knows it.

    Parameters
    ----------
    book
        As the ledger has it.
    write
        Makes a change of it lasting; it is not done if that raises.
    wanted
        What the jcard in the book asks for.
    now
        By the monotonic clock, in seconds, as everywhere here.
    """

    def __init__(
        self, book: Book, write: Callable[[Book, Book], None], wanted: Wanted, terms: LeaseTerms, now: float
    ) -> None:
        self._book = book
        self._write = write
        self.wanted = wanted
        self.terms = terms
        self._started = now
        self._heard = {name: Heard(now) for name in book.hosts}
        self.plan = Plan(())
        self._decided: tuple[object, ...] = ()
        self._outlook: tuple[tuple[object, ...], Mapping[str, str]] = ((), {})
        self._decide(now)

    @property
    def book(self) -> Book:
        """All that is written down."""
        return self._book

    def last_heard(self, host: str) -> Heard | None:
        """What is known of a host beside its record."""
        return self._heard.get(host)

    # What happens

    def check_name(self, host: HostRecord, token: str, now: float) -> None:
        """Check that a host may have its name: of two that had the same, one would be given what runs on the other.

        Raises
        ------
        HostTakenError
            If another one has it, and may run something.
        """
        known, heard = self._book.hosts.get(host.name), self._heard.get(host.name)
        if known is None or heard is None or self._is_empty(host.name, now):
            return
        if known.address not in (None, host.address) or are_of_two(heard.token, token):
            where = "" if known.address is None else f", at {known.address}"
            raise HostTakenError(
                f"there is a host {host.name} already{where}: give this one another --name; or if that one is no more, "
                f"and does not come back: agentctl fleet forget {host.name}"
            )

    def hear(self, report: HostReport, now: float) -> Orders | None:
        """Take a host's question, and answer it; ``None`` if it is a late one, which must not be answered.

        Raises
        ------
        HostTakenError
            As `check_name`.
        """
        name = report.host.name
        self.check_name(report.host, report.token, now)
        heard = self._heard.get(name) or Heard(now)
        known = self._book.hosts.get(name)
        if report.number > 0 and (report.token != heard.token or report.number <= heard.number):
            if report.version is None and known is not None and known.watched:
                # True or late: to wait for a host that is not lost is the lesser harm.
                self._store(replace(self._book, hosts={**self._book.hosts, name: replace(known, watched=False)}))
            return None
        record = replace(report.host, draining=known.draining if known else False, watched=report.version is not None)
        hosts = self._book.hosts if record == known else {**self._book.hosts, name: record}
        runs = dict(self._book.runs)
        for agent in report.files:
            # What nobody wrote down: the ledger is a new one. Nothing else may be done with it until it is gone.
            if agent not in runs:
                runs[agent] = Run(agent, name, leased=False, grace=0)
        if report.number > 0:
            self._conclude(report, runs)
        self._heard[name] = Heard(now, True, report.token, report.number, report.version, report.note)
        self._store(replace(self._book, hosts=hosts, runs=runs))
        self._decide(now)
        return self._orders(name, report.files)

    def _conclude(self, report: HostReport, runs: dict[str, Run]) -> None:
        definitions = self.wanted.definitions or _NONE
        for agent, run in list(runs.items()):
            if run.host != report.host.name:
                continue
            definition = definitions.get(agent)
            if run.leaving and report.present is not None and agent not in report.present | report.files.keys():
                del runs[agent]
            elif definition is not None and definition.leased and report.files.get(agent) == definition.digest:
                # What it was given before has been replaced.
                runs[agent] = replace(self._told(run, definition), leased=True)

    def apply(self, text: str, path: str, wanted: Wanted, at: float, now: float) -> Plan:
        """Take another jcard; gives what is done."""
        book = self._book
        self._store(replace(book, revision=book.revision + 1, jcard=text, path=path, applied_at=at))
        self.wanted = wanted
        return self._done(now)

    def drain(self, host: str, *, draining: bool, now: float) -> Plan:
        """Empty a host, or use it again.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        record = replace(self._book.hosts[host], draining=draining)
        self._store(replace(self._book, hosts={**self._book.hosts, host: record}))
        return self._done(now)

    def forget(self, host: str, now: float) -> Plan:
        """Take somebody's word that nothing runs on a lost host any more, and never will: it is no host of the fleet.

        One that is heard again after that is a new one.

        Raises
        ------
        KeyError
            If there is none of that name.
        ValueError
            If it is heard.
        """
        if self.alive(host, now):
            raise ValueError(host)
        book = self._book
        runs = {name: run for name, run in book.runs.items() if run.host != host}
        hosts = {name: record for name, record in book.hosts.items() if name != host}
        self._store(replace(book, hosts=hosts, runs=runs))
        del self._heard[host]
        return self._done(now)

    def move(self, agents: Mapping[str, str], now: float) -> None:
        """Have agents leave the hosts named here, to be placed anew."""
        runs = {
            **self._book.runs,
            **{
                name: replace(run, leaving=True)
                for name, run in self._book.runs.items()
                if agents.get(name) == run.host
            },
        }
        self._store(replace(self._book, runs=runs))
        self._decide(now)

    def tick(self, now: float) -> None:
        """Let time pass: hosts may have been lost, and what ran there may have ended."""
        self._decide(now)

    def _done(self, now: float) -> Plan:
        """Decide, and say what that changes: `plan` stays as it is where nothing does."""
        plan = self.preview(self.wanted, now)
        self._decide(now)
        return plan

    # What follows

    def preview(self, wanted: Wanted, now: float) -> Plan:
        """Say what another jcard would do."""
        return self._planned(wanted, self._book.runs, now)

    def _decide(self, now: float) -> None:
        # Placing 5000 agents takes half a second: not at each question of each host.
        known = (self._book, self.wanted, tuple(self.hosts(now)), self._may_start(now))
        if known == self._decided:
            return
        runs = dict(self._book.runs)
        for agent, run in self._book.runs.items():
            if run.leaving and run.leased and self.ended(run.host, now):
                del runs[agent]
        self.plan = plan = self._planned(self.wanted, runs, now)
        for each in plan.assignments:
            changed = self._follow(each, runs.pop(each.agent, None), now)
            if changed is not None:
                runs[each.agent] = changed
        for agent, _ in plan.removed:
            if agent in runs:
                runs[agent] = replace(runs[agent], leaving=True)
        self._store(replace(self._book, runs=runs))
        self._decided = (self._book, *known[1:])

    def _follow(self, each: Assignment, run: Run | None, now: float) -> Run | None:
        """What may run of an agent once its part of a plan is being done."""
        definition = (self.wanted.definitions or _NONE)[each.agent]
        if run is None:
            starts = each.step is Step.START and each.host is not None and self._may_start(now)
            return self._new(each, definition) if starts else None
        match each.step:
            case Step.STAY:
                return self._told(run, definition)
            case Step.WAIT:
                return run
            case Step.START if run.leased and self.ended(run.host, now):
                return self._new(each, definition)
            case _:
                return replace(run, leaving=True)

    def _new(self, each: Assignment, definition: Definition) -> Run | None:
        if each.host is None:
            return None
        return Run(each.agent, each.host, definition.leased, definition.grace, lease=self.terms.lease)

    def _told(self, run: Run, definition: Definition) -> Run:
        """What may run on a host once it is told this definition: the old one, or the new one."""
        grace, lease = max(run.grace, definition.grace), max(run.lease, self.terms.lease)
        return replace(run, leased=run.leased and definition.leased, grace=grace, lease=lease)

    def _planned(self, wanted: Wanted, runs: Mapping[str, Run], now: float) -> Plan:
        places = {wish.name: wish.place for wish in wanted.wishes}
        leaving = [Leaving(run.host, places.get(run.agent, Place())) for run in runs.values() if run.leaving]
        staying = {run.agent: run.host for run in runs.values() if not run.leaving}
        # One that is still leaving its host is placed once it has.
        wishes = [wish for wish in wanted.wishes if not (wish.name in runs and runs[wish.name].leaving)]
        return place(wishes, self.hosts(now), staying, leaving)

    def _may_start(self, now: float) -> bool:
        """Whether all hosts that were known when this Controller started have been asked, or had the time to say."""
        return all(each.heard for each in self._heard.values()) or now >= self._started + self.terms.lost_after

    def outlook(self, now: float) -> Mapping[str, str]:
        """Say why each agent that is being stopped is, and which hosts lack what if none would take it."""
        # As long as it takes to decide: once for all who look.
        known = (self._book.runs, self.wanted, tuple(self.hosts(now)))
        if known != self._outlook[0]:
            self._outlook = (known, outlook(self.wanted.wishes, known[2], self._book.runs))
        return self._outlook[1]

    def hosts(self, now: float) -> list[Host]:
        """List the hosts as they are now."""
        return [
            Host(
                each.name, each.slots, each.cpus, each.memory, each.gpus, each.labels,
                draining=each.draining, alive=self.alive(each.name, now), fenced=self.ended(each.name, now),
            )
            for each in self._book.hosts.values()
        ]  # fmt: skip

    def alive(self, host: str, now: float) -> bool:
        """Whether a host has been heard lately."""
        return now < self._heard[host].granted + self.terms.lost_after

    def ended(self, host: str, now: float) -> bool:
        """Whether all that has a lease on a host has surely ended."""
        if self.alive(host, now) or not self._book.hosts[host].watched:
            return False
        here = [run for run in self._book.runs.values() if run.host == host]
        grace = max((run.grace for run in here), default=0.0)
        terms = self.terms.at_least(max((run.lease for run in here), default=0.0))
        return now >= terms.ended_by(self._heard[host].granted, grace)

    def _is_empty(self, host: str, now: float) -> bool:
        """Whether a host is lost, and surely runs nothing: what has no lease may run for ever."""
        here = [run for run in self._book.runs.values() if run.host == host]
        over = not here or (all(run.leased for run in here) and self.ended(host, now))
        return over and not self.alive(host, now)

    def _orders(self, host: str, files: Mapping[str, str]) -> Orders:
        definitions = self.wanted.definitions or _NONE
        wanted = {
            run.agent: definitions[run.agent]
            for run in self._book.runs.values()
            if run.host == host and not run.leaving and run.agent in definitions
        }
        return Orders(
            self._book.epoch,
            self.terms,
            {name: each.digest for name, each in wanted.items()},
            frozenset(name for name, each in wanted.items() if each.leased),
            {name: each.text for name, each in wanted.items() if files.get(name) != each.digest},
        )

    def _store(self, book: Book) -> None:
        if book != self._book:
            self._write(self._book, book)
            self._book = book
