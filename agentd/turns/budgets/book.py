"""Counts what watched runs use, holds agents to their budgets, and keeps the accounts over restarts of agentd.

A budget is looked at when a turn begins, when a program says what something cost, and before each message is handed
over. Where a cost is told after the end of its turn, the next message waits for it for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from typing import Final, Protocol

import structlog

from agentd.files.worker import Worker
from agentd.files.zones import zone_of
from agentd.model.budgets import BreachAction, Budget
from agentd.model.events import Detail, EventKind
from agentd.model.usage_sources import cost_source, says_cost
from agentd.supervise.budgets import (
    Account,
    Bound,
    Breach,
    BudgetUse,
    breaches,
    day_of,
    dollars,
    shown,
    strongest,
)
from agentd.supervise.run_watcher import DeclaredAgent
from agentd.turns.adapter import TurnsError
from agentd.turns.budgets.launches import below, chain, spawned
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.conversation import Turn
from agentd.turns.events import TextDelta, TurnEvent, Usage
from agentd.turns.run_watch import RunWatch

log = structlog.get_logger(__name__)

_EVERY: Final = 1.0
"""Seconds between two writes, and two looks at the day."""

_COST_LIMIT: Final = 1.5
"""Seconds after a turn's end in which its cost is waited for: Claude Code's status line tells it within 0.3."""

_INTERRUPT_AGAIN: Final = 5.0
"""Seconds until a turn that goes on is interrupted again."""

_END_SOON: Final = 0.5
"""Seconds in which a turn may end by itself: what it cost is often its last word, and at a prompt the key that
interrupts ends many programs."""

_MOST_EARLY: Final = 10_000

_LAST_WRITE: Final = 1.0
"""Seconds for a write that somebody waits for, such as the last."""


class Shows(Protocol):
    """Where the news of budgets go."""

    def emit(self, agent: str, kind: EventKind, reason: str | None, data: dict[str, Detail]) -> None:
        """Something that the journal keeps."""
        ...

    def used(self, agent: str, run_ids: tuple[str, ...], use: BudgetUse) -> None:
        """What an agent has used, or holds it up, has changed; these are its runs."""
        ...


class Budgets:
    """The accounts of all agents.

    Parameters
    ----------
    ledger
        Keeps them.
    wall
        Seconds since the epoch.
    shows
        Where news go.
    do
        Owns a task.
    """

    def __init__(
        self,
        ledger: Ledger,
        wall: Callable[[], float],
        shows: Shows,
        do: Callable[[Coroutine[object, object, None], str], object],
    ) -> None:
        self._ledger = ledger
        self._wall = wall
        self._shows = shows
        self._do = do
        self._zone_name = os.environ.get("TZ") or None
        self._zone: tzinfo = zone_of(self._zone_name)
        self._worker = Worker("budgets")
        self._accounts: dict[str, Account] = {}
        """By the agent's name in lower case."""
        self._declared: Mapping[str, DeclaredAgent] = {}
        self._spawned: Mapping[str, Sequence[str]] = {}
        """By who spawned them."""
        self._runs: dict[str, RunWatch] = {}
        """By the agent's name in lower case."""
        self._counted: dict[str, float] = {}
        """When the last turn began that was counted, by run."""
        self._interrupted: dict[str, float] = {}
        """When a run was interrupted last, on the loop's clock."""
        self._cost_told: dict[str, float] = {}
        """When a run told a cost last, in seconds since the epoch."""
        self._shown: dict[str, BudgetUse] = {}
        self._dirty = False
        self._read = False
        self._early: list[Callable[[], None]] = []
        """What happened before the accounts were read."""
        self._day = ""

    # -- what it is told

    def declared(self, agents: Mapping[str, DeclaredAgent]) -> None:
        """Say which agents are declared, by name in lower case."""
        self._declared, self._spawned = agents, spawned(agents)
        self._judge(agents)

    def started(self, run: RunWatch) -> None:
        """A run is there."""
        name = run.agent.lower()
        self._runs[name] = run
        if self._read:
            self._begin(name, run)

    def _begin(self, name: str, run: RunWatch) -> None:
        self._change(name, self._account(name).began(run.run_id))
        self._judge(self._below(name))

    def ended(self, run_id: str) -> None:
        """A run is not watched any more."""
        name = next((name for name, run in self._runs.items() if run.run_id == run_id), None)
        if name is not None:
            del self._runs[name]
        for known in (self._counted, self._interrupted, self._cost_told):
            known.pop(run_id, None)

    def happened(self, run: RunWatch, event: TurnEvent) -> None:
        """Something happened in a turn."""
        if not self._read:
            if not isinstance(event, TextDelta) and len(self._early) < _MOST_EARLY:
                self._early.append(partial(self.happened, run, event))
            return
        name = run.agent.lower()
        turn = run.conversation.turn or run.conversation.last
        began = turn is not None and self._count(name, run, turn)
        cost = event.cost_usd if isinstance(event, Usage) else None
        if cost is not None and cost > 0:
            now = self._wall()
            self._cost_told[run.run_id] = now
            for each in self._chain(name):
                self._change(each, self._account(each).cost(dollars(cost), self._today(), now))
            for each in self._chain(name):
                self._judge(self._below(each))
        elif began or run.conversation.turn is None or self._holding(name) is not None:
            self._judge((name,))

    def _count(self, name: str, run: RunWatch, turn: Turn) -> bool:
        """Count a turn that has begun; says whether it is another one."""
        if self._counted.get(run.run_id) == turn.started:
            if turn.id and self._account(name).turn is None:
                # Its first event came before its name.
                self._change(name, self._account(name).named(turn.id))
            return False
        before = self._account(name)
        if before.run != run.run_id:
            # What a former run left is told late.
            return False
        self._counted[run.run_id] = turn.started
        self._change(name, before.turn_began(turn.id))
        return self._account(name) != before

    # -- who asks

    def holds(self, agent: str) -> str | None:
        """Why no turn of an agent may begin, if none may."""
        name = agent.lower()
        if not self._read:
            return "what it has used of its budget is not read yet" if any(self._budgets(name)) else None
        breach = self._holding(name)
        if breach is not None:
            return f"its budget is used up: {breach.reason(agent)}"
        return self._awaits_cost(name)

    def _holding(self, name: str) -> Breach | None:
        use = self._shown.get(name)
        breach = None if use is None else use.breach
        return None if breach is None or breach.action is BreachAction.NOTIFY else breach

    def _awaits_cost(self, name: str) -> str | None:
        """Wait for what the last turn cost, where that is told after its end and a budget is about it."""
        run = self._runs.get(name)
        last = None if run is None else run.conversation.last
        if run is None or last is None or last.ended is None or not says_cost(run.run.facts.harness):
            return None
        if not any(budget.usd is not None or budget.day is not None for budget in self._budgets(name)):
            return None
        if self._cost_told.get(run.run_id, 0.0) >= last.started or self._wall() - last.ended >= _COST_LIMIT:
            return None
        return "what its last turn cost is not told yet"

    # -- accounts

    def _account(self, name: str) -> Account:
        return self._accounts.get(name, Account())

    def _change(self, name: str, account: Account) -> None:
        if account != self._account(name):
            self._accounts[name] = account
            self._dirty = True

    def _today(self) -> str:
        return day_of(self._wall(), self._zone)

    def _chain(self, name: str) -> Iterator[str]:
        """An agent, the one that spawned it, and so on."""
        return chain(name, self._declared)

    def _below(self, name: str) -> list[str]:
        """An agent, and all whose use counts to it."""
        return below(name, self._spawned)

    def _budgets(self, name: str) -> Iterator[Budget]:
        """The budgets that an agent is held to."""
        for each in self._chain(name):
            if (known := self._declared.get(each)) is not None and known.budget is not None:
                yield known.budget

    # -- holding them

    def _judge(self, names: Iterable[str]) -> None:
        """Look which budgets of these agents are used up, tell of it, and interrupt who is to be paused."""
        if not self._read:
            return
        for name in names:
            known = self._declared.get(name)
            if known is None or not self._is_held(name):
                continue
            own = self._breaches(name)
            self._tell(known, own)
            found = own + tuple(
                breach
                for each in self._chain(name)
                if each != name
                for breach in self._breaches(each)
                if breach.bound is not Bound.TURNS
            )
            use = BudgetUse(self._account(name).on(self._today()), strongest(found, stays=known.stays))
            run = self._runs.get(name)
            if self._shown.get(name) != use and (use.breach or known.budget is not None or name in self._shown):
                self._shown[name] = use
                self._shows.used(known.name, () if run is None else (run.run_id,), use)
            if use.breach is None and known.budget is None:
                self._shown.pop(name, None)
            self._interrupt(name)

    def _is_held(self, name: str) -> bool:
        """Whether an agent has, or had, a budget to be held to: most have none."""
        return name in self._shown or bool(self._account(name).breached) or any(self._budgets(name))

    def _breaches(self, name: str) -> tuple[Breach, ...]:
        known = self._declared.get(name)
        if known is None:
            return ()
        run = self._runs.get(name)
        # The one turn of a run that ends with it is no other.
        in_turn = not known.stays or (run is not None and run.conversation.turn is not None)
        return breaches(known.name, known.budget, self._account(name).on(self._today()), in_turn=in_turn)

    def _tell(self, known: DeclaredAgent, found: tuple[Breach, ...]) -> None:
        """Report once each bound that is used up."""
        name, account = known.name.lower(), self._account(known.name.lower())
        for breach in found:
            if breach.bound.value in account.breached:
                continue
            action = strongest((breach,), stays=known.stays) or breach
            source = cost_source(known.harness) if breach.bound is not Bound.TURNS else "agentd"
            data: dict[str, Detail] = {
                "budget": breach.bound.value,
                "used": shown(breach.used),
                "limit": shown(breach.limit),
                "budget_action": action.action.value,
                "budget_source": source,
            }
            if account.run is not None:
                data["run"] = account.run
            log.info("budget_breached", agent=known.name, **data)
            self._shows.emit(known.name, EventKind.BUDGET_BREACHED, breach.text, data)
        self._change(name, account.told(tuple(breach.bound.value for breach in found)))

    def _interrupt(self, name: str) -> None:
        run, breach = self._runs.get(name), self._holding(name)
        if run is None or breach is None or breach.action is not BreachAction.PAUSE or run.conversation.turn is None:
            return
        now = asyncio.get_running_loop().time()
        if now - self._interrupted.get(run.run_id, -_INTERRUPT_AGAIN) >= _INTERRUPT_AGAIN:
            self._interrupted[run.run_id] = now
            self._do(self._interrupted_by(run), f"budget of {run.agent}")

    @staticmethod
    async def _interrupted_by(run: RunWatch) -> None:
        turn = run.conversation.turn
        await asyncio.sleep(_END_SOON)
        if turn is None or run.conversation.turn is None or run.conversation.turn.started != turn.started:
            return
        try:
            await run.interrupt()
        except TurnsError as error:
            log.warning("turn_over_budget", agent=run.agent, reason=str(error), effect="it is interrupted again")

    # -- time

    async def run(self) -> None:
        """Read the accounts, then look at the day and write what has changed, until cancelled."""
        self._accounts = await self._worker.do(self._ledger.read)
        self._read, self._day = True, self._today()
        for name, run in list(self._runs.items()):
            self._begin(name, run)
        early, self._early = self._early, []
        for happened in early:
            happened()
        self._judge(self._declared)
        while True:
            await asyncio.sleep(_EVERY)
            today = self._today()
            if today != self._day:
                self._day = today
                self._accounts = {
                    name: each for name, each in self._accounts.items() if name in self._declared or each.day == today
                }
                self._judge(self._declared)
            for name in [name for name, use in self._shown.items() if use.breach is not None]:
                self._interrupt(name)
            await self._write()

    async def _write(self) -> None:
        if self._dirty:
            self._dirty = False
            accounts, day, zone = dict(self._accounts), self._today(), self._zone_name or "the system's"
            written = False
            try:
                written = await self._worker.do(lambda: self._ledger.write(accounts, day, zone))
            finally:
                self._dirty = self._dirty or not written

    async def kept(self, agent: str) -> None:
        """Wait until what was told of an agent that has a budget is on disk, or could not be written in time."""
        if not any(self._budgets(agent.lower())):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WRITE):
                # What is being read, or written by somebody else, is then.
                await self._worker.do(_nothing)
                await self._write()
                await self._worker.do(_nothing)

    async def close(self) -> None:
        """Write what has changed."""
        try:
            async with asyncio.timeout(_LAST_WRITE):
                await self._write()
        except TimeoutError:
            log.warning("budgets_not_kept", reason=f"the disk does not answer within {_LAST_WRITE:g} s")
        self._worker.close()


def _nothing() -> None:
    """Take one's turn."""
