"""The thread in which turns are watched, and the supervisor's side of it.

A loop of its own: whatever an adapter or a flood of hooks does there holds up no agent, no API and no tmux. The two
loops exchange frozen values. While that loop does not go round, nothing that it said is shown.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from agentd.files.looks import Looks
from agentd.files.paths import path_of
from agentd.harness.additions import Additions, LaunchFacts
from agentd.model.approvals import ApprovalRule
from agentd.model.events import Detail, Event, EventKind
from agentd.model.states import Activity
from agentd.model.user import AgentUser
from agentd.supervise.applying import DRAFT, NO_BOX
from agentd.supervise.budgets import BudgetUse
from agentd.supervise.run_watcher import DeclaredAgent, NotTold, StartedRun, Told, WatchedRun
from agentd.tmux.panes import Pane
from agentd.turns.activity import NOBODY_SPEAKS, SCREEN
from agentd.turns.adapter import Adapter, Ground, LiveRun, Terminal, TurnsError, Typed
from agentd.turns.budgets.launches import LaunchHolds
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.conversations import Conversations, Remembered
from agentd.turns.events import TurnEvent
from agentd.turns.file_changes import FileChanges
from agentd.turns.hook_socket import HookSocket
from agentd.turns.limit_watch import ZONE
from agentd.turns.loop_calls import LoopCalls
from agentd.turns.messages.store import Store
from agentd.turns.requests import Access, Requests
from agentd.turns.run_sockets import RunSockets
from agentd.turns.run_watch import RunWatch
from agentd.turns.sending import Screen, held_in_box
from agentd.turns.turns import Turns

log = structlog.get_logger(__name__)

T = TypeVar("T")

_BEAT = 2.0
"""Seconds between two signs of life."""

_STUCK = 10.0
"""Seconds without a sign of life after which nothing that was said is believed."""

_END_LIMIT = 2.0

_HOME, _HOME_INSIDE, _STAYS, _RESUMES = "agentd-home", "agentd-home-inside", "agentd-stays", "agentd-resumes"
"""In the memo, beside what the adapter keeps there."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the daemon gives the thread."""

    adapters: Mapping[str, Adapter]
    user: AgentUser
    access: Access
    hook_socket: str | None
    sink: Callable[[Event], None]
    """Takes events, in the daemon's loop."""
    redact: Callable[[str], str]
    """Takes secret values out of a text that will be shown."""
    conversations: Conversations
    messages: Path
    """The file that keeps messages."""
    ledger: Ledger
    """Keeps what agents have used of their budgets."""
    changed: Callable[[str], None]
    """Told the id of a run that is doing something else, in the daemon's loop."""
    may_launch: Callable[[], None]
    """Called in the daemon's loop when an agent that may not be launched perhaps may be."""
    terminal: Callable[[StartedRun], Terminal]
    """The terminal of a run; its calls are made in the daemon's loop."""
    empty_box: Callable[[str], str | None]
    """What stands left of the cursor while the input box of a harness is empty, as in its facts."""


