"""All runs that are watched, and what follows from their news: streams and deliveries. Lives in a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Protocol

import structlog

from agentd.model.approvals import ApprovalRule
from agentd.model.events import Detail, EventKind
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.supervise.run_watcher import DeclaredAgent, NotTold
from agentd.turns import peers
from agentd.turns.activity import SCREEN, Rank, Seen
from agentd.turns.adapter import Adapter, Ground, LiveRun, TurnsError
from agentd.turns.approvals.approver import Approver
from agentd.turns.background import Background
from agentd.turns.budgets.book import Budgets, Shows
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.conversations import Remembered
from agentd.turns.events import Ended, PermissionAsked, PermissionResolved, TurnEvent
from agentd.turns.going_on import GoingOn
from agentd.turns.messages.deliveries import Deliveries
from agentd.turns.messages.message import Message, Status
from agentd.turns.messages.store import Store
from agentd.turns.outlet import Outlet
from agentd.turns.run_watch import RunWatch
from agentd.turns.screen.judging import judge_screen
from agentd.turns.streams import Stream, Streams, event_line, message_line

log = structlog.get_logger(__name__)


class NoSuchAgentError(Exception):
    """There is no such agent, or it is not running; the text says which."""


class NotYetError(Exception):
    """It is not known yet which agents are declared."""


class Memory(Outlet[RunWatch], Shows, Protocol):
    """Where news go, and conversations are remembered."""

    async def restored(self, agent: str, conversation: Remembered) -> bool:
        """Somebody brought back a conversation that the agent's next run is to go on with; says whether it is kept."""
        ...


