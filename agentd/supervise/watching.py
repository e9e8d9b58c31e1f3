"""What a launch and a started run mean to those who watch runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from agentd.files.paths import path_of
from agentd.harness.additions import HOOK_VARIABLE, HOOKED, SANDBOXED, Additions, LaunchFacts
from agentd.launch.hooks_folder import FILE, INSIDE, SOCKET
from agentd.launch.preflight import PreflightError
from agentd.model.spec import AgentSpec, AgentType, Network
from agentd.model.states import AgentState
from agentd.sandbox.maker import Ready
from agentd.supervise import stall_steps
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.host import Host
from agentd.supervise.life import Life
from agentd.supervise.record import Description
from agentd.supervise.run_handle import RunHandle
from agentd.supervise.run_watcher import DeclaredAgent, RunFiles, StartedRun

log = structlog.get_logger(__name__)

_OWN_SOCKET: Final = ".agentd.sock"
"""Name in the home of a sandboxed agent of the socket that its program may make."""


def additions(
    host: Host, desired: DesiredAgent, run_id: str, environment: Mapping[str, str], sandbox: Ready | None
) -> Additions | None:
    """What is added to a launch so that the run can be watched; ``None`` if it is not to be.

    Raises
    ------
    PreflightError
        If its conversation is to begin with a fork, and cannot.
    """
    spec, launch, socket = desired.spec, desired.launch, host.watcher.hook_socket
    assert launch is not None
    if not spec.turns or (sandbox is not None and desired.stays and not sandbox.hooks):
        return None
    file, own_socket = host.runtime.watching_paths(run_id, spec.name)
    home, inside = path_of(environment.get("HOME") or str(host.user.home)), None
    if sandbox is not None:
        file, own_socket, inside = INSIDE / FILE, sandbox.home / _OWN_SOCKET, sandbox.home
        home = host.sandboxes.home_outside(spec.name)
        socket = None if socket is None or not sandbox.hooks else str(INSIDE / SOCKET)
    hook = {} if socket is None else {HOOK_VARIABLE: socket}
    resume = host.watcher.conversation(spec.name, spec.harness, spec.workdir) if desired.resumes else None
    facts = LaunchFacts(
        agent=spec.name,
        run_id=run_id,
        harness=spec.harness,
        argv=launch.argv if resume is None else launch.going_on or launch.argv,
        environment={**environment, **hook},
        workdir=spec.workdir,
        home=home,
        stays=desired.stays,
        file=file,
        socket=own_socket,
        resume=resume,
        fork=spec.fork_from if resume is None else None,
        home_inside=inside,
        on_loopback=sandbox is None or spec.sandbox.network is Network.HOST,
    )
    facts = facts if inside is None else replace(facts, environment={**_seen_outside(facts, environment), **hook})
    added = host.watcher.additions(facts)
    if facts.fork is not None and (added is None or not added.forks):
        raise PreflightError(
            f"it cannot begin with a fork of {facts.fork.conversation}: its command line names a conversation itself, "
            "or cannot be added to; remove fork_from, or what is in the way from args"
        )
    if added is None:
        return None
    memo = added.memo if sandbox is None else {**added.memo, SANDBOXED: "yes", **({HOOKED: "yes"} if hook else {})}
    if sandbox is not None and not desired.stays:
        # It keeps its command line; what it leaves is read.
        return Additions(launch.argv, memo=memo)
    return replace(added, environment={**hook, **added.environment}, memo=memo)


def _seen_outside(facts: LaunchFacts, environment: Mapping[str, str]) -> dict[str, str]:
    """Name the paths in the environment of a sandbox as they are out here, and leave out those that are none."""
    found = {}
    for name, value in environment.items():
        at = facts.outside(Path(value)) if value.startswith("/") else None
        if at is not None or not value.startswith("/"):
            found[name] = value if at is None else str(at)
    return found


def _unwatched(host: Host, spec: AgentSpec) -> str | None:
    """Why an agent's turns are not watched, where its declaration and this machine say so."""
    if not spec.turns:
        return "turns = false"
    if spec.type is AgentType.SANDBOXED and host.sandboxes.is_gvisor(spec):
        return "gVisor's sandbox lets it connect to no socket for hooks; bubblewrap's does"
    return None


ONE_TURN: Final = (
    'it has a prompt, so a run of it is one turn, and ends with the answer; mode = "interactive" is for a program that '
    "stays after that"
)
"""Why an agent takes no messages."""


def declared_agent(host: Host, desired: DesiredAgent) -> DeclaredAgent:
    """An agent as those who talk to it need to know it."""
    one_shot = None if desired.stays else ONE_TURN
    spec = desired.spec
    by = None if spec.worker is None else spec.worker.spawned_by
    return DeclaredAgent(
        spec.name, spec.harness, _unwatched(host, spec) or one_shot, by, spec.policy.budget, desired.stays
    )


def watch_run(host: Host, life: Life, described: Description, handle: RunHandle) -> None:
    """Have a run watched whose process exists, launched by us or a former daemon."""
    if handle.process is None:
        return
    memo = _memo(host.runtime.read_memo(handle.run_id))
    serve_hooks(host, life.name, handle.run_id, memo or {})
    run = StartedRun(
        agent=life.name,
        run_id=handle.run_id,
        harness=described.harness,
        workdir=path_of(described.workdir),
        process=handle.process,
        files=RunFiles(*host.runtime.watching_paths(handle.run_id, life.name)),
        pane=handle.pane,
        memo=memo,
        limit=None if life.limited is None else life.limited.hit,
        goes_on=stall_steps.resumed(life),
    )
    host.watcher.started(run)
    if life.state is AgentState.STOPPING:
        host.watcher.stopping(handle.run_id)


def serve_hooks(host: Host, agent: str, run_id: str, memo: Mapping[str, str]) -> None:
    """Serve the socket for hooks of a run in a sandbox, if it has one and that is not served."""
    if HOOKED not in memo:
        return
    try:
        bound = host.runtime.bind_hooks(run_id)
    except OSError as error:
        log.warning("hooks_not_served", agent=agent, run=run_id, reason=str(error))
        return
    if bound is not None:
        host.watcher.serve(run_id, bound)


def _memo(text: str | None) -> Mapping[str, str] | None:
    """Read what a launch left; ``None`` if there is nothing, or it is not to be understood."""
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)}