class TurnsThread:
    """Watches runs in a thread; the supervisor's `RunWatcher`."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._daemon = asyncio.get_running_loop()
        self._to_daemon = LoopCalls(self._daemon).make
        self._to_thread: Callable[[Callable[[], object]], None]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._hook_socket = setting.hook_socket
        self._beat = time.monotonic()
        self._shown: dict[str, WatchedRun] = {}
        self._told: dict[str, Told] = {}
        """Written in the thread, a value at a time: a call of the daemon's loop for each word would be too many."""
        self._used: dict[str, BudgetUse] = {}
        """By the agent's name in lower case."""
        self._launches = LaunchHolds(setting.ledger.read(), time.time)
        self._panes: dict[str, tuple[str, Pane]] = {}
        """The harness and the pane of each run."""
        self._terminals: dict[str, tuple[str, Terminal]] = {}
        """The harness and the terminal of each run."""
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)
        self._thread.start()
        self._ready.wait()

    # -- in the thread

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._to_thread = LoopCalls(self._loop, self._daemon).make
            runner.run(self._main())

    async def _main(self) -> None:
        looks = Looks()
        changes = FileChanges(looks)
        ground = Ground(looks, changes, self._setting.user, time.time)
        self._turns = Turns(self._setting.adapters, ground, self, Store(self._setting.messages), self._setting.ledger)
        requests = Requests(self._turns, self._setting.access)
        self._socket = HookSocket(requests.may_connect, requests.handle)
        self._run_sockets = RunSockets(requests.may_connect, requests.of_sandbox)
        self._stop = asyncio.Event()
        tasks = [
            asyncio.create_task(changes.run(), name="files"),
            asyncio.create_task(self._live(), name="beat"),
            asyncio.create_task(self._turns.background.run(), name="background"),
            asyncio.create_task(self._turns.budgets.run(), name="budgets"),
            asyncio.create_task(self._turns.deliveries.open(), name="messages of a former daemon"),
        ]
        self._ready.set()
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self._socket.close()
        await self._run_sockets.close_all()
        await self._turns.close()
        looks.close()

    def talked(self, run: RunWatch) -> None:
        """Remember a conversation."""
        facts = run.run.facts
        assert run.session is not None
        self._remember(facts.agent, Remembered(facts.harness, str(facts.workdir), run.session, facts.run_id))

    def _remember(self, agent: str, conversation: Remembered) -> None:
        if self._setting.conversations.remember(agent, conversation):
            self._setting.conversations.write_soon()

    async def restored(self, agent: str, conversation: Remembered) -> bool:
        """Remember a conversation that somebody brought back; says whether a later agentd does, too."""
        self._remember(agent, conversation)
        return await self._setting.conversations.kept()

    def not_resumed(self, run: RunWatch) -> None:
        """Forget a conversation that a run failed to go on with."""
        log.warning("conversation_not_resumed", agent=run.agent, effect="the next run begins another conversation")
        if self._setting.conversations.forget(run.agent):
            self._setting.conversations.write_soon()

    def happened(self, run: RunWatch, event: TurnEvent) -> None:  # noqa: ARG002 (the protocol's)
        """Note that the program told something, and what its tools are; the journal is told by `emit`."""
        turn = run.conversation.turn
        tools = () if turn is None else tuple(each.name for each in turn.tools)
        if run.run_id in self._shown:
            self._told[run.run_id] = Told(time.monotonic(), tools)

    def used(self, agent: str, run_ids: tuple[str, ...], use: BudgetUse) -> None:
        """Pass on what an agent has used of its budget."""
        self._to_daemon(partial(self._take_use, agent, run_ids, use))

    def unheard(self, run: RunWatch) -> None:
        """Nothing to do: what is shown of the run changes, too."""

    async def _live(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(_BEAT)

    def emit(self, agent: str, kind: EventKind, reason: str | None, data: dict[str, Detail]) -> None:
        """Pass on what the journal keeps."""
        self._to_daemon(partial(self._setting.sink, Event(kind, agent, reason, data)))

    def changed(self, run: RunWatch) -> None:
        """Pass on what is shown of a run."""
        current = run.current
        if current is not None:
            doing = current.doing
            blind = doing.blind or run.wants_screen
            shown = WatchedRun(
                doing.activity,
                current.since,
                doing.source,
                doing.text,
                run.session,
                blind,
                run.limits.hit,
                doing.background,
            )
            self._to_daemon(partial(self._take, run.run.facts.run_id, shown))

    # -- in the daemon's loop

    @property
    def hook_socket(self) -> str | None:
        """Where agents may say what they do."""
        return self._hook_socket

    def without_hooks(self) -> None:
        """Tell agents of no socket: there is none."""
        self._hook_socket = None

    def additions(self, facts: LaunchFacts) -> Additions | None:
        """What is added to a launch; nothing, if the adapter fails to say."""
        added = Additions(facts.argv)
        adapter = self._setting.adapters.get(facts.harness)
        if adapter is not None:
            try:
                added = adapter.additions(facts)
            except Exception as error:  # noqa: BLE001 (an adapter may raise anything: its agent runs as declared)
                reason = f"{type(error).__name__}: {error}"
                log.warning("agent_not_watched", agent=facts.agent, harness=facts.harness, reason=reason)
        own = {
            _HOME: str(facts.home),
            **({} if facts.home_inside is None else {_HOME_INSIDE: str(facts.home_inside)}),
            _STAYS: "yes" if facts.stays else "",
            _RESUMES: facts.resume or "",
            ZONE: facts.environment.get("TZ", ""),
        }
        memo = {**added.memo, **own}
        return replace(added, memo=memo)

    def conversation(self, agent: str, harness: str, workdir: Path) -> str | None:
        """The conversation that a run may go on with."""
        return self._setting.conversations.of(agent, harness, str(workdir))

    def serve(self, run_id: str, bound: socket.socket) -> None:
        """Take on this socket what the sandbox of a run posts."""
        self._to_thread(partial(self._run_sockets.serve, run_id, bound))

    def started(self, run: StartedRun) -> None:
        """Watch a run; by its screen alone if it was launched without our additions."""
        memo = run.memo or {}
        if run.pane is not None:
            self._panes[run.run_id] = run.harness, run.pane
        doing = NOBODY_SPEAKS
        self._shown[run.run_id] = WatchedRun(doing.activity, time.time(), doing.source, None, None)
        facts = LaunchFacts(
            agent=run.agent,
            run_id=run.run_id,
            harness=run.harness,
            argv=(),
            environment={},
            workdir=run.workdir,
            home=path_of(memo.get(_HOME) or str(self._setting.user.home)),
            stays=bool(memo.get(_STAYS)),
            file=run.files.file,
            socket=run.files.socket,
            resume=memo.get(_RESUMES) or None,
            home_inside=Path(memo[_HOME_INSIDE]) if memo.get(_HOME_INSIDE) else None,
        )
        own = self._setting.terminal(run)
        self._terminals[run.run_id] = run.harness, own
        terminal = _FarTerminal(own, self._daemon)
        known = self._setting.conversations.of_run(run.agent, run.run_id)
        live = LiveRun(facts, run.process, memo, terminal, known, run.limit)
        watched = run.memo is not None
        self._to_thread(partial(self._turns.started, live, by_adapter=watched, goes_on=run.goes_on))

    def adopted(self) -> None:
        """Say that the runs of a former daemon are all known."""
        self._to_thread(self._turns.adopted.set)

    def declared(self, agents: Sequence[DeclaredAgent], *, all_known: bool) -> None:
        """Say which agents are declared."""
        self._launches.declared(agents)
        self._to_thread(partial(self._turns.declared, agents, all_known=all_known))

    def approve(self, rules: Sequence[ApprovalRule]) -> None:
        """Follow these rules for what agents ask for."""
        self._to_thread(partial(self._turns.approve, rules))

    def stopping(self, run_id: str) -> None:
        """Hand a run no message any more."""
        self._to_thread(partial(self._turns.stopping, run_id))

    def ended(self, run_id: str, *, succeeded: bool, killed: bool = False) -> None:
        """Watch a run no more."""
        self._panes.pop(run_id, None)
        self._terminals.pop(run_id, None)
        self._to_thread(partial(self._run_sockets.close, run_id))
        shown = self._shown.pop(run_id, None)
        self._told.pop(run_id, None)
        if shown is not None:
            self._to_thread(partial(self._turns.ended, run_id, succeeded=succeeded, killed=killed))

    def shown(self, run_id: str) -> WatchedRun | None:
        """What a run is doing."""
        shown = self._shown.get(run_id)
        if shown is not None and time.monotonic() - self._beat > _STUCK:
            return replace(shown, activity=Activity.UNKNOWN, source=NOBODY_SPEAKS.source, text=None)
        return shown

    def told(self, run_id: str) -> Told | None:
        """What the run's program told last of a turn."""
        return self._told.get(run_id)

    def interrupt(self, run_id: str, told: Callable[[str | None], None]) -> None:
        """Interrupt the run's turn."""
        self._to_thread(partial(self._turns.interrupt, run_id, lambda error: self._to_daemon(partial(told, error))))

    def budget(self, agent: str) -> BudgetUse | None:
        """What an agent has used of its budget."""
        return self._used.get(agent.lower())

    def launch_hold(self, agent: str) -> str | None:
        """Why an agent may not be launched now by what was used today."""
        return self._launches.why_not(agent)

    async def box(self, run_id: str) -> str | None:
        """Say in words what stands in the run's input box, or that it is not shown."""
        harness, terminal = self._terminals.get(run_id, (None, None))
        empty_box = None if harness is None else self._setting.empty_box(harness)
        if terminal is None or empty_box is None:
            return None
        try:
            screen = await terminal.look()
        except TurnsError:
            return NO_BOX
        if re.fullmatch(empty_box, screen.before_cursor):
            return None
        return NO_BOX if held_in_box(screen, empty_box) is None else DRAFT

    def go_on(self, run_id: str, number: int, told: Callable[[NotTold | None], None]) -> None:
        """Have a run go on after a usage limit."""
        self._to_thread(partial(self._turns.go_on, run_id, number, lambda why: self._to_daemon(partial(told, why))))

    def unseen(self, harnesses: Collection[str]) -> dict[str, Pane]:
        """The runs of these harnesses of which no record tells all that they do, and their panes."""
        return {
            run_id: pane
            for run_id, (harness, pane) in self._panes.items()
            if harness in harnesses and _unseen(self._shown[run_id])
        }

    def saw(self, run_id: str, ansi: str, title: str) -> None:
        """Take what a run's terminal shows."""
        self._to_thread(partial(self._turns.saw, run_id, ansi, title))

    async def listen(self, bound: socket.socket) -> None:
        """Serve hooks on this bound socket, instead of the one before."""
        assert self._loop is not None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._socket.listen(bound), self._loop))

    async def close(self) -> None:
        """End the thread, or leave it behind if an adapter holds it up."""
        self._to_thread(self._stop.set)
        until = time.monotonic() + _END_LIMIT
        while self._thread.is_alive():
            if time.monotonic() > until:
                log.warning("turns_left_behind", reason=f"an adapter has held up its thread for {_END_LIMIT:g} s")
                return
            await asyncio.sleep(0.005)

    def _take(self, run_id: str, shown: WatchedRun) -> None:
        if run_id in self._shown:
            if shown.text is not None or shown.limit is not None:
                text = None if shown.text is None else self._setting.redact(shown.text)
                limit = None if shown.limit is None else replace(shown.limit, text=text)
                shown = replace(shown, text=text, limit=limit)
            self._shown[run_id] = shown
            self._setting.changed(run_id)

    def _take_use(self, agent: str, run_ids: tuple[str, ...], use: BudgetUse) -> None:
        self._used[agent.lower()] = use
        self._launches.used(agent, use.account)
        for run_id in run_ids:
            self._setting.changed(run_id)
        self._setting.may_launch()


def _unseen(shown: WatchedRun) -> bool:
    return shown.activity is Activity.UNKNOWN or shown.source == SCREEN or shown.blind


@dataclass(frozen=True, slots=True)
class _FarTerminal:
    """A terminal whose calls are made in the daemon's loop."""

    terminal: Terminal
    loop: asyncio.AbstractEventLoop

    async def send(self, typed: Typed) -> None:
        await self._there(self.terminal.send(typed))

    async def look(self) -> Screen:
        return await self._there(self.terminal.look())

    async def press(self, key: str) -> None:
        await self._there(self.terminal.press(key))

    async def show(self) -> str:
        return await self._there(self.terminal.show())

    async def waits(self) -> bool | None:
        return await self._there(self.terminal.waits())

    async def _there(self, call: Coroutine[object, object, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self.loop))
