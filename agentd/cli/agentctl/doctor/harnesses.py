"""Check the harnesses' programs: that they are installed, their versions, and their credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agentd.cli.agentctl.doctor.finding import Finding, note, ok, unanswered, warning
from agentd.files.answering import NotAnsweringError, along
from agentd.harness.base import Credentials, Harness
from agentd.launch.preflight import PATH_SET, PreflightError, find_program
from agentd.model.spec import AgentSpec
from agentd.model.user import AgentUser
from agentd.pool.programs import NoVersionError, credentials_found, version_of
from agentd.text.quoting import some

_TOPIC = "harness"


@dataclass(frozen=True, slots=True)
class AgentContext:
    """What is the same for all agents."""

    user: AgentUser
    environment: Mapping[str, str]
    """The environment that agents inherit."""
    path_origin: str
    """Where its PATH comes from."""
    secrets: frozenset[str]
    """Their names."""


def check_harnesses(
    harnesses: Mapping[str, Harness], agents: Sequence[AgentSpec], around: AgentContext
) -> Iterator[Finding]:
    """Check each harness' program; if no agent uses it, a problem is only a note."""
    used = {name: [agent for agent in agents if agent.enabled and agent.harness == name] for name in harnesses}
    with ThreadPoolExecutor() as pool:
        looks = [
            pool.submit(lambda name, harness: list(_check(name, harness, used[name], around)), name, harness)
            for name, harness in harnesses.items()
            if not harness.takes_command
        ]
        for look in looks:
            yield from look.result()
    for name, harness in harnesses.items():
        if harness.takes_command:
            yield from _check_commands(harness, used[name], around)


def _check(name: str, harness: Harness, agents: Sequence[AgentSpec], around: AgentContext) -> Iterator[Finding]:
    environment = _environment(agents[0], around) if agents else around.environment
    try:
        program = _find(harness.binary, environment, Path("/"), around.user, _path_origin(agents, around))
    except NotAnsweringError as failure:
        if agents:
            yield unanswered(_TOPIC, failure)
        return
    except PreflightError as missing:
        if agents:
            yield warning(
                _TOPIC, f"{name}: {missing}", f"install {harness.binary}, or set PATH where agentd is started"
            )
        else:
            yield note(_TOPIC, f"{name}: {harness.binary} is not installed; no agent uses it")
        return
    yield ok(_TOPIC, f"{name}: {_version(program, environment, around.user)}, {program}")
    if harness.facts.credentials is not None:
        yield from _check_credentials(name, harness, harness.facts.credentials, agents, around)


def _check_credentials(
    name: str, harness: Harness, credentials: Credentials, agents: Sequence[AgentSpec], around: AgentContext
) -> Iterator[Finding]:
    if not agents:
        found = credentials_found(credentials, around.environment, around.user.home)
        yield note("login", f"{name}: {found or 'no credentials were found'}; no agent uses it")
        return
    without: list[str] = []
    for agent in agents:
        found = credentials_found(credentials, _environment(agent, around), around.user.home)
        if found is None:
            without.append(agent.name)
        elif agent is agents[0]:
            yield ok("login", f"{name}: {found}")
    if without:
        yield warning(
            "login",
            f"{name}: no credentials were found for {some(without)}",
            f"put a secret {credentials.variables[0]} into the secret directory,"
            f" or run {harness.binary} as {around.user.name} and log in",
        )


def _find(program: str, environment: Mapping[str, str], workdir: Path, user: AgentUser, origin: str) -> str:
    return along(lambda way: find_program(program, environment, workdir, user, origin, way.to))


def _environment(agent: AgentSpec, around: AgentContext) -> dict[str, str]:
    """Build an agent's environment, without the values of its secrets."""
    reaching = around.secrets if agent.secrets is None else around.secrets & set(agent.secrets)
    placeholders = around.secrets & {secret.name for secret in agent.sandbox.egress_secrets}
    return {**around.environment, **dict.fromkeys(reaching | placeholders, "…"), **agent.env}


def _path_origin(agents: Sequence[AgentSpec], around: AgentContext) -> str:
    own = agents and ("PATH" in agents[0].env or "PATH" in around.secrets)
    return PATH_SET if own else around.path_origin


def _version(program: str, environment: Mapping[str, str], user: AgentUser) -> str:
    try:
        return version_of(program, environment, user)
    except NoVersionError as failure:
        return str(failure)


def _check_commands(harness: Harness, agents: Sequence[AgentSpec], around: AgentContext) -> Iterator[Finding]:
    """Check the programs of agents with a command of their own."""
    found: set[str] = set()
    for agent in agents:
        program = agent.command[0] if agent.command else harness.binary
        try:
            _find(program, _environment(agent, around), agent.workdir, around.user, _path_origin([agent], around))
            found.add(program)
        except NotAnsweringError as failure:
            yield unanswered(_TOPIC, failure)
        except PreflightError as missing:
            yield warning(_TOPIC, f"{agent.name}: {missing}", "install it, or correct command in the jcard")
    if found:
        yield ok(_TOPIC, f"{agents[0].harness}: {', '.join(sorted(found))}")
