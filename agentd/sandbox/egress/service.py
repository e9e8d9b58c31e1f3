"""Keeps the proxy as the agents that run need it: their rules, their secrets' present values, and that it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from agentd.files.worker import in_thread
from agentd.launch.pipes import TRUSTED_SUFFIX
from agentd.model.destinations import LOCALHOST, Destination
from agentd.model.spec import SandboxSpec
from agentd.model.user import AgentUser
from agentd.sandbox.compose import TRUSTED
from agentd.sandbox.egress.certificates import bundle, make_certificates, trusting
from agentd.sandbox.egress.connection import Connection
from agentd.sandbox.egress.control import End, Serve
from agentd.sandbox.egress.kept import Kept, KeptFiles
from agentd.sandbox.egress.placeholders import placeholder_for
from agentd.sandbox.egress.reach import PORT, Reach
from agentd.sandbox.support import SandboxError

log = structlog.get_logger(__name__)

FOLDER: Final = "egress"
"""Of the state directory."""
_AGAIN: Final = 1.0
"""Seconds until a proxy that ended is started again."""

_PROXY: Final = f"http://127.0.0.1:{PORT}"
_PROXY_VARIABLES: Final = ("http_proxy", "https_proxy", "all_proxy")
_DIRECT: Final = (LOCALHOST, "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class WayOut:
    """What a run gets so that it reaches what it may."""

    environment: Mapping[str, str] = field(repr=False)
    trusted: bytes | None = field(repr=False)
    """What is to be at `TRUSTED`, if it is the proxy that must be trusted."""
    trusted_at: Path | None
    """Where that is kept outside."""
    pipes: Path
    """What the paths of its FIFOs begin with."""
    reach: Reach = field(repr=False)


@dataclass(frozen=True, slots=True)
class Running:
    """A run that is to be served."""

    run_id: str
    agent: str
    spec: SandboxSpec
    values: Mapping[str, str] = field(repr=False)
    """Of the secrets that it uses without reading them."""
    bubblewrap: int | None
    """Its process, once it is known."""


class Egress:
    """The ways out of all sandboxes.

    Parameters
    ----------
    user
        Whom the agents run as.
    environ
        agentd's environment.
    state_dir
        Nobody's but agentd's.
    runtime
        The runtime directory.
    runs
        All runs that are to be served.
    """

    def __init__(
        self,
        user: AgentUser,
        environ: Mapping[str, str],
        state_dir: Path,
        runtime: Path,
        runs: Callable[[], Iterable[Running]],
    ) -> None:
        self._environ = dict(environ)
        self._runtime = runtime
        self._files = KeptFiles(state_dir / FOLDER)
        self._connection = Connection(user, environ, state_dir / FOLDER, runtime, self._ended)
        self._kept: dict[str, Kept] = {}
        self._served: dict[str, Reach] = {}
        self._said: dict[str, str] = {}
        """Why a run is not served, which is logged once."""
        self._pruned = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wanted: Mapping[str, Running] = {}
        self._runs = runs

    # -- a launch

    async def make_ready(self, run_id: str, agent: str, spec: SandboxSpec, values: Mapping[str, str]) -> WayOut:
        """Make what a run needs before its sandbox is made.

        Raises
        ------
        SandboxError
            If that is not possible.
        """
        return await in_thread("egress", partial(self._make_ready, run_id, agent, spec, values))

    def _make_ready(self, run_id: str, agent: str, spec: SandboxSpec, values: Mapping[str, str]) -> WayOut:
        placeholders = {
            secret.name: placeholder_for(values[secret.name]) for secret in spec.egress_secrets if secret.name in values
        }
        environment = {**proxy_variables(spec.reach), **placeholders}
        kept, trusted = Kept(placeholders), None
        if placeholders:
            hosts = [to.host for secret in spec.egress_secrets for to in secret.to]
            certificates = make_certificates(hosts, self._environ)
            kept = Kept(placeholders, certificates.identity)
            trusted = bundle(certificates.authority, self._environ)
            environment |= trusting(str(TRUSTED))
            self._files.remove([run_id])
            try:
                self._files.write(run_id, kept)
            except OSError as error:
                raise SandboxError(f"what the network proxy needs cannot be written: {error.strerror}") from error
        self._kept[run_id] = kept
        at = None if trusted is None else self._runtime / (run_id + TRUSTED_SUFFIX)
        return WayOut(environment, trusted, at, self._runtime / run_id, kept.reach(agent, spec, values))

    async def serve(self, run_id: str, way_out: WayOut) -> None:
        """Have the proxy wait for a run's sandbox.

        Raises
        ------
        SandboxError
            If there is no proxy that could.
        """
        # Before it is so, and also if it comes to nothing: then it is ended.
        self._served[run_id] = way_out.reach
        await self._connection.say(Serve(run_id, way_out.reach))
        self._served[run_id] = way_out.reach

    # -- level-triggered: what is served follows what runs

    def converge(self) -> None:
        """Compare what is served with what runs, soon."""
        self._wanted = {run.run_id: run for run in self._runs()}
        if self._task is None and not self._converged():
            self._task = asyncio.create_task(self._converge(), name="egress")
            self._task.add_done_callback(self._converged_once)

    def _converged(self) -> bool:
        if not self._pruned or self._kept.keys() - self._wanted.keys() or self._served.keys() - self._wanted.keys():
            return False
        if not self._wanted:
            return not self._connection.connected
        return all(
            run.run_id in self._kept and self._served.get(run.run_id) == self._reach(run)
            for run in self._wanted.values()
            if run.bubblewrap is not None
        )

    def _reach(self, run: Running) -> Reach:
        return self._kept.get(run.run_id, Kept()).reach(run.agent, run.spec, run.values)

    async def _converge(self) -> None:
        wanted = self._wanted
        for run_id in self._served.keys() - wanted.keys():
            if self._connection.connected:
                await self._connection.say(End(run_id))
            self._served.pop(run_id, None)
        await self._forget()
        for run in wanted.values():
            if run.bubblewrap is None:
                continue
            if run.run_id not in self._kept:
                found = await in_thread("egress", partial(self._files.read, run.run_id))
                self._kept[run.run_id] = found or Kept()
            reach = self._reach(run)
            if self._served.get(run.run_id) != reach:
                await self._serve_again(run, reach)
        if not wanted and self._connection.connected:
            await self._connection.close(ending=True)

    async def _serve_again(self, run: Running, reach: Reach) -> None:
        try:
            await self._connection.say(Serve(run.run_id, reach, run.bubblewrap))
        except SandboxError as error:
            # Its end is about to be seen, or the proxy is started again.
            if self._said.get(run.run_id) != str(error):
                self._said[run.run_id] = str(error)
                log.warning("egress_not_served", agent=run.agent, run=run.run_id, reason=str(error))
            self._look_again()
        else:
            self._said.pop(run.run_id, None)
            self._served[run.run_id] = reach

    async def _forget(self) -> None:
        former: set[str] = set()
        if not self._pruned:
            former = await in_thread("egress", self._files.run_ids)
            self._pruned = True
        # As it is now: others may have been made ready meanwhile.
        gone = (self._kept.keys() | former) - {run.run_id for run in self._runs()}
        if gone:
            await in_thread("egress", partial(self._files.remove, gone))
        for run_id in gone:
            self._kept.pop(run_id, None)
            self._said.pop(run_id, None)

    def _converged_once(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, SandboxError):
            log.warning("egress_proxy_failed", reason=str(error))
        elif error is not None:
            log.error("egress_failed", exc_info=error)
        if error is not None:
            self._look_again()

    def _ended(self, run_id: str | None) -> None:
        if run_id is not None:
            self._served.pop(run_id, None)
            return
        if self._served:
            log.warning("egress_proxy_ended", runs=len(self._served), effect="it is started again")
        self._served.clear()
        self._look_again()

    def _look_again(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AGAIN, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self.converge()

    async def close(self) -> None:
        """Let go of the proxy, which goes on for what runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._served.clear()
        await self._connection.close(ending=not list(self._runs()))
        if self._timer is not None:
            self._timer.cancel()


def proxy_variables(reach: Iterable[Destination]) -> dict[str, str]:
    """Variables that have programs ask the proxy, but for what is in the sandbox itself."""
    listed = {each.host for each in reach}
    direct = ",".join(host for host in _DIRECT if host not in listed)
    variables = dict.fromkeys(_PROXY_VARIABLES, _PROXY) | {"no_proxy": direct}
    return {
        **variables,
        **{name.upper(): value for name, value in variables.items()},
        # Node asks a proxy only if it is told to, from 22.21 and 24.5 on.
        "NODE_USE_ENV_PROXY": "1",
    }
