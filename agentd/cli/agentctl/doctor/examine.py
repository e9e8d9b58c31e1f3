"""All checks of ``agentctl doctor``, in the order in which things are needed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from agentd import __version__
from agentd.cli.agentctl.client import Api, ApiError, Json, UnreachableError, view
from agentd.cli.agentctl.doctor import machine, places
from agentd.cli.agentctl.doctor.finding import Finding, answered, error, note, ok, read_line, warning
from agentd.cli.agentctl.doctor.harnesses import AgentContext, check_harnesses
from agentd.cli.agentctl.doctor.limits import check_limits
from agentd.cli.agentctl.doctor.sandbox import check_sandbox
from agentd.cli.agentctl.doctor.telemetry import check_telemetry
from agentd.cli.agentctl.doctor.worktrees import check_worktrees
from agentd.cli.agentctl.trust_question import waits_for
from agentd.files.answering import NotAnsweringError, within
from agentd.files.held_names import holder
from agentd.harness.registry import load_harnesses
from agentd.launch.identity import base_environment, path_origin
from agentd.launch.login import read_login
from agentd.model.spec import WORKTREES, AgentSpec
from agentd.model.status import AgentStatus, Health
from agentd.model.user import AgentUser
from agentd.pool.programs import environment_of
from agentd.settings.context import resolve_agent_user, resolve_data_dir
from agentd.settings.limits import API_SOCKET_MODE, SOCKET_MODE
from agentd.settings.settings import Settings
from agentd.supervise.check import check


def examine(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Run all checks.

    Raises
    ------
    SettingsError
        If the agents cannot run as the user that was asked for.
    """
    api = Api(settings.api_socket)
    document, findings = _ask(api)
    health = None if document is None else view(Health, document)
    pid = None if health is None else health.pid
    daemon_environ = environment_of(pid, environ)
    user, user_warning = resolve_agent_user(settings.agent_user, environ)
    result = check(settings, environ)
    declared = sum(agent.enabled for agent in result.agents)
    running = 0 if health is None else health.agents.running
    cgroup = read_line(f"/proc/{pid or 'self'}/cgroup")

    yield from machine.check_python()
    yield from machine.check_clock()
    path, hung = places.answering_entries(daemon_environ.get("PATH", ""))
    yield from hung
    yield from machine.check_tmux(path, settings.tmux_socket, declared)
    yield from findings
    if health is not None and document is not None:
        yield from _check_daemon(health, document)
        yield from _check_sockets(settings)
        yield from _check_waiting(api)
    if user_warning is not None:
        yield warning("user", user_warning, "create it: useradd --create-home agent")
    else:
        yield ok("user", f"agents run as {user.name}, at home in {user.home}")
    yield from places.check_jcard(result.path, len(result.agents), result.errors, result.warnings)
    yield from _check_environment(settings, result.agents, user, daemon_environ)
    yield from _check_agents(settings, result.agents, user, daemon_environ, api, health)
    yield from _check_state(settings, user)
    in_force = result.files[0].in_force if result.files else None
    if in_force is not None and in_force.telemetry is not None:
        yield from check_telemetry(in_force.telemetry, places.secrets_in(settings.secret_dir).values)
    yield from machine.check_terminals(declared, running)
    yield from machine.check_files(machine.limits_of(pid), declared)
    yield from machine.check_watching()
    yield from machine.check_linger(user, cgroup)


def _check_sockets(settings: Settings) -> Iterator[Finding]:
    for path, mode in ((settings.api_socket, API_SOCKET_MODE), (settings.tmux_socket, SOCKET_MODE)):
        yield from answered("socket", path, partial(places.check_socket, "socket", path, mode))


