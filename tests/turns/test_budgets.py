"""The book of budgets and its file: what is read again, and what is left alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from agentd.model.budgets import Budget
from agentd.model.events import Detail, EventKind
from agentd.supervise.budgets import Account, BudgetUse
from agentd.supervise.run_watcher import DeclaredAgent
from agentd.turns.budgets.book import Budgets
from agentd.turns.budgets.launches import below, spawned
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.conversation import Conversation, take
from agentd.turns.events import Ended, Outcome, Started, TurnEvent, Usage
from agentd.turns.run_watch import RunWatch
from tests.turns.claude_run import until

ACCOUNT = Account("r1", Decimal("1.25"), 3, "t3", "2026-03-01", Decimal("7.000001"), 5.5, ("usd", "turns"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budgets.json"


def test_what_is_written_is_read_again(path: Path) -> None:
    accounts = {"a": ACCOUNT, "b": Account("r1", run_turns=1)}
    # Of 300 agents that use nothing there is nothing to write each second.
    unused = {"c": Account(), "d": Account("r2"), "e": Account("r3", day="2026-03-01")}
    assert Ledger(path).write(accounts | unused, "2026-03-01", "Europe/Berlin")
    assert Ledger(path).read() == accounts
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["zone"] == "Europe/Berlin"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_without_a_file_nothing_was_used(path: Path) -> None:
    assert Ledger(path).read() == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": "1"}',
        '{"version": 1}',
        '{"version": 1, "agents": []}',
        '{"version": 1, "agents": {"a": 3}}',
        '{"version": 1, "agents": {"a": {"run_usd": 3}}}',
        '{"version": 1, "agents": {"a": {"run_usd": "NaN"}}}',
        '{"version": 1, "agents": {"a": {"run_usd": "-1"}}}',
        '{"version": 1, "agents": {"a": {"run_usd": "many"}}}',
        '{"version": 1, "agents": {"a": {"run_turns": -1}}}',
        '{"version": 1, "agents": {"a": {"run_turns": 1e999}}}',
        '{"version": 1, "agents": {"a": {"breached": "usd"}}}',
        '{"version": 1, "agents": {"a": {"turn": 3}}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_said_and_written_anew(path: Path, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    path.write_text(text)
    ledger = Ledger(path)
    assert ledger.read() == {}
    said = capfd.readouterr()
    assert "budgets_forgotten" in said.out + said.err
    assert ledger.write({"a": ACCOUNT}, "d", "z")
    assert Ledger(path).read() == {"a": ACCOUNT}


def test_what_a_newer_agentd_wrote_is_left_as_it_is(path: Path) -> None:
    newer = '{"version": 2, "agents": {}}'
    path.write_text(newer)
    ledger = Ledger(path)
    assert ledger.read() == {}
    assert ledger.write({"a": ACCOUNT}, "d", "z")
    assert path.read_text() == newer


def test_a_disk_that_takes_nothing_leaves_the_file_as_it_was(path: Path, tmp_path: Path) -> None:
    assert Ledger(path).write({"a": ACCOUNT}, "d", "z")
    (tmp_path / ".budgets.json.new").mkdir()
    assert not Ledger(path).write({}, "d", "z")
    assert Ledger(path).read() == {"a": ACCOUNT}


def test_what_a_daemon_that_was_killed_while_it_wrote_left_is_passed_over(path: Path, tmp_path: Path) -> None:
    ledger = Ledger(path)
    assert ledger.write({"a": ACCOUNT}, "d", "z")
    (tmp_path / ".budgets.json.new").write_text(path.read_text()[:40])
    assert Ledger(path).read() == {"a": ACCOUNT}
    assert ledger.write({"b": ACCOUNT}, "d", "z")
    assert Ledger(path).read() == {"b": ACCOUNT}


# -- the book


@dataclass
class Run:
    """As much of a watched run as the book looks at."""

    agent: str = "a"
    run_id: str = "r1"
    conversation: Conversation = field(default_factory=Conversation)
    interrupts: int = 0

    @property
    def run(self) -> SimpleNamespace:
        return SimpleNamespace(facts=SimpleNamespace(harness="custom"))

    async def interrupt(self) -> bool:
        self.interrupts += 1
        return True


@dataclass
class Book:
    """A book of one agent with a clock that is set."""

    budgets: Budgets = field(init=False)
    now: float = 1_772_323_200.0
    run: Run = field(default_factory=Run)
    events: list[str | None] = field(default_factory=list)
    uses: list[BudgetUse] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def emit(self, agent: str, kind: EventKind, reason: str | None, data: dict[str, Detail]) -> None:
        assert (agent, kind, data["run"]) == ("a", EventKind.BUDGET_BREACHED, "r1")
        self.events.append(reason)

    def used(self, agent: str, run_ids: tuple[str, ...], use: BudgetUse) -> None:
        assert (agent, run_ids) == ("a", ("r1",))
        self.uses.append(use)

    def do(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def happens(self, event: TurnEvent) -> None:
        self.run.conversation = take(self.run.conversation, event, self.now)
        self.budgets.happened(cast("RunWatch", self.run), event)


@pytest.fixture
async def book(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Book]:
    monkeypatch.setattr("agentd.turns.budgets.book._EVERY", 0.01)
    monkeypatch.setattr("agentd.turns.budgets.book._END_SOON", 0.01)
    monkeypatch.setenv("TZ", "UTC")
    book = Book()
    book.budgets = Budgets(Ledger(path), lambda: book.now, book, book.do)
    yield book
    await book.budgets.close()


def declare(book: Book, budget: Budget) -> None:
    book.budgets.declared({"a": DeclaredAgent("a", "custom", None, budget=budget)})
    book.budgets.started(cast("RunWatch", book.run))


@asynccontextmanager
async def kept(book: Book) -> AsyncIterator[None]:
    task = asyncio.create_task(book.budgets.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_day_that_is_over_has_its_money_again_without_anybody_saying_so(book: Book) -> None:
    declare(book, Budget(day=Decimal(5)))
    assert book.budgets.holds("a") == "what it has used of its budget is not read yet"
    async with kept(book):
        await until(lambda: book.budgets.holds("a") is None)
        book.happens(Started("t1", "x"))
        book.happens(Usage(cost_usd=5.0))
        assert book.events == ["5 of 5 US dollars today are used"]
        assert book.budgets.holds("A") == "its budget is used up: 5 of 5 US dollars today are used"
        await until(lambda: book.run.interrupts > 0)
        book.happens(Ended(Outcome.INTERRUPTED))
        book.now += 86400
        await until(lambda: book.budgets.holds("a") is None)
        assert book.uses[-1].breach is None
        book.happens(Started("t2", "x"))
        book.happens(Usage(cost_usd=6.0))
        assert book.events[1:] == ["6 of 5 US dollars today are used"]


async def test_what_happens_before_the_file_is_read_counts_on_top_of_it(book: Book, path: Path) -> None:
    before = Account(run="r1", run_turns=1, turn="t1", run_usd=Decimal(2))
    assert Ledger(path).write({"a": before}, "d", "z")
    declare(book, Budget(usd=Decimal(9), turns=5))
    book.happens(Started("t2", "x"))
    book.happens(Usage(cost_usd=0.5))
    async with kept(book):
        await until(lambda: bool(book.uses) and book.uses[-1].account.run_usd == Decimal("2.5"))
        assert book.uses[-1].account.run_turns == 2
        await until(lambda: Ledger(path).read()["a"].run_usd == Decimal("2.5"))


async def test_what_was_used_is_on_disk_once_that_was_waited_for(
    book: Book, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.turns.budgets.book._EVERY", 600.0)
    declare(book, Budget(usd=Decimal(9)))
    async with kept(book):
        await until(lambda: book.budgets.holds("a") is None)
        book.happens(Started("t1", "x"))
        book.happens(Usage(cost_usd=0.5))
        await book.budgets.kept("A")
        assert Ledger(path).read()["a"].run_usd == Decimal("0.5")


async def test_a_turn_that_ends_by_itself_is_not_interrupted(book: Book) -> None:
    declare(book, Budget(usd=Decimal(1)))
    async with kept(book):
        await until(lambda: book.budgets.holds("a") is None)
        book.happens(Started("t1", "x"))
        book.happens(Usage(cost_usd=1.0))
        book.happens(Ended(Outcome.COMPLETED))
        await until(lambda: not book.tasks)
        assert (book.run.interrupts, len(book.events)) == (0, 1)


async def test_a_cost_that_is_told_late_is_waited_for_and_not_for_ever(book: Book) -> None:
    declare(book, Budget(usd=Decimal(1)))
    async with kept(book):
        await until(lambda: book.budgets.holds("a") is None)
        book.happens(Started("t1", "x"))
        book.happens(Ended(Outcome.COMPLETED))
        assert book.budgets.holds("a") == "what its last turn cost is not told yet"
        book.now += 1.5
        assert book.budgets.holds("a") is None
        book.happens(Started("t2", "x"))
        book.happens(Ended(Outcome.COMPLETED))
        book.happens(Usage(cost_usd=0.1))
        assert book.budgets.holds("a") is None


def test_whose_use_counts_to_an_agent_is_found_through_all_that_spawned_another() -> None:
    spawners = {"a": None, "b": "A", "c": "b", "d": "c", "e": None, "x": "y", "y": "x", "z": "z"}
    agents = {name: DeclaredAgent(name, "custom", None, spawner) for name, spawner in spawners.items()}
    tree = spawned(agents)
    assert sorted(below("a", tree)) == ["a", "b", "c", "d"]
    assert sorted(below("c", tree)) == ["c", "d"]
    assert below("e", tree) == ["e"]
    assert sorted(below("x", tree)) == ["x", "y"]
    assert below("z", tree) == ["z"]
