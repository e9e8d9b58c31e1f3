"""An agent's sandbox for another command: worked out as the daemon works it out, from the same files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from agentd.cli.agentctl.client import ApiError, UnreachableError, view
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.doctor.machine import runsc_of
from agentd.cli.agentctl.doctor.places import secrets_in
from agentd.cli.agentctl.lookup import unknown_agent
from agentd.files.looks import Looks
from agentd.harness.registry import load_harnesses
from agentd.jcard.prompts import PromptError
from agentd.jcard.reading import prompt_text
from agentd.jcard.secrets import secrets_for, withheld_secrets
from agentd.launch.identity import base_environment
from agentd.launch.launcher import LaunchScript
from agentd.launch.login import read_login
from agentd.model.plan_report import PlanReport
from agentd.model.spec import AGENT_VARIABLE, AgentSpec, AgentType
from agentd.model.user import AgentUser
from agentd.pool.programs import environment_of
from agentd.sandbox.engines import Where
from agentd.sandbox.granted import shown
from agentd.sandbox.maker import Ready, Sandboxes, inherited_inside
from agentd.sandbox.own import own_of
from agentd.sandbox.packages import with_programs
from agentd.sandbox.support import SandboxError
from agentd.settings.context import resolve_agent_user, resolve_data_dir
from agentd.settings.folders import SettingsError
from agentd.settings.settings import Settings, of_daemon
from agentd.supervise.check import check
from agentd.supervise.desired import Launch, resolve_launch
from agentd.supervise.ports import with_ports
from agentd.text.quoting import quote, some

_NATIVE = "is native: it runs without a sandbox; for one, agentctl set {} type=sandboxed"


@dataclass(frozen=True, slots=True)
class Boxed:
    """An agent's sandbox, ready for a command."""

    spec: AgentSpec
    user: AgentUser
    ready: Ready
    environment: Mapping[str, str] = field(repr=False)
    data_dir: Path
    secrets: tuple[str, ...]
    """Names of those in the environment."""
    daemon: int | None
    """Process of agentd, if there is one."""
    missing: tuple[str, ...]
    """Names of secrets that the agent gets, and whoever calls may not read."""

    def script(self, argv: Sequence[str]) -> LaunchScript:
        """What the wrapper of a launch is given."""
        workdir = str(self.spec.workdir)
        return LaunchScript(
            self.spec.name, f"try-{os.getpid()}", tuple(argv), self.environment, workdir, wrapper=self.ready.wrapper
        )

    def document(self, argv: Sequence[str]) -> dict[str, object]:
        """What would be run, without the value of any variable."""
        sandbox = shown(self.spec, self.data_dir, self.secrets)
        assert sandbox is not None
        return {
            "agent": self.spec.name,
            "user": self.user.name,
            "argv": [*argv],
            "workdir": self.ready.workdir,
            "home": str(self.ready.home),
            "environment": sorted(self.environment),
            "missing_secrets": [*self.missing],
            "sandbox": asdict(sandbox),
            "command": os.fsdecode(self.ready.wrapper.command(self.script(argv))),
        }


@dataclass(frozen=True, slots=True)
class _Around:
    """The daemon, or what would be without one."""

    settings: Settings
    user: AgentUser
    environ: Mapping[str, str]
    root: bool
    """Whether the daemon is root's."""
    daemon: int | None = None
    """Its process, if there is one."""
    ports: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """That it gave, by agent."""