def _check_environment(
    settings: Settings, agents: Sequence[AgentSpec], user: AgentUser, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Check what agents are given: secrets, the user's login environment, and the harnesses found with them."""
    secrets = places.secrets_in(settings.secret_dir)
    yield from answered("secrets", settings.secret_dir, lambda: places.check_secrets(settings.secret_dir, secrets))
    login = read_login(user, environ)
    if login.problem is not None:
        advice = f"fix its startup files, or change its shell: usermod --shell /bin/bash {user.name}"
        yield warning("user", login.problem, advice)
    given = base_environment(user, environ, login, root=os.geteuid() == 0)
    around = AgentContext(user, given, path_origin(user, login), frozenset(secrets.values))
    yield from check_harnesses(load_harnesses().harnesses, agents, around)


def _check_agents(
    settings: Settings,
    agents: Sequence[AgentSpec],
    user: AgentUser,
    environ: Mapping[str, str],
    api: Api,
    health: Health | None,
) -> Iterator[Finding]:
    """Check the bounds that agents run within, and where they work."""
    shown = _agents_of(api, health)
    data_dir = resolve_data_dir(settings.data_dir, user)
    runsc = machine.runsc_of(None if health is None else health.pid, settings.runsc)
    yield from check_sandbox(agents, user, environ, data_dir, runsc)
    yield from check_limits(agents, shown)
    yield from places.check_folders(agents)
    yield from check_worktrees(data_dir / WORKTREES, user, _names_of(health, shown))


def _check_state(settings: Settings, user: AgentUser) -> Iterator[Finding]:
    state, runtime = settings.state_dir, settings.tmux_socket.parent
    yield from answered("state", state, lambda: places.check_space("state", state))
    yield from answered("state", state, lambda: places.check_ways(user, runtime, state))


def _ask(api: Api) -> tuple[Json, list[Finding]]:
    try:
        return api.get("/v1/health"), []
    except UnreachableError as failure:
        if (pid := _holder(api.path)) is not None:
            text = f"agentd (pid {pid}) runs, but is not reachable on {api.path}: {failure}"
            return None, [error("daemon", text, places.RESTORED)]
        advice = "start it: agentctl service install, or run agentd in a terminal"
        return None, [error("daemon", f"agentd is not reachable on {api.path}: {failure}", advice)]
    except ApiError as failure:
        return None, [error("daemon", str(failure), f"find out what serves {api.path}, and start agentd there")]


def _holder(path: Path) -> int | None:
    try:
        return within(path, lambda: holder(path))
    except NotAnsweringError:
        return None


def _check_daemon(health: Health, document: Json) -> Iterator[Finding]:
    if health.version != __version__:
        yield warning(
            "daemon",
            f"agentd is {health.version}, agentctl {__version__}",
            "restart agentd, with --on-shutdown keep if the agents are to keep running",
        )
    else:
        counts = health.agents
        text = f"agentd {health.version}, pid {health.pid}: {counts.running} of {counts.total} agents run"
        yield ok("daemon", text)
    if health.problem is not None:
        yield error(
            "daemon",
            f"agentd does not do its work: {health.problem}",
            "see agentd's log; if tmux hangs, resume or end it; else restart agentd, with --on-shutdown keep if the "
            "agents are to keep running",
        )
    if not health.config.valid:
        yield error(
            "daemon",
            f"agentd refuses {health.config.path}: {health.config.error}",
            "correct it; until then the last valid configuration stays in force",
        )
    if isinstance(document, Mapping):
        yield from _check_recording(document.get("recording"))


def _agents_of(api: Api, health: Health | None) -> Sequence[AgentStatus] | None:
    """All agents, those on the way out among them; ``None`` if the daemon cannot tell."""
    try:
        return None if health is None else api.agents()
    except (ApiError, UnreachableError):
        return None


def _names_of(health: Health | None, shown: Sequence[AgentStatus] | None) -> set[str] | None:
    """Name all agents; ``None`` if the daemon cannot tell which there are to be."""
    if health is None or shown is None or not health.config.valid:
        return None
    return {agent.name for agent in shown}


def _check_waiting(api: Api) -> Iterator[Finding]:
    """Find agents that wait for somebody to trust their folder."""
    try:
        for agent in api.agents():
            waiting = waits_for(api, agent)
            if waiting is not None:
                what, _, advice = waiting.partition("; ")
                yield warning("agent", f"{agent.name} {what}", advice)
    except (ApiError, UnreachableError) as failure:
        yield warning("agent", f"cannot tell whether agents wait for an answer: {failure}", "try again")


def _check_recording(recording: Json) -> Iterator[Finding]:
    """Check how the daemon records; an older one does not report it."""
    if not isinstance(recording, Mapping):
        return
    for kind, values in recording.items():
        if not isinstance(values, Mapping):
            continue
        state = values.get("state")
        if state == "failing":
            yield error("recording", f"{kind}: {values.get('error')}", "fix that: nothing of it is recorded until then")
        elif state == "off":
            yield note("recording", f"{kind}: off")
        else:
            yield ok("recording", f"{kind}: {values.get('bytes', 0)} bytes kept")
        if values.get("lost"):
            yield warning(
                "recording", f"{kind}: {values['lost']} entries were lost since agentd started", "see agentd's log"
            )
