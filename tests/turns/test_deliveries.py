"""Queues of messages: one at a time, never twice, and settled after any end of agentd."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agentd.turns.adapter import NotNowError, RefusedError, TurnsError
from agentd.turns.conversation import Conversation, take
from agentd.turns.events import Ended, Outcome, Started, TurnEvent, Usage
from agentd.turns.messages import changes, expectation, handover
from agentd.turns.messages import queue as queue_module
from agentd.turns.messages import store as store_module
from agentd.turns.messages.deliveries import Deliveries
from agentd.turns.messages.message import UNCERTAIN, IllegalTransitionError, Message, Status, withdrawn
from agentd.turns.messages.queue import ConflictError, NoSuchMessageError, QueueFullError
from agentd.turns.messages.store import Store, StoreError
from agentd.turns.witnesses import Witnesses
from tests.turns.claude_run import until

NUMBERS = itertools.count(1)


@dataclass
class Agent:
    """A run that takes messages: a record, and what it was given over its whole life."""

    run_id: str = "run-1"
    conversation: Conversation = field(default_factory=Conversation)
    given: list[str] = field(default_factory=list)
    record: list[str] = field(default_factory=list)
    """What it has recorded, and tells to a later agentd."""
    in_the_way: str | None = None
    asked: int = 0
    """How often it was asked what is in the way."""
    error: Exception | None = None
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    keeps_record: bool = True
    whole_record: bool = False
    """Whether its record can be read after its end."""
    deliveries: Deliveries | None = None

    def __post_init__(self) -> None:
        self.hold.set()

    @property
    def witnesses(self) -> Witnesses:
        return Witnesses("terminal", "record")

    @property
    def at_work(self) -> bool:
        return self.conversation.turn is not None

    def listens(self) -> bool:
        return not self.at_work

    async def hindrance(self, *, returned: str | None) -> str | None:
        del returned
        self.asked += 1
        return self.in_the_way

    async def deliver(self, text: str) -> None:
        if self.error is not None:
            raise self.error
        self.given.append(text)
        await self.hold.wait()

    async def settle(self, text: str, since: float) -> bool | None:
        del since
        if self.whole_record:
            if text in self.record:
                self.begin(text)
            return text in self.record
        return None

    async def recall(self, text: str, turn: str | None, since: float) -> None:
        del turn, since
        if text in self.record:
            self.begin(text)

    def begin(self, text: str) -> None:
        if text not in self.record:
            self.record.append(text)
        self.tell(Started(f"t-{text}", text))

    def end(self, text: str) -> None:
        self.tell(Usage(3, 5))
        self.tell(Ended(Outcome.COMPLETED, f"I hear: {text}"))

    def tell(self, event: TurnEvent) -> None:
        self.conversation = take(self.conversation, event, 1.0)
        assert self.deliveries is not None
        TOLD.extend(self.deliveries.took("a", self))
        self.deliveries.look("a")


TOLD: list[Message] = []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    TOLD.clear()
    return tmp_path / "messages.db"


def clock() -> float:
    return 1_795_000_000.0 + next(NUMBERS)


async def opened(path: Path, agent: Agent | None = None) -> Deliveries:
    deliveries = Deliveries(Store(path), clock, TOLD.append, lambda agent: agent == "boss")
    await deliveries.open()
    if agent is not None:
        agent.deliveries = deliveries
        deliveries.began("a", agent)
        deliveries.declared(frozenset({"a"}), all_known=True)
    return deliveries


async def status(deliveries: Deliveries, message: str) -> Status:
    return (await deliveries.find("a", message)).status


async def reached(deliveries: Deliveries, message: str, *wanted: Status, to: str = "a") -> Message:
    async with asyncio.timeout(30):
        while (found := await deliveries.find(to, message)).status not in wanted:  # noqa: ASYNC110 (as `until`)
            await asyncio.sleep(0.005)
    return found


async def test_what_is_taken_back_stays_so_whatever_is_killed_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BUSY", 0.05)
    deliveries = await opened(path)
    for number in (1, 2, 3):
        await deliveries.accept("a", f"m{number}", "hello", None)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as disk:
        disk.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="cannot be kept"):
            await deliveries.withdraw("a", "m2")
        disk.execute("ROLLBACK")
    assert await status(deliveries, "m2") is Status.QUEUED
    assert [each.id for each in Store(path).live()] == ["m1", "m2", "m3"]
    assert (await deliveries.withdraw("a", "m2")).status is Status.WITHDRAWN
    assert [each.id for each in Store(path).live()] == ["m1", "m3"]
    assert (await deliveries.withdraw("a", "m2")).status is Status.WITHDRAWN
    agent = Agent(deliveries=deliveries)
    deliveries.began("a", agent)
    await reached(deliveries, "m1", Status.DELIVERED)
    agent.begin("hello")
    agent.end("hello")
    await reached(deliveries, "m3", Status.DELIVERED)


async def test_one_at_a_time_and_each_once(path: Path) -> None:
    agent = Agent()
    deliveries = await opened(path, agent)
    for number in (1, 2, 3):
        await deliveries.accept("a", f"m{number}", f"text {number}", None)
    await deliveries.accept("A", "m2", "text 2", None)
    with pytest.raises(ConflictError):
        await deliveries.accept("a", "m2", "another", None)
    for number in (1, 2, 3):
        await reached(deliveries, f"m{number}", Status.DELIVERED)
        assert agent.given == [f"text {each}" for each in range(1, number + 1)]
        agent.begin(f"text {number}")
        assert await status(deliveries, f"m{number}") is Status.STARTED
        agent.end(f"text {number}")
    done = await deliveries.find("a", "m3")
    assert (done.outcome, done.final_text, done.usage) == (Outcome.COMPLETED, "I hear: text 3", Usage(3, 5))
    agent.tell(Usage(1, 1))
    assert (await deliveries.find("a", "m3")).usage == Usage(4, 6)
    await deliveries.close()


async def test_somebody_elses_turn_is_not_ours(path: Path) -> None:
    agent = Agent()
    deliveries = await opened(path, agent)
    await deliveries.accept("a", "m1", "ours", None)
    await reached(deliveries, "m1", Status.DELIVERED)
    agent.begin("typed by hand")
    agent.end("typed by hand")
    assert await status(deliveries, "m1") is Status.DELIVERED
    agent.begin("ours  ")
    assert await status(deliveries, "m1") is Status.STARTED
    await deliveries.close()


@pytest.mark.parametrize(
    ("error", "wanted", "says"),
    [
        (RefusedError("too long"), Status.FAILED, "too long"),
        (TurnsError("no answer"), Status.FAILED, f"no answer: {UNCERTAIN}"),
        (ValueError("a defect"), Status.FAILED, f"agentd failed: {UNCERTAIN}"),
        (NotNowError("a draft"), Status.QUEUED, "a draft"),
    ],
)
async def test_what_is_not_handed_over_fails_or_waits(path: Path, error: Exception, wanted: Status, says: str) -> None:
    agent = Agent(error=error)
    deliveries = await opened(path, agent)
    await deliveries.accept("a", "m1", "text", None)
    await until(lambda: any(message.error == says for message in TOLD))
    assert (await deliveries.find("a", "m1")).status is wanted
    agent.error = None
    await deliveries.close()


async def test_what_is_in_the_way_holds_a_message_back_and_is_told_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_AGAIN", 0.01)
    agent = Agent(in_the_way="a draft")
    deliveries = await opened(path, agent)
    await deliveries.accept("a", "m1", "text", None)
    await until(lambda: any(message.error == "a draft" for message in TOLD))
    asked = agent.asked
    await until(lambda: agent.asked > asked + 3)
    assert [message.status for message in TOLD] == [Status.QUEUED, Status.QUEUED]
    agent.in_the_way = None
    assert (await reached(deliveries, "m1", Status.DELIVERED)).error is None
    await deliveries.close()


@dataclass(frozen=True)
class Kill:
    """Where agentd is killed, what the agent did meanwhile, and what is to come of the message."""

    at: Status
    recorded: bool
    over: bool
    wanted: Status
    outcome: Outcome | None = None


KILLS = [
    Kill(Status.QUEUED, recorded=False, over=False, wanted=Status.DELIVERED),
    Kill(Status.DELIVERING, recorded=False, over=False, wanted=Status.FAILED),
    Kill(Status.DELIVERING, recorded=True, over=False, wanted=Status.STARTED),
    Kill(Status.DELIVERING, recorded=True, over=True, wanted=Status.ENDED, outcome=Outcome.COMPLETED),
    Kill(Status.DELIVERED, recorded=False, over=False, wanted=Status.FAILED),
    Kill(Status.DELIVERED, recorded=True, over=True, wanted=Status.ENDED, outcome=Outcome.COMPLETED),
    Kill(Status.STARTED, recorded=True, over=False, wanted=Status.STARTED),
    Kill(Status.STARTED, recorded=True, over=True, wanted=Status.ENDED, outcome=Outcome.COMPLETED),
    Kill(Status.STARTED, recorded=False, over=True, wanted=Status.ENDED, outcome=Outcome.LOST),
    Kill(Status.ENDED, recorded=True, over=True, wanted=Status.ENDED, outcome=Outcome.COMPLETED),
]


@pytest.mark.parametrize("kill", KILLS, ids=str)
async def test_a_kill_in_any_status_types_nothing_twice(
    path: Path, kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_AGAIN", 0.01)
    monkeypatch.setattr(handover, "RECALL_LIMIT", 0.05)
    monkeypatch.setattr(expectation, "_LOOK_AFTER", 0.01)
    agent = Agent()
    await leave_at(path, kill.at, agent)
    typed = list(agent.given)
    agent.record[:] = ["text"] if kill.recorded else []
    later = Agent(given=typed, record=agent.record)
    deliveries = await opened(path, later)
    if kill.over and kill.recorded and kill.at is not Status.ENDED:
        await until(lambda: later.at_work)
        later.end("text")
    found = await reached(deliveries, "m1", kill.wanted)
    assert found.outcome is kill.outcome
    assert (found.error or "").endswith(UNCERTAIN) is (kill.wanted is Status.FAILED)
    assert later.given.count("text") <= 1
    if found.over:
        await deliveries.accept("a", "m2", "the next", None)
        await reached(deliveries, "m2", Status.DELIVERED)
        assert later.given.count("text") <= 1, "nor later"
    await deliveries.close()


async def leave_at(path: Path, at: Status, agent: Agent) -> None:
    """Have an agentd go as it does when it is killed: with what is on disk."""
    killed = await opened(path, None if at is Status.QUEUED else agent)
    if at is Status.DELIVERING:
        agent.hold.clear()
    await killed.accept("a", "m1", "text", None)
    if at is not Status.QUEUED:
        await until(lambda: agent.given == ["text"])
    if at not in (Status.QUEUED, Status.DELIVERING):
        await reached(killed, "m1", Status.DELIVERED)
    if at in (Status.STARTED, Status.ENDED):
        agent.begin("text")
    if at is Status.ENDED:
        agent.end("text")
    await killed.close()
    found = Store(path).find("a", "m1")
    assert found is not None
    assert found.status is at


async def test_a_run_that_is_gone_after_a_restart_loses_its_message(path: Path) -> None:
    await leave_at(path, Status.STARTED, Agent())
    deliveries = await opened(path, Agent(run_id="run-2"))
    assert (await deliveries.find("a", "m1")).outcome is Outcome.LOST
    await deliveries.close()
    await leave_at(path.with_name("other.db"), Status.DELIVERING, Agent())
    nobody = await opened(path.with_name("other.db"))
    nobody.declared(frozenset({"a"}), all_known=False)
    assert (await nobody.find("a", "m1")).status is Status.FAILED
    await nobody.close()


async def test_messages_expire_are_withdrawn_and_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MOST_WAITING", 3)
    deliveries = await opened(path)
    await deliveries.accept("a", "m1", "text", 1.0)
    await reached(deliveries, "m1", Status.EXPIRED)
    for number in range(3):
        await deliveries.accept("a", f"w{number}", "text", None)
    with pytest.raises(QueueFullError):
        await deliveries.accept("a", "w3", "text", None)
    assert (await deliveries.withdraw("a", "w1")).status is Status.WITHDRAWN
    assert (await deliveries.withdraw("a", "w1")).status is Status.WITHDRAWN
    with pytest.raises(ConflictError):
        await deliveries.withdraw("a", "m1")
    with pytest.raises(NoSuchMessageError):
        await deliveries.withdraw("a", "nothing")
    deliveries.declared(frozenset(), all_known=True)
    assert "not declared" in str((await deliveries.find("a", "w0")).error)
    await deliveries.close()


def message(number: int, **fields: object) -> Message:
    first = Message("a", f"m{number}", "text", 1.0, changed=1_795_000_000.0 + number)
    return replace(first, **fields)  # type: ignore[arg-type]


def test_the_oldest_that_are_over_are_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEPT_OF_ONE", 3)
    store = Store(path)
    for number in range(6):
        store.put(message(number))
        store.put(withdrawn(message(number), 1_795_000_000.0 + number))
    assert [store.find("A", f"m{number}") is not None for number in range(6)] == [False] * 3 + [True] * 3
    late = 1_795_000_000.0 + store_module.KEPT_SECONDS + 100.0
    store.put(message(9, changed=late))
    assert store.find("a", "m5") is None
    assert [each.id for each in store.live()] == ["m9"]
    monkeypatch.setattr(store_module, "_KEPT_BYTES", 1)
    store.put(message(10, changed=late))
    assert len(store.live()) == 2, "what something may become of is never forgotten"
    store.close()


def test_a_damaged_file_is_set_aside_and_one_that_cannot_be_made_is_said(path: Path) -> None:
    path.write_bytes(b"nonsense" * 1000)
    store = Store(path)
    store.put(message(1))
    assert store.find("a", "m1") is not None
    assert path.with_name("messages-damaged.db").exists()
    store.close()
    with pytest.raises(StoreError, match="messages cannot be kept"):
        Store(path.parent / "nowhere" / "messages.db").put(message(1))


def test_no_message_goes_back() -> None:
    over: Callable[[Message], Message] = lambda each: withdrawn(each, 2.0)  # noqa: E731
    with pytest.raises(IllegalTransitionError):
        over(over(message(1)))


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("answers_late", [True, False])
async def test_what_a_program_that_ended_was_handed_is_settled_by_its_whole_record(
    path: Path, *, arrived: bool, answers_late: bool
) -> None:
    agent = Agent(whole_record=True)
    deliveries = await opened(path, agent)
    if answers_late:
        agent.hold.clear()
    await deliveries.accept("a", "m1", "hello", None)
    await reached(deliveries, "m1", Status.DELIVERING if answers_late else Status.DELIVERED)
    await until(lambda: bool(agent.given))
    if arrived:
        agent.record.append("hello")
    settling = asyncio.create_task(deliveries.settle("a", agent))
    agent.hold.set()
    await settling
    deliveries.over("a", agent, "the agent ended")
    if arrived:
        found = await reached(deliveries, "m1", Status.ENDED)
        assert (found.outcome, found.turn) == (Outcome.LOST, "t-hello")
    else:
        found = await reached(deliveries, "m1", Status.QUEUED)
        assert found.error == "the agent ended before it had arrived"
        another = Agent("run-2", deliveries=deliveries)
        deliveries.began("a", another)
        await until(lambda: another.given == ["hello"])
    await deliveries.close()


async def test_a_message_has_its_witnesses_and_its_sender(path: Path) -> None:
    agent = Agent()
    deliveries = await opened(path, agent)
    await deliveries.accept("a", "m1", "text", None, "uid:1000")
    handed = await reached(deliveries, "m1", Status.DELIVERED)
    assert (handed.sender, handed.witness) == ("uid:1000", "terminal")
    agent.begin("text")
    agent.end("text")
    ended = await reached(deliveries, "m1", Status.ENDED)
    assert (ended.sender, ended.witness) == ("uid:1000", "record")
    await deliveries.close()
    assert Store(path).find("a", "m1") == ended


async def test_an_agent_is_told_once_what_it_sent_in_vain(path: Path) -> None:
    boss, worker = Agent("run-boss"), Agent("run-worker", error=RefusedError("it takes none"))
    deliveries = await opened(path, worker)
    boss.deliveries = deliveries
    await deliveries.accept("a", "m1", "do this\nand that", None, "agent:boss")
    await deliveries.accept("a", "m2", "for nobody", None, "agent:stranger")
    await deliveries.accept("a", "m3", "for a person", None, "boss")
    for message in ("m1", "m2", "m3"):
        await reached(deliveries, message, Status.FAILED)
    told = [message for message in TOLD if message.agent == "boss"]
    assert [(each.status, each.sender) for each in told] == [(Status.QUEUED, "agentd")]
    await deliveries.close()
    # It is on disk together with the failure, and is handed over by a later agentd.
    deliveries = await opened(path)
    deliveries.began("boss", boss)
    await reached(deliveries, told[0].id, Status.DELIVERED, to="boss")
    (text,) = boss.given
    assert text == "agentd: your message m1 to a was not delivered (failed: it takes none). It began: do this\nand that"
    deliveries.over("boss", boss, "it ended")
    failed = await reached(deliveries, told[0].id, Status.FAILED, to="boss")
    assert UNCERTAIN in str(failed.error)
    assert len({message.id for message in TOLD}) == 4, "nobody is told of what agentd said"
    await deliveries.close()


async def test_messages_are_listed_the_newest_first_and_without_the_rest_of_long_texts(path: Path) -> None:
    agent = Agent()
    deliveries = await opened(path, agent)
    assert await deliveries.newest(None, 5) == []
    await deliveries.accept("a", "m1", "x" * 5000, None)
    await reached(deliveries, "m1", Status.DELIVERED)
    agent.begin("x" * 5000)
    agent.end("x" * 5000)
    await deliveries.accept("B", "m2", "to another", None)
    await deliveries.accept("a", "m3", "too late", 0.001)
    await reached(deliveries, "m3", Status.EXPIRED)
    found = await deliveries.newest(None, 2)
    assert [(each.message.agent, each.message.id) for each in found] == [("a", "m3"), ("B", "m2")]
    assert [each.message.id for each in await deliveries.newest("A", 9, undelivered=True)] == ["m3"]
    (_, long) = await deliveries.newest("a", 9)
    assert (long.characters, len(long.message.text), long.message.final_text) == (5000, 200, None)
    assert long.message.status is Status.ENDED
    await deliveries.close()


def test_a_file_of_the_last_releases_is_read(path: Path) -> None:
    """Messages had no sender and no witness."""
    store = Store(path)
    store.put(Message("a", "m1", "text", 1.0, changed=1.0))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE messages SET message = json_remove(message, '$.sender', '$.witness')")
        connection.execute("INSERT INTO messages VALUES (NULL, 'a', 'bad', 1, 1.0, 'text', 'not JSON')")
    assert Store(path).find("a", "m1") == Message("a", "m1", "text", 1.0, changed=1.0)
    assert [each.message.id for each in Store(path).newest(None, 9, undelivered=False)] == ["m1"]
