"""What an operation finds around it: the policies, the providers, the workers that are declared, the agents' user."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agentd.api.client.socket import Json, JsonObject
from agentd.files.worker import in_thread
from agentd.harness.base import Harness
from agentd.harness.registry import load_harnesses
from agentd.jcard.drop_ins import TakenFile
from agentd.jcard.reading import declared
from agentd.launch.identity import base_environment
from agentd.launch.login import Login
from agentd.model.pool import NO_POLICIES, OWNER, PoolDeclaration, PoolProvider, WorkerFacts
from agentd.model.spec import AgentSpec
from agentd.model.user import AgentUser
from agentd.pool.errors import Code, PoolError
from agentd.pool.pool import Pool
from agentd.pool.programs import environment_of, program_of
from agentd.process.runner import Runner
from agentd.settings.context import load_context, resolve_agent_user
from agentd.settings.settings import Settings, of_daemon
from agentd.text.quoting import quote
from agentd.worktrees.git import Git


@dataclass(frozen=True, slots=True)
class DeclaredWorker:
    """A worker as its file declares it."""

    name: str
    path: Path
    spec: AgentSpec | None
    """``None`` if the file has errors."""
    error: str | None

    @property
    def facts(self) -> WorkerFacts:
        """What it is beside an agent."""
        if self.spec is None:
            return WorkerFacts("unknown")
        return self.spec.worker or WorkerFacts(self.spec.harness)


@dataclass(frozen=True, slots=True)
class Daemon:
    """What agentd says of itself."""

    pid: int
    settings: Settings
    """Where its jcard and drop-ins are."""
    data_dir: Path
    agent_user: str
    secrets: frozenset[str]
    """Their names."""

    @property
    def folder(self) -> Path:
        """The folder of the drop-ins that declare workers."""
        return self.settings.config_dir / OWNER


@dataclass(frozen=True, slots=True)
class Around:
    """What is around an operation."""

    daemon: Daemon
    user: AgentUser
    environment: Mapping[str, str]
    """What agents inherit, with their secrets' names."""
    policies: PoolDeclaration
    providers: Mapping[str, PoolProvider]
    """By id."""
    harnesses: Mapping[str, Harness]
    workers: Mapping[str, DeclaredWorker]
    """By name in lower case."""
    agents: Mapping[str, str]
    """Whose account each declared agent uses, by name."""
    jcard_error: str | None
    """Why the policies are not known, if they are not."""

    def git(self, folder: Path) -> Git:
        """Give git in a folder, as the agents' user."""
        return Git(Runner(self.user, self.environment), folder)

    def provider(self, name: str) -> PoolProvider:
        """Find a provider.

        Raises
        ------
        PoolError
            If there is none of that id.
        """
        found = self.providers.get(name)
        if found is not None:
            return found
        close = difflib.get_close_matches(name, self.providers, n=1)
        known: list[Json] = [*sorted(self.providers)]
        meant = f": did you mean {close[0]}?" if close else ""
        raise PoolError(
            Code.PROVIDER_UNKNOWN, f"there is no provider {quote(name)}{meant}", "agentctl inventory", providers=known
        )

    def chosen(self, name: str | None) -> list[PoolProvider]:
        """Give one provider, or all; raises as `provider`."""
        return [*self.providers.values()] if name is None else [self.provider(name)]

    def program_for(self, provider: PoolProvider) -> tuple[str | None, str | None]:
        """Find a provider's program; give it, or why it is not installed. Blocks."""
        name = (*provider.command, self.harnesses[provider.harness].binary)[0]
        return program_of(name, self.environment_for(provider), self.user)

    def environment_for(self, provider: PoolProvider) -> dict[str, str]:
        """Give the environment of a provider's workers, without the values of secrets."""
        secrets = self.daemon.secrets if provider.secrets is None else self.daemon.secrets & set(provider.secrets)
        return {**self.environment, **dict.fromkeys(secrets, "…"), **provider.env}


async def ask_daemon(pool: Pool) -> Daemon:
    """Ask agentd where things are.

    Raises
    ------
    PoolError
        If it does not answer.
    """
    health, plan = await pool.api.found("/v1/health"), await pool.api.found("/v1/plan")
    if health is None or plan is None:
        raise PoolError(Code.REFUSED, "agentd's answer cannot be read; it is of another version", "agentctl doctor")
    config = health.get("config")
    path = config.get("path") if isinstance(config, dict) else None
    settings = pool.settings if not isinstance(path, str) else of_daemon(pool.settings, Path(path))
    secrets = plan.get("secrets")
    return Daemon(
        _whole(health, "pid"),
        settings,
        Path(str(plan.get("data_dir"))),
        str(plan.get("agent_user")),
        frozenset(str(each) for each in secrets) if isinstance(secrets, list) else frozenset(),
    )


def _whole(document: JsonObject, name: str) -> int:
    value = document.get(name)
    return value if isinstance(value, int) else 0


async def look_around(pool: Pool) -> Around:
    """Look at all that an operation needs.

    Raises
    ------
    PoolError
        If agentd does not answer.
    """
    daemon = await ask_daemon(pool)
    return await in_thread("pool-look", partial(_look, daemon, pool.environ))


def _look(daemon: Daemon, environ: Mapping[str, str]) -> Around:
    root = os.geteuid() == 0
    user, _ = resolve_agent_user(daemon.agent_user if root else None, environ)
    harnesses = load_harnesses().harnesses
    settings = daemon.settings
    context = load_context(settings.config, user.name, user.home, harnesses, daemon.data_dir)
    files, _ = declared(settings.config, settings.config_dir, context)
    jcard = files[0]
    policies = jcard.in_force.pool if jcard.in_force is not None else None
    error = str(jcard.errors[0]) if jcard.errors and _exists(settings.config) else None
    found = environment_of(daemon.pid, environ)
    environment = base_environment(user, found, Login(), root=root)
    environment.setdefault("PATH", environ.get("PATH", os.defpath))
    agents = {
        spec.name: spec.harness if spec.worker is None else spec.worker.provider
        for file in files
        for spec in file.agents
    }
    policies = policies or NO_POLICIES
    return Around(
        daemon, user, environment, policies, _providers(policies, harnesses), harnesses, _workers(files), agents, error
    )


def _exists(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _providers(policies: PoolDeclaration, harnesses: Mapping[str, Harness]) -> dict[str, PoolProvider]:
    """Give each harness that has a command line of its own, and what the jcard declares."""
    own = {name: PoolProvider(name, name) for name, harness in harnesses.items() if not harness.takes_command}
    return own | {each.id: each for each in policies.providers}


def _workers(files: tuple[TakenFile, ...]) -> dict[str, DeclaredWorker]:
    workers: dict[str, DeclaredWorker] = {}
    for file in files:
        if file.owner != OWNER:
            continue
        error = str(file.errors[0]) if file.errors else None
        if not file.agents:
            workers[file.path.stem.lower()] = DeclaredWorker(file.path.stem, file.path, None, error)
        for spec in file.agents:
            workers[spec.name.lower()] = DeclaredWorker(spec.name, file.path, spec, error)
    return workers


def with_model(provider: PoolProvider, model: str | None) -> PoolProvider:
    """Give a provider with the model that was asked for, or else its own."""
    return provider if model is None else replace(provider, model=model)
