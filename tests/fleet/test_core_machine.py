"""Two hosts never run one agent, whatever is lost, late, killed or cut off, by clocks that differ, and in any order.

The hosts are simulated at their worst: agentd sees each renewal as late as it may, each agent takes all of its grace
period, and its lease is counted from when the renewal was seen.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agentd.fleet.core import Core
from agentd.fleet.definitions import Definition, Wanted
from agentd.fleet.leases import LeaseTerms
from agentd.fleet.ledger import Book, HostRecord
from agentd.fleet.messages import HostReport, Orders
from agentd.fleet.plans import Wish
from agentd.model.placement import OnHostLoss, Place

TERMS = LeaseTerms(lease=8, window=2, notice=1, margin=1)
HOSTS = ("a", "b", "c")
AGENTS = ("x", "y", "z")
SETTLE = 1.0
LONGEST_GRACE = 3.0


@dataclass
class File:
    digest: str
    leased: bool
    grace: float
    ends: float
    """When its lease ends, by the host's clock."""


@dataclass
class SimulatedHost:
    name: str
    rate: float
    files: dict[str, File] = field(default_factory=dict)
    dying: dict[str, float] = field(default_factory=dict)
    """Until when an agent without a drop-in still runs."""
    agentd: bool = True
    orphans: dict[str, float] = field(default_factory=dict)
    """Grace periods of what runs without a drop-in, and without an agentd that would end it."""
    node: bool = True
    token: int = 0
    number: int = -1
    withdrawn: dict[str, float] = field(default_factory=dict)
    started: float = 0.0
    question: tuple[str, int, float] | None = None
    """Token, number and time of what it waits for an answer to."""
    answered: float = 0.0

    def running(self) -> set[str]:
        return {*self.files, *self.dying, *self.orphans}

    def remove(self, name: str, at: float) -> None:
        file = self.files.pop(name)
        if not self.agentd:
            self.orphans[name] = max(self.orphans.get(name, 0.0), file.grace)
            return
        self.dying[name] = max(self.dying.get(name, 0.0), at + TERMS.notice + file.grace)

    def pass_to(self, now: float) -> None:
        """Let time pass, by its clock."""
        if self.node and now >= TERMS.withdraws_at(self.answered):
            for name in [name for name, file in self.files.items() if file.leased]:
                self.remove(name, max(TERMS.withdraws_at(self.answered), self.started))
        for name, file in list(self.files.items()):
            if self.agentd and file.leased and now >= file.ends:
                self.remove(name, file.ends)
        self.dying = {name: until for name, until in self.dying.items() if now < until}
        self.withdrawn = {name: at for name, at in self.withdrawn.items() if now < at + SETTLE}

    def report(self, now: float) -> HostReport:
        self.number += 1
        present = None
        if self.agentd and now >= self.started + SETTLE:
            present = frozenset({*self.dying, *self.withdrawn, *self.files})
        self.question = (str(self.token), self.number, now)
        files = {name: file.digest for name, file in self.files.items()}
        version = "1.0" if self.agentd else None
        return HostReport(HostRecord(self.name, 3), f"{self.name}{self.token}", self.number, files, present, version)

    def lose_agentd(self) -> None:
        self.agentd = False
        self.orphans |= dict.fromkeys(self.dying, LONGEST_GRACE)
        self.dying = {}

    def start_agentd(self, now: float) -> None:
        """It counts leases anew, and ends what has no drop-in."""
        self.agentd, self.started = True, now
        self.dying |= {name: now + TERMS.notice + grace for name, grace in self.orphans.items()}
        self.orphans = {}
        for file in self.files.values():
            file.ends = now + TERMS.notice + TERMS.lease + TERMS.notice

    def follow(self, orders: Orders, definitions: dict[str, Definition], now: float) -> None:
        assert self.question is not None
        asked = self.question[2]
        if not TERMS.renews(asked, now):
            return
        self.answered = asked
        for name in self.files.keys() - orders.files.keys():
            self.remove(name, now)
            self.withdrawn[name] = now
        ends = now + TERMS.notice + TERMS.lease + TERMS.notice
        for name, text in orders.texts.items():
            of = next(each for each in definitions.values() if each.text == text)
            grace = max(of.grace, self.files[name].grace if name in self.files else 0)
            self.files[name] = File(of.digest, of.leased, grace, ends)
        for name in orders.leased & self.files.keys():
            self.files[name].ends = max(self.files[name].ends, ends)


@dataclass
class Letter:
    host: str
    report: HostReport
    orders: Orders | None = None
    heard: bool = False


