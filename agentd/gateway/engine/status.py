"""How the gateway does, and what is the matter with a run."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

import agentd
from agentd.api.client.socket import RefusedError
from agentd.files.worker import in_thread
from agentd.gateway.engine import steps
from agentd.gateway.engine.core import Core
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.diagnosis import Facts, likely_issue, without_secrets
from agentd.gateway.model.errors import AgentdUnreachableError
from agentd.gateway.model.objects import Event, Json, JsonObject
from agentd.gateway.model.results import CodexInvocation, DaemonStatus, Diagnosis, Diagnostics
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store import events, runs
from agentd.gateway.store.runs import Stage
from agentd.gateway.store.sessions import StoredSession
from agentd.gateway.talk.definitions import DefinitionsError
from agentd.text.timestamps import rfc3339_milliseconds

_TAIL: Final = 20
"""Lines of the terminal that are shown."""

_CODEX: Final = "codex"
_PROFILE: Final = ("-p", "--profile")

_LONGEST_ARGV: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Agent:
    """An agent, as agentd shows it."""

    reachable: bool = False
    shown: JsonObject | None = None
    screen: str | None = None

    def text(self, name: str) -> str | None:
        value = self._value(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        value = self._value(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def _value(self, name: str) -> Json:
        return None if self.shown is None else self.shown.get(name)


class Status:
    """The status of the gateway and its runs."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._started = time.monotonic()

    async def daemon(self) -> DaemonStatus:
        """Report the status of the gateway."""
        reachable = await self._core.agentd.reachable()
        async with self._core.database.read() as connection:
            counts = await runs.counts(connection)
            busy = len(await runs.working(connection))
        return DaemonStatus(
            daemon_health="ok" if reachable and self._core.database.trouble is None else "degraded",
            max_concurrency=self._core.options.max_concurrency,
            alive_workers=self._alive(reachable),
            busy_workers=busy,
            queue_counts=counts,
            uptime_s=round(time.monotonic() - self._started, 3),
            version=agentd.__version__,
            pid=os.getpid(),
        )

    def _alive(self, reachable: bool) -> int:
        return self._core.options.max_concurrency if reachable else 0

    async def diagnose(self, caller: Caller, run_id: str) -> Diagnosis:
        """Say what is known of a run that may be stuck."""
        async with self._core.database.read() as connection:
            stored = await steps.find_run(connection, caller, run_id)
            session = await steps.find_session(connection, caller, stored.run.session_id)
            counts = await runs.counts(connection)
            working = await runs.working(connection)
            last = await events.last_of_run(connection, run_id)
            position = await runs.queue_position(connection, stored) if stored.status is RunStatus.QUEUED else None
        agent = await self._agent(stored.target)
        since = None if last is None else max(0.0, self._core.wall() - last.created_at)
        most = self._core.options.max_concurrency
        facts = Facts(
            agentd_reachable=agent.reachable,
            session_busy=any(each.target == stored.target for each in working),
            workers_free=len(working) < most,
            agent_state=agent.text("state"),
            agent_error=agent.text("error"),
            activity=agent.text("activity"),
            seconds_since_event=since,
        )
        pid = agent.number("pid")
        diagnostics = Diagnostics(
            worker_id=stored.run.worker_id,
            worker_alive=stored.stage is Stage.WORKING and agent.reachable,
            alive_workers=self._alive(agent.reachable),
            max_concurrency=most,
            queue_counts=counts,
            queue_position=position,
            likely_issue=likely_issue(stored.run, facts).value,
            active_pid=pid,
            provider_thread_id=session.session.provider_thread_id,
            last_event_at=_time(last),
            seconds_since_event=None if since is None else round(since, 3),
            exit_code=stored.run.exit_code,
            stderr_tail=agent.screen,
            argv=None if pid is None else await in_thread("argv", lambda: _argv(pid)),
            activity=agent.text("activity"),
            codex_invocation=await self._codex(session),
        )
        return Diagnosis(stored.run, diagnostics)

    async def _agent(self, name: str) -> _Agent:
        try:
            shown = await self._core.agentd.agent(name)
            screen = None if shown is None else await self._core.agentd.screen_tail(name, _TAIL)
        except (AgentdUnreachableError, RefusedError):
            return _Agent()
        return _Agent(True, shown, screen)

    async def _codex(self, session: StoredSession) -> CodexInvocation:
        # Scripts ask for its fields of whatever run.
        if session.session.harness != _CODEX:
            return codex_invocation(())
        try:
            agents = await self._core.definitions.agents()
        except DefinitionsError:
            return codex_invocation(())
        spec = agents.get((session.session.agent or "").lower())
        return codex_invocation(() if spec is None else spec.args)


def codex_invocation(args: tuple[str, ...]) -> CodexInvocation:
    """Read how Codex is started from the arguments in the jcard."""
    profile = None
    for word, following in zip_longest(args, args[1:]):
        name, equals, value = word.partition("=")
        if name in _PROFILE:
            profile = value if equals else following
    return CodexInvocation(profile, without_secrets(args))


def _time(last: Event | None) -> str | None:
    return None if last is None else rfc3339_milliseconds(last.created_at)


def _argv(pid: int) -> tuple[str, ...] | None:
    try:
        with Path(f"/proc/{pid}/cmdline").open("rb") as file:
            words = file.read(_LONGEST_ARGV).split(b"\0")
    except OSError:
        return None
    return without_secrets(tuple(word.decode(errors="replace") for word in words[:-1]))