def prepare(invocation: Invocation, name: str) -> Boxed:
    """Work out the sandbox that an agent's next launch would have.

    Raises
    ------
    CommandError
        If there is none of that name, it has no sandbox, none can be made, or whoever calls may not.
    """
    around = _around(invocation)
    settings, user = around.settings, around.user
    checked = check(settings, around.environ)
    agents = checked.agents
    spec = _find(agents, name)
    spec = with_ports(spec, around.ports.get(spec.name, {}))
    if spec.type is not AgentType.SANDBOXED:
        raise CommandError(f"{quote(spec.name)} {_NATIVE.format(spec.name)}")
    tokens = withheld_secrets(file.in_force for file in checked.files if file.in_force is not None)
    secrets = secrets_for(spec, replace(secrets_in(settings.secret_dir), withheld=tokens))
    launch = _launch(spec, secrets, user)
    base = base_environment(user, around.environ, read_login(user, around.environ), root=around.root)
    data_dir = resolve_data_dir(settings.data_dir, user)
    where = Where(user, around.environ, settings.runsc)
    sandboxes = Sandboxes(where, own_of(settings, data_dir), Looks(), lambda: agents)
    try:
        programs, ready = asyncio.run(_ready(sandboxes, spec, launch.argv[0], {**base, **launch.environment}))
    except (SandboxError, OSError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise CommandError(f"{quote(spec.name)}: {reason}") from None
    inherited = inherited_inside(base, ready.home)
    environment = with_programs({**inherited, AGENT_VARIABLE: spec.name, **launch.environment, **_terminal()}, programs)
    granted = _granted(invocation, spec)
    missing = tuple(each for each in granted if each not in secrets and each not in spec.env)
    return Boxed(spec, user, ready, environment, data_dir, tuple(sorted(secrets)), around.daemon, missing)


async def _ready(
    sandboxes: Sandboxes, spec: AgentSpec, program: str, environment: Mapping[str, str]
) -> tuple[Sequence[Path], Ready]:
    programs = await sandboxes.packages.get(spec.sandbox.extra_packages)
    return programs, await sandboxes.make_ready(spec, program, with_programs(environment, programs))


def _around(invocation: Invocation) -> _Around:
    """Take from the daemon what it works with; without one, what the command line says."""
    settings, environ, root = invocation.settings, dict(os.environ), os.geteuid() == 0
    try:
        health = invocation.api.health()
        report = view(PlanReport, invocation.api.get("/v1/plan"))
    except (ApiError, UnreachableError):
        return _Around(settings, user_of_agents(settings.agent_user), environ, root)
    settings = replace(
        of_daemon(settings, Path(health.config.path)),
        data_dir=Path(report.data_dir),
        state_dir=settings.state_dir if report.state_dir is None else Path(report.state_dir),
        secret_dir=settings.secret_dir if report.secret_dir is None else Path(report.secret_dir),
        agent_user=report.agent_user,
        runsc=runsc_of(health.pid, settings.runsc),
    )
    try:
        root = Path(f"/proc/{health.pid}").stat().st_uid == 0
    except OSError:
        root = os.geteuid() == 0
    user, ports = user_of_agents(report.agent_user), {view.name: view.ports for view in report.observed}
    return _Around(settings, user, environment_of(health.pid, environ), root, health.pid, ports)


def user_of_agents(name: str | None) -> AgentUser:
    """Find whom the command runs as: the user of the agents, or the one that they would have without a daemon.

    Raises
    ------
    CommandError
        If whoever calls may not run anything as that user.
    """
    try:
        return resolve_agent_user(name, os.environ)[0]
    except SettingsError:
        raise CommandError(
            f"agents run as {name}: only root and {name} may run a command in their sandboxes; "
            f"try sudo agentctl sandbox, or runuser -u {name}"
        ) from None


def _find(agents: Sequence[AgentSpec], name: str) -> AgentSpec:
    folded = [agent for agent in agents if agent.name.lower() == name.lower()]
    exact = [agent for agent in folded if agent.name == name]
    if not folded:
        raise unknown_agent(name, [agent.name for agent in agents])
    return (exact or folded)[0]


def _launch(spec: AgentSpec, secrets: Mapping[str, str], user: AgentUser) -> Launch:
    try:
        prompt = None if spec.prompt_file is None else prompt_text(spec.prompt_file)
    except PromptError:
        # The command does not need it.
        prompt = ""
    desired = resolve_launch(
        spec,
        prompt=prompt,
        input_error=None,
        secrets=secrets,
        harness=load_harnesses().harnesses[spec.harness],
        user=user.name,
        key=b"",
    )
    if desired.launch is None:
        raise CommandError(f"{quote(spec.name)}: {desired.error}")
    return desired.launch


def _granted(invocation: Invocation, spec: AgentSpec) -> Sequence[str]:
    """Name the secrets that the daemon gives the agent, as far as it says."""
    try:
        sandbox = next((each.sandbox for each in invocation.api.agents() if each.name == spec.name), None)
    except (ApiError, UnreachableError):
        return ()
    return () if sandbox is None or sandbox.secrets is None else sandbox.secrets


def _terminal() -> dict[str, str]:
    return {"TERM": os.environ["TERM"]} if "TERM" in os.environ else {}


def remarks(boxed: Boxed, not_held: Mapping[str, str]) -> Iterator[str]:
    """Say what the agent has and the command has not.

    Parameters
    ----------
    not_held
        The limits that do not hold it, and why.
    """
    for name, reason in not_held.items():
        yield f"not held to {name}: {reason}"
    if boxed.missing:
        yield f"without secret {some(boxed.missing)}: you may not read it"
    reach = boxed.spec.sandbox.reach
    if reach:
        yield f"without a way to {some([*map(str, reach)])}: agentd's proxy serves runs alone"