class Turns:
    """The runs that are watched.

    Parameters
    ----------
    adapters
        By harness.
    outlet
        Where their news go, beside the streams.
    store
        Keeps messages.
    ledger
        Keeps what agents have used of their budgets.
    """

    def __init__(
        self, adapters: Mapping[str, Adapter], ground: Ground, outlet: Memory, store: Store, ledger: Ledger
    ) -> None:
        self._adapters = adapters
        self._ground = ground
        self._outlet = outlet
        self._streams = Streams()
        self.budgets = Budgets(ledger, ground.wall, outlet, self._do)
        self.deliveries = Deliveries(
            store, ground.wall, self._message_changed, self._takes_messages, self.budgets.holds
        )
        self.background = Background()
        self.approver = Approver(ground.looks, self.emit, self._do)
        self.adopted = asyncio.Event()
        """Set once the runs that a former daemon left are known."""
        self._declared: Mapping[str, DeclaredAgent] | None = None
        """By name in lower case; ``None`` while that is not known."""
        self._all_known = False
        self.told = asyncio.Event()
        """Set once it is known which agents are declared."""
        self._runs: dict[str, RunWatch] = {}
        self._arrival = asyncio.Event()
        """Set when the next run is watched."""
        self._by_pid: dict[int, tuple[ProcessIdentity, RunWatch]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: dict[str, asyncio.Task[None]] = {}
        """What an agent's last run leaves being settled, by the agent's name in lower case."""
        self._going_on = GoingOn(self.deliveries, self.budgets.holds, self._do)
        self.forgotten: Callable[[str], object] = lambda _run_id: None
        """Called with the id of each run that is not watched any more."""

    # -- the supervisor's side

    def declared(self, agents: Sequence[DeclaredAgent], *, all_known: bool) -> None:
        """Say which agents are declared; without `all_known` there may be more."""
        self._declared = {agent.name.lower(): agent for agent in agents}
        self._all_known = all_known
        self.told.set()
        self._apply_declared()
        self.budgets.declared(self._declared)

    def _apply_declared(self) -> None:
        if self._declared is not None:
            there = frozenset(self._declared) | {watch.agent.lower() for watch in self._runs.values()}
            self._streams.declared(there)
            self.deliveries.declared(there, all_known=self._all_known)

    def started(self, run: LiveRun, *, by_adapter: bool, goes_on: bool = False) -> None:
        """Watch a run; without an adapter, its screen alone tells.

        Parameters
        ----------
        goes_on
            Whether it was launched to go on with the conversation of one that did not go on.
        """
        adapter = self._adapters.get(run.facts.harness) if by_adapter else None
        watch = RunWatch(run, self._ground, self)
        self._runs[run.facts.run_id] = watch
        self._arrival.set()
        self._arrival = asyncio.Event()
        self._by_pid[run.process.pid] = run.process, watch
        self.budgets.started(watch)
        if adapter is not None:
            watch.begin(adapter)
            self._begin(watch)
            if goes_on:
                self._going_on.launched_again(watch)

    def _begin(self, watch: RunWatch) -> None:
        """Have a run take messages, once what its agent's last run was handed is settled."""
        ending = self._ending.get(watch.agent.lower())
        if ending is not None:
            ending.add_done_callback(lambda _: self._begin(watch))
        elif self._runs.get(watch.run_id) is watch:
            self.deliveries.began(watch.agent, watch)

    def stopping(self, run_id: str) -> None:
        """Hand a run no message any more: the agent's next run gets what waits."""
        if (watch := self._runs.get(run_id)) is not None:
            watch.stops = True

    def ended(self, run_id: str, *, succeeded: bool, killed: bool = False) -> None:
        """Watch a run no more."""
        watch = self._runs.pop(run_id, None)
        if watch is None:
            return
        self.forgotten(run_id)
        self.background.forget(run_id)
        self.budgets.ended(run_id)
        # One that was killed says nothing of its conversation.
        if watch.run.facts.resume is not None and not watch.talked and not succeeded and not killed:
            self._outlet.not_resumed(watch)
        if self._by_pid.get(watch.run.process.pid, (None, None))[1] is watch:
            del self._by_pid[watch.run.process.pid]
        name = watch.agent.lower()
        ending = self._ending[name] = self._do(self._end(watch, succeeded=succeeded), f"end of {watch.agent}")
        ending.add_done_callback(lambda done: self._ending.pop(name) if self._ending.get(name) is done else None)

    def approve(self, rules: Sequence[ApprovalRule]) -> None:
        """Follow these rules for what agents ask for."""
        self.approver.configure(rules, list(self._runs.values()))

    def go_on(self, run_id: str, number: int, told: Callable[[NotTold | None], None]) -> None:
        """Have a run go on after a usage limit; tells why that could not be done, or ``None``."""
        watch = self._runs.get(run_id)
        if watch is None:
            told(NotTold("it is not running"))
            return
        self._going_on.after_limit(watch, number, told)

    def interrupt(self, run_id: str, told: Callable[[str | None], None]) -> None:
        """Interrupt a run's turn; tells why that could not be asked for, or ``None``."""
        watch = self._runs.get(run_id)
        if watch is None:
            told("it is not running")
            return
        _ = self._do(self._interrupt(watch, told), f"interrupting {watch.agent}")

    async def _interrupt(self, watch: RunWatch, told: Callable[[str | None], None]) -> None:
        try:
            told(None if await watch.interrupt() else "no turn of it is known to be under way")
        except TurnsError as error:
            told(str(error))

    def _do(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end(self, watch: RunWatch, *, succeeded: bool) -> None:
        await watch.read_rest()
        await self.deliveries.settle(watch.agent, watch)
        await watch.end(succeeded=succeeded)
        self.deliveries.over(watch.agent, watch, "the agent ended")
        self._apply_declared()

    def saw(self, run_id: str, ansi: str, title: str) -> None:
        """Take what a run's terminal shows."""
        watch = self._runs.get(run_id)
        if watch is None:
            return
        watch.saw(ansi)
        try:
            found = judge_screen(watch.run.facts.harness, ansi, title)
        except Exception as error:  # noqa: BLE001 (a third party's rules may be wrong in any way)
            log.warning("screen_not_judged", agent=watch.agent, reason=f"{type(error).__name__}: {error}")
            return
        if found.activity is Activity.UNKNOWN:
            watch.seen(SCREEN, None)
        else:
            watch.seen(SCREEN, Seen(found.activity, self._ground.wall(), found.text or "", Rank.SCREEN))

    async def close(self) -> None:
        """Let go of all runs, which go on."""
        await asyncio.gather(*(watch.let_go() for watch in self._runs.values()))
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.deliveries.close()
        await self.budgets.close()

    # -- the runs' news

    def changed(self, run: RunWatch) -> None:
        """What is shown of a run has changed."""
        self._outlet.changed(run)
        if run.current is None or run.run_id not in self._runs:
            return
        doing = run.current.doing
        document = {"activity": doing.activity.value, "activity_source": doing.source, "activity_text": doing.text}
        self._tell(run, {**document, "kind": "activity"})
        self.deliveries.look(run.agent)

    def talked(self, run: RunWatch) -> None:
        """A turn began in the conversation that a run has."""
        self._outlet.talked(run)

    def not_resumed(self, run: RunWatch) -> None:
        """A run failed to go on with a conversation."""
        self._outlet.not_resumed(run)

    def emit(self, agent: str, kind: EventKind, reason: str | None, data: dict[str, Detail]) -> None:
        """Something that the journal keeps."""
        self._outlet.emit(agent, kind, reason, data)

    def happened(self, run: RunWatch, event: TurnEvent) -> None:
        """Something happened in a turn."""
        if isinstance(event, Ended):
            self.background.turn_ended(run)
        self._outlet.happened(run, event)
        if isinstance(event, PermissionAsked):
            self.approver.asked(run, event.request)
        elif isinstance(event, PermissionResolved):
            self.approver.over(run.run_id, event.request)
        self.budgets.happened(run, event)
        changes = self.deliveries.took(run.agent, run)
        self._tell(run, event_line(event))
        for change in changes:
            self._message_changed(change)
        self.deliveries.look(run.agent)

    def unheard(self, run: RunWatch) -> None:
        """Nothing more is heard of a run's turns."""
        self._outlet.unheard(run)
        self.deliveries.over(run.agent, run, "agentd does not hear of its turns any more")

    def _tell(self, run: RunWatch, document: dict[str, object]) -> None:
        turn = run.conversation.turn or (run.conversation.last if document["kind"] != "activity" else None)
        name = None if turn is None else turn.id or None
        head = {"at": self._ground.wall(), "turn": name, "message": self.deliveries.of_turn(run.agent, name)}
        self._streams.of(run.agent, self._ground.wall()).add({**document, **head, "run": run.run_id})

    def _message_changed(self, message: Message) -> None:
        self._going_on.changed(message)
        if message.status in (Status.FAILED, Status.EXPIRED):
            data = {"message": message.id, "sender": message.sender, "status": message.status.value}
            self.emit(message.agent, EventKind.MESSAGE_UNDELIVERED, message.error, {**data})
        self._streams.of(message.agent, self._ground.wall()).add(message_line(message))

    # -- those who ask

    def running(self, name: str) -> RunWatch:
        """The run of an agent.

        Raises
        ------
        NoSuchAgentError
            If there is none.
        """
        found = self._running(name)
        if found is None:
            raise NoSuchAgentError(f"no agent {name} is running")
        return found

    def _running(self, name: str) -> RunWatch | None:
        found = [watch for watch in self._runs.values() if watch.agent.lower() == name.lower()]
        return found[-1] if found else None

    def receiver(self, name: str) -> str:
        """The name of an agent, as it is declared, that takes messages.

        Raises
        ------
        NoSuchAgentError
            If none is declared.
        NotYetError
            If that is not known yet.
        TurnsError
            If it takes none.
        """
        watch = self._running(name)
        declared = self._find_declared(name)
        if declared is None:
            assert watch is not None, "or it would not have been found"
            return watch.agent
        refusal = declared.takes_no_messages
        if refusal is None and declared.harness not in self._adapters:
            refusal = f"nothing tells of the turns of harness {declared.harness}"
        if refusal is not None:
            raise TurnsError(f"{declared.name} takes no messages here: {refusal}; agentctl send types at its terminal")
        return declared.name

    async def restore(self, name: str, conversation: Remembered) -> None:
        """Have the agent's next run go on with a conversation; the agent need not be declared yet.

        Raises
        ------
        TurnsError
            If it runs: it would go on with the one that it has.
        NotYetError
            If a later agentd may not know of it: it cannot be written down now.
        """
        if self._running(name) is not None:
            raise TurnsError(f"{name} is running: stop it first")
        declared = self._find_declared(name)
        if not await self._outlet.restored(name if declared is None else declared.name, conversation):
            raise NotYetError("agentd cannot write the conversation down, as its log says; try again")

    def known_agent(self, name: str) -> tuple[str, str | None]:
        """The name of an agent as it is declared, and where it works, if it runs.

        Raises
        ------
        NoSuchAgentError, NotYetError
            As `receiver` does.
        """
        watch, declared = self._running(name), self._find_declared(name)
        workdir = None if watch is None else str(watch.run.facts.workdir)
        if declared is not None:
            return declared.name, workdir
        assert watch is not None, "or it would not have been found"
        return watch.agent, workdir

    def _takes_messages(self, name: str) -> bool:
        try:
            self.receiver(name)
        except (NoSuchAgentError, TurnsError):
            return False
        except NotYetError:
            return True
        return True

    def stream(self, name: str) -> Stream:
        """The stream of an agent.

        Raises
        ------
        NoSuchAgentError, NotYetError
            As `receiver` does.
        """
        self._find_declared(name)
        return self._streams.of(name, self._ground.wall())

    def _find_declared(self, name: str) -> DeclaredAgent | None:
        """An agent as it is declared; ``None`` if it runs, and its declaration is not known."""
        declared = None if self._declared is None else self._declared.get(name.lower())
        if declared is not None:
            return declared
        if self._running(name) is not None and not self._all_known:
            return None
        if self._declared is None:
            raise _not_read()
        raise NoSuchAgentError(f"no agent {name} is declared")

    async def known(self, run_id: str) -> RunWatch:
        """Wait for a run whose process may not be reported yet."""
        while run_id not in self._runs:
            await self._arrival.wait()
        return self._runs[run_id]

    def run_of(self, pid: int) -> RunWatch | None:
        """The run that a process belongs to."""
        return peers.run_of(pid, self._by_pid)

    def may_talk(self, pid: int, name: str) -> bool:
        """Whether a process may talk to an agent: from inside a run only to that agent's workers, and to theirs.

        Raises
        ------
        NotYetError
            If it is in a run, and who is whose worker is not known yet.
        """
        if not peers.is_in_a_run(pid, self._by_pid):
            return True
        watch = self.run_of(pid)
        if watch is None:
            return False
        if self._declared is None:
            raise _not_read()
        return peers.is_worker_of(watch.agent, name, self._declared)


def _not_read() -> NotYetError:
    return NotYetError("agentd has not read yet which agents are declared; try again")