class Fleet(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.book = Book()
        self.wanted = Wanted((), {})
        self.definitions: dict[str, Definition] = {}
        self.core: Core | None = Core(self.book, self.keep, self.wanted, TERMS, 0.0)
        self.hosts = {name: SimulatedHost(name, rate) for name, rate in zip(HOSTS, (1.0, 0.996, 1.004), strict=True)}
        self.letters: list[Letter] = []
        self.revision = 0
        self.cut_off: set[str] = set()
        self.said: list[HostReport] = []
        """What was heard lately; it may arrive once more."""

    @initialize(leased=st.booleans())
    def begin(self, *, leased: bool) -> None:
        self.apply(dict.fromkeys(AGENTS, (leased, 0.5)))
        self.live(4.0)
        self.live(4.0)
        assert {agent for host in self.hosts.values() for agent in host.running()} == {*AGENTS}

    def keep(self, before: Book, after: Book) -> None:
        assert before == self.book
        self.book = after

    def clock(self, host: str) -> float:
        return self.now * self.hosts[host].rate

    def core_now(self) -> float:
        return self.now * 1.002

    @rule(host=st.sampled_from(HOSTS), off=st.booleans())
    def cut(self, host: str, *, off: bool) -> None:
        if off:
            self.cut_off.add(host)
        else:
            self.cut_off.discard(host)

    @rule(seconds=st.sampled_from([1.0, 4.0, 20.0, 60.0]))
    def live(self, seconds: float) -> None:
        """Let time pass while all who are not cut off talk."""
        for _ in range(int(seconds * 2)):
            self.wait(0.5)
            for host in HOSTS:
                if host not in self.cut_off:
                    self.talk(host)

    @rule(
        agents=st.dictionaries(
            st.sampled_from(AGENTS), st.tuples(st.booleans(), st.sampled_from([0.5, LONGEST_GRACE])), min_size=1
        )
    )
    def apply(self, agents: dict[str, tuple[bool, float]]) -> None:
        if self.core is None:
            return
        self.revision += 1
        for name, (leased, grace) in agents.items():
            text = f"{name} {self.revision}"
            self.definitions[text] = Definition(name, text, text, leased, grace)
        chosen = {name: self.definitions[f"{name} {self.revision}"] for name in agents}
        wishes = tuple(
            Wish(name, Place(on_host_loss=OnHostLoss.RESCHEDULE if leased else OnHostLoss.WAIT))
            for name, (leased, _) in agents.items()
        )
        self.wanted = Wanted(wishes, chosen)
        self.core.apply("", "", self.wanted, 0.0, self.core_now())

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.0, 5.0, 30.0]))
    def wait(self, seconds: float) -> None:
        # In small steps, so that each moment is looked at.
        for _ in range(4):
            self.now += seconds / 4
            for host in self.hosts.values():
                host.pass_to(self.clock(host.name))
            self.never_twice()

    @rule(host=st.sampled_from(HOSTS))
    def ask(self, host: str) -> None:
        if self.hosts[host].node:
            self.letters.append(Letter(host, self.hosts[host].report(self.clock(host))))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        if self.letters:
            letter = data.draw(st.sampled_from(self.letters))
            if not letter.heard:
                self.hear(letter)
            else:
                self.answer(letter)

    @rule(host=st.sampled_from(HOSTS))
    def talk(self, host: str) -> None:
        """Ask and answer without delay: most of the time that is how it is."""
        if self.hosts[host].node:
            letter = Letter(host, self.hosts[host].report(self.clock(host)))
            self.hear(letter)
            self.answer(letter)
            self.said = [*self.said[-8:], letter.report]

    @rule()
    def all_talk(self) -> None:
        for host in HOSTS:
            self.talk(host)

    def hear(self, letter: Letter) -> None:
        letter.heard = True
        if self.core is not None:
            letter.orders = self.core.hear(letter.report, self.core_now())

    def answer(self, letter: Letter) -> None:
        if letter in self.letters:
            self.letters.remove(letter)
        host = self.hosts[letter.host]
        waits_for = host.question and (f"{letter.host}{host.question[0]}", host.question[1])
        if not host.node or waits_for != (letter.report.token, letter.report.number):
            return
        if letter.orders is None:
            host.token, host.number = host.token + 1, -1
        else:
            host.follow(letter.orders, self.definitions, self.clock(letter.host))
        host.question = None

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A message arrives a second time."""
        if self.said and self.core is not None:
            self.core.hear(data.draw(st.sampled_from(self.said)), self.core_now())

    @rule(host=st.sampled_from(HOSTS))
    def kill_node(self, host: str) -> None:
        self.hosts[host].node = False

    @rule(host=st.sampled_from(HOSTS))
    def start_node(self, host: str) -> None:
        at = self.hosts[host]
        if not at.node:
            at.node, at.token, at.number, at.question, at.withdrawn = True, at.token + 1, -1, None, {}
            at.started = at.answered = self.clock(host)

    @rule(host=st.sampled_from(HOSTS))
    def kill_agentd(self, host: str) -> None:
        """The Node says it, before anything else happens to the host: nothing else ends what has a lease."""
        at = self.hosts[host]
        if at.agentd and at.node and host not in self.cut_off and self.core is not None:
            at.lose_agentd()
            self.talk(host)
            self.said.clear()

    @rule(host=st.sampled_from(HOSTS))
    def strand(self, host: str) -> None:
        """Cut off a host whose agentd is dead, for as long as all leases last."""
        self.kill_agentd(host)
        self.cut_off.add(host)
        self.live(20.0)

    @rule(host=st.sampled_from(HOSTS))
    def start_agentd(self, host: str) -> None:
        if not self.hosts[host].agentd:
            self.hosts[host].start_agentd(self.clock(host))

    @rule(host=st.sampled_from(HOSTS))
    def forget(self, host: str) -> None:
        """As it is meant: once nothing runs there."""
        if self.core is not None and host in self.core.book.hosts and not self.hosts[host].running():
            with contextlib.suppress(ValueError):
                self.core.forget(host, self.core_now())

    @rule(host=st.sampled_from(HOSTS), draining=st.booleans())
    def drain(self, host: str, *, draining: bool) -> None:
        if self.core is not None and host in self.core.book.hosts:
            self.core.drain(host, draining=draining, now=self.core_now())

    @rule()
    def restart_controller(self) -> None:
        self.core = Core(
            replace(self.book, epoch=self.book.epoch + 1), self.keep_new, self.wanted, TERMS, self.core_now()
        )

    def keep_new(self, _before: Book, after: Book) -> None:
        self.book = after

    @invariant()
    def never_twice(self) -> None:
        for agent in AGENTS:
            where = [host.name for host in self.hosts.values() if agent in host.running()]
            assert len(where) <= 1, f"{agent} runs on {where} at {self.now}"


Fleet.TestCase.settings = settings(stateful_step_count=60)
TestFleet = Fleet.TestCase
