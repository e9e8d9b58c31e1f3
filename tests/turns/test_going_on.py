"""What an agent is told that was launched again since it did not go on: once, unless there is nothing to go on with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentd.files.looks import Looks
from agentd.harness.additions import Additions, LaunchFacts
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.turns import activity
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, TurnsError, Voice
from agentd.turns.budgets.book import Budgets
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.conversation import Request
from agentd.turns.events import Ended
from agentd.turns.file_changes import FileChanges
from agentd.turns.messages import changes
from agentd.turns.messages.message import Message, Status
from agentd.turns.messages.store import Store
from agentd.turns.turns import Turns
from tests.turns.acp_run import Seen
from tests.turns.claude_run import Terminal, me, until


@dataclass
class Idle:
    """The adapter of a program that is idle, and takes what it is told."""

    given: list[str] = field(default_factory=list)
    granularity: Granularity = Granularity.MESSAGE

    def additions(self, facts: LaunchFacts) -> Additions:
        return Additions(facts.argv)

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> IdleWatch:
        del run, ground
        return IdleWatch(self, voice)


@dataclass
class IdleWatch:
    adapter: Idle
    voice: Voice

    async def run(self) -> None:
        self.voice.seen("file", activity.Seen(Activity.IDLE, time.time()))
        await asyncio.Event().wait()

    async def hook(self, hook: Hook) -> bytes | None:
        raise TurnsError(hook.name)

    async def hindrance(self, *, returned: str | None) -> str | None:
        return returned

    async def deliver(self, text: str) -> None:
        self.adapter.given.append(text)

    async def answer(self, request: Request, answer: Answer) -> None:
        raise TurnsError(f"{request} {answer}")

    async def interrupt(self) -> None:
        raise TurnsError("nothing to do")

    async def at_exit(self, *, succeeded: bool) -> Ended | None:
        raise TurnsError(str(succeeded))


@asynccontextmanager
async def turns_of(tmp_path: Path, adapter: Idle) -> AsyncIterator[Turns]:
    """Be agentd."""
    looks = Looks()
    ground = Ground(looks, FileChanges(looks), me(), time.time)
    adapters = {"claude-code": adapter, "custom": adapter}
    turns = Turns(adapters, ground, Seen(), Store(tmp_path / "m"), Ledger(tmp_path / "b"))
    await turns.deliveries.open()
    yield turns
    await turns.close()
    looks.close()


def start(
    turns: Turns,
    tmp_path: Path,
    harness: str = "claude-code",
    *,
    stays: bool = True,
    resume: str | None = "c1",
    goes_on: bool = True,
) -> None:
    """Have a run of agent ``a`` start."""
    paths = tmp_path / "f", tmp_path / "s"
    facts = LaunchFacts("a", "run-1", harness, (), {}, tmp_path, tmp_path, stays, *paths, resume)
    run = LiveRun(facts, ProcessIdentity(1, None), {}, Terminal())
    turns.started(run, by_adapter=True, goes_on=goes_on)


async def messages(turns: Turns) -> list[Message]:
    """All to the agent, the newest first."""
    return [each.message for each in await turns.deliveries.newest("a", 10)]


async def test_it_is_told_once_and_not_again_by_a_later_agentd(tmp_path: Path) -> None:
    adapter = Idle()
    for _ in range(2):
        async with turns_of(tmp_path, adapter) as turns:
            start(turns, tmp_path)
            await until(lambda: adapter.given == ["continue"])
            assert (await turns.deliveries.accept("a", "m", "hello", None)).agent == "a"
            found = {each.id: each.sender for each in await messages(turns)}
            assert found == {"go-on.run-1": "agentd", "m": None}


@pytest.mark.parametrize(
    "untold",
    [
        lambda turns, path: start(turns, path, goes_on=False),
        lambda turns, path: start(turns, path, resume=None),
        # Its prompt makes it go on.
        lambda turns, path: start(turns, path, stays=False),
        # It begins anew.
        lambda turns, path: start(turns, path, "custom"),
    ],
    ids=["launched otherwise", "no conversation", "one turn", "custom"],
)
async def test_others_are_told_nothing(tmp_path: Path, untold: Callable[[Turns, Path], None]) -> None:
    async with turns_of(tmp_path, Idle()) as turns:
        untold(turns, tmp_path)
        # One to go on would have been taken before the second.
        for name in ("m1", "m2"):
            await turns.deliveries.accept("a", name, "hello", None)
        assert {each.id for each in await messages(turns)} == {"m1", "m2"}


async def test_its_budget_holds_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_AGAIN", 0.01)
    held = ["its budget is used up"]
    asked: list[str] = []

    def holds(_budgets: Budgets, agent: str) -> str | None:
        asked.append(agent)
        return held[0] if held else None

    monkeypatch.setattr(Budgets, "holds", holds)
    adapter = Idle()
    async with turns_of(tmp_path, adapter) as turns:
        start(turns, tmp_path)
        await until(lambda: turns.deliveries.unfinished("a") == 1)
        await until(lambda: bool(asked))
        (message,) = await messages(turns)
        assert (message.status, adapter.given) == (Status.QUEUED, [])
        held.clear()
        await until(lambda: adapter.given == ["continue"])
