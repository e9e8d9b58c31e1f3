"""Check the harnesses' programs: that they are installed, their versions, and their credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agentd.cli.agentctl.doctor.finding import Finding, note, ok, unanswered, warning
from agentd.files.answering import NotAnsweringError, along, within
from agentd.harness.base import Credentials, Harness
from agentd.launch.preflight import PATH_SET, PreflightError, find_program
from agentd.model.spec import AgentSpec
from agentd.model.user import AgentUser
from agentd.process.runner import Runner, RunnerError
from agentd.text.quoting import some

_LONGEST_QUESTION = 20.0
"""Seconds for a program to print its version: 0.3 to 2.8 on an idle machine."""
_LONGEST_ANSWER = 64 * 1024
"""Bytes."""

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
        found = _credentials(credentials, around.environment, around)
        yield note("login", f"{name}: {found or 'no credentials were found'}; no agent uses it")
        return
    without: list[str] = []
    for agent in agents:
        found = _credentials(credentials, _environment(agent, around), around)
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


def _credentials(credentials: Credentials, environment: Mapping[str, str], around: AgentContext) -> str | None:
    """Say which credentials there are; never their value."""
    variable = next((name for name in credentials.variables if environment.get(name)), None)
    if variable is not None:
        return f"{variable} is set"
    home = Path(environment.get("HOME") or around.user.home)
    for file in credentials.files:
        folder = environment.get(file.folder_variable) if file.folder_variable else None
        path = (Path(folder) if folder else home / file.folder) / file.name
        try:
            if within(path, lambda path=path: path.stat().st_size):  # type: ignore[misc]  # bound early
                return f"{path} is there"
        except OSError:
            continue
    return None


def _version(program: str, environment: Mapping[str, str], user: AgentUser) -> str:
    """Ask a program for its version, as the agents' user: the program may be that user's to replace."""
    own = {name: environment[name] for name in ("LANG", "TMPDIR", "HOME") if name in environment}
    try:
        runner = Runner(user, environment)
        done = runner.run([program, "--version"], environment=own, limit=_LONGEST_QUESTION, most=_LONGEST_ANSWER)
    except RunnerError as failure:
        return f"gave no version: {failure}"
    lines = done.out.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines and done.status == 0 else f"says no version (status {done.status})"


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
