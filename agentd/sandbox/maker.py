"""Makes ready, before a launch, all that a sandboxed agent's sandbox needs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, Way
from agentd.files.looks import Looks
from agentd.files.permissions import is_private
from agentd.launch.launcher import Wrapper
from agentd.model.spec import AgentSpec, SandboxKind
from agentd.process.runner import Runner, RunnerError
from agentd.sandbox.compose import Command, Ground, Own, compose, holds_system, in_system
from agentd.sandbox.covering import Boxed, Coverings
from agentd.sandbox.egress.service import WayOut
from agentd.sandbox.engines import Engine, Where
from agentd.sandbox.granted import Granted, home_of
from agentd.sandbox.known import KnownEngine
from agentd.sandbox.packages import Packages
from agentd.sandbox.support import SandboxError, Support
from agentd.text.quoting import shell_quote

_ENVIRONMENT: Final = frozenset({
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"),
    *("NODE_EXTRA_CA_CERTS", "LOCALE_ARCHIVE", "TZDIR", "NIX_PATH", "NIX_PROFILES"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
})  # fmt: skip
"""What a sandboxed agent inherits: no secret that merely is in agentd's environment, and no way to a hidden socket."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A sandbox that is ready to be made."""

    wrapper: Wrapper
    workdir: str
    home: Path
    """As the agent sees it."""
    hooks: bool
    """Whether it shows the agent its socket for hooks."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    program: str
    environment: Mapping[str, str] = field(repr=False)
    way_out: WayOut | None
    hooks: Path | None


def inherited_inside(base: Mapping[str, str], home: Path) -> dict[str, str]:
    """Take what a sandboxed agent inherits from what a native one does."""
    kept = {name: value for name, value in base.items() if name in _ENVIRONMENT or name.startswith("LC_")}
    return kept | {"HOME": str(home)}


class Sandboxes:
    """Knows what is on this machine, and works out each agent's sandbox in threads.

    Parameters
    ----------
    where
        What sandboxes are looked for with.
    own
        What is agentd's.
    looks
        What paths are looked at with.
    specs
        All agents.
    running
        Sandboxed agents that run.
    """

    def __init__(
        self,
        where: Where,
        own: Own,
        looks: Looks,
        specs: Callable[[], Iterable[AgentSpec]],
        running: Callable[[], Iterable[Boxed]] = tuple,
    ) -> None:
        self._user = where.user
        self._environ = where.environ
        self._own = own
        self._looks = looks
        self._engines = {kind: KnownEngine(kind, where) for kind in (None, *SandboxKind)}
        self._specs = specs
        self._running = running
        self.packages = Packages(
            where.user, where.environ, own.data_dir, lambda: (spec.sandbox.extra_packages for spec in specs())
        )
        self._coverings = Coverings(where.user)

    async def engine(self, kind: SandboxKind | None) -> Engine:
        """Find out what sandboxes of a kind are made with.

        Raises
        ------
        SandboxError
            If none can be made.
        """
        return await self._engines[kind].get()

    def is_gvisor(self, spec: AgentSpec) -> bool:
        """Whether an agent's sandbox is gVisor's, as far as is known by now."""
        engine = self._engines[spec.sandbox.kind].known
        kind = spec.sandbox.kind if engine is None else engine.kind
        return kind is SandboxKind.GVISOR

    async def cover(self, spec: AgentSpec) -> None:
        """Hide where an agent is about to work from sandboxes that run."""
        await self._coverings.cover(spec, self._running())

    def home_outside(self, agent: str) -> Path:
        """The folder in which an agent's home is kept between its runs."""
        return home_of(agent, self._own.data_dir)

    async def make_ready(
        self,
        spec: AgentSpec,
        program: str,
        environment: Mapping[str, str],
        way_out: WayOut | None = None,
        hooks: Path | None = None,
    ) -> Ready:
        """Work out an agent's sandbox, and make its home where that is missing.

        Parameters
        ----------
        program
            The first word of its command.
        environment
            The agent's, whole.
        way_out
            How it reaches by name what is declared.
        hooks
            The folder with its socket for hooks, which will be there by then.

        Raises
        ------
        SandboxError
            If it cannot be made.
        """
        engine = await self.engine(spec.sandbox.kind)
        others = [Granted.of(other) for other in self._specs() if other.name != spec.name]
        wanted = _Wanted(program, environment, way_out, hooks if engine.kind is SandboxKind.BUBBLEWRAP else None)
        try:
            return await self._looks.along(lambda way: self._make(spec, wanted, engine, others, way))
        except NotAnsweringError as error:
            raise SandboxError(f"{error.strerror}: the sandbox needs it; mount it again, or unmount it") from None

    def _make(
        self,
        spec: AgentSpec,
        wanted: _Wanted,
        engine: Engine,
        others: Sequence[Granted],
        way: Way,
    ) -> Ready:
        outside = self.home_outside(spec.name)
        way.to(outside)
        self._make_home(outside)
        way_out = wanted.way_out
        command = Command(
            wanted.program,
            wanted.environment,
            self._home_inside(wanted.environment, engine.support),
            Path(os.path.realpath(outside)),
            proxied=way_out is not None,
            trusted=None if way_out is None else way_out.trusted_at,
            hooks=wanted.hooks,
        )
        composed = compose(spec, command, others, Ground(self._own, engine.support, self._user), way.to)
        self._coverings.note(spec.name, composed.sandbox.rules)
        wrapper = engine.wrap(composed, self._own.runtime, None if way_out is None else way_out.pipes)
        return Ready(wrapper, str(composed.sandbox.workdir), command.home, wanted.hooks is not None)

    def _home_inside(self, environment: Mapping[str, str], support: Support) -> Path:
        """Where its user has it, if a folder can be mounted there: some users' homes are /nonexistent or /usr/sbin."""
        home = Path(os.path.realpath(environment.get("HOME") or self._user.home))
        if any(folder in home.parents for folder in support.private):
            return home
        if home.is_dir() and not holds_system(home) and not in_system(home):
            return home
        return Path("/home") / self._user.name

    def _make_home(self, path: Path) -> None:
        try:
            found = path.lstat()
        except FileNotFoundError:
            script = b"umask 077; mkdir -p -- " + shell_quote(os.fsencode(path))
            try:
                done = Runner(self._user, self._environ).script(script, limit=5)
            except RunnerError as error:
                raise SandboxError(f"the agent's home {path} cannot be made: {error}") from error
            if done.status != 0:
                raise SandboxError(f"the agent's home {path} cannot be made: {done.reason}") from None
            return
        except OSError as error:
            raise SandboxError(f"the agent's home {path} cannot be used: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode) or not is_private(found, self._user.uid):
            raise SandboxError(
                f"expected {path}, the agent's home, to be a folder of {self._user.name} with mode 0700; move it away"
            )
