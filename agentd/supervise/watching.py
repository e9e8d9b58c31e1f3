"""What a launch and a started run mean to those who watch runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from agentd.harness.additions import HOOK_VARIABLE, SANDBOXED, Additions, LaunchFacts
from agentd.launch.preflight import PreflightError
from agentd.model.spec import AgentSpec, AgentType
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.host import Host
from agentd.supervise.life import Life
from agentd.supervise.record import Description
from agentd.supervise.run_handle import RunHandle
from agentd.supervise.run_watcher import DeclaredAgent, RunFiles, StartedRun


def additions(host: Host, desired: DesiredAgent, run_id: str, environment: Mapping[str, str]) -> Additions | None:
    """What is added to a launch so that the run can be watched; ``None`` if it is not to be.

    A sandboxed agent is not, but for what it leaves when it ends: our socket cannot be reached from the other side.

    Raises
    ------
    PreflightError
        If its conversation is to begin with a fork, and cannot.
    """
    spec, launch, socket = desired.spec, desired.launch, host.watcher.hook_socket
    assert launch is not None
    sandboxed = spec.type is AgentType.SANDBOXED
    if not spec.turns or (sandboxed and desired.stays):
        return None
    hook = {} if socket is None or sandboxed else {HOOK_VARIABLE: socket}
    file, own_socket = host.runtime.watching_paths(run_id, spec.name)
    resume = host.watcher.conversation(spec.name, spec.harness, spec.workdir) if desired.resumes else None
    facts = LaunchFacts(
        agent=spec.name,
        run_id=run_id,
        harness=spec.harness,
        argv=launch.argv if resume is None else launch.going_on or launch.argv,
        # Paths in the environment of a sandbox are none out here.
        environment={} if sandboxed else {**environment, **hook},
        workdir=spec.workdir,
        home=host.sandboxes.home_outside(spec.name) if sandboxed else Path(environment.get("HOME") or host.user.home),
        stays=desired.stays,
        file=file,
        socket=own_socket,
        resume=resume,
        fork=spec.fork_from if resume is None else None,
    )
    added = host.watcher.additions(facts)
    if facts.fork is not None and (added is None or not added.forks):
        raise PreflightError(
            f"it cannot begin with a fork of {facts.fork.conversation}: its command line names a conversation itself, "
            "or cannot be added to; remove fork_from, or what is in the way from args"
        )
    if added is None or sandboxed:
        return None if added is None else Additions(launch.argv, memo={**added.memo, SANDBOXED: "yes"})
    return replace(added, environment={**hook, **added.environment})


def _unwatched(spec: AgentSpec) -> str | None:
    """Why an agent's turns are not watched, where its declaration says so."""
    if not spec.turns:
        return "turns = false"
    return "it is sandboxed" if spec.type is AgentType.SANDBOXED else None


ONE_TURN: Final = (
    'it has a prompt, so a run of it is one turn, and ends with the answer; mode = "interactive" is for a program that '
    "stays after that"
)
"""Why an agent takes no messages."""


def declared_agent(desired: DesiredAgent) -> DeclaredAgent:
    """An agent as those who talk to it need to know it."""
    one_shot = None if desired.stays else ONE_TURN
    spec = desired.spec
    by = None if spec.worker is None else spec.worker.spawned_by
    return DeclaredAgent(spec.name, spec.harness, _unwatched(spec) or one_shot, by)


def watch_run(host: Host, life: Life, described: Description, handle: RunHandle) -> None:
    """Have a run watched whose process exists, launched by us or a former daemon."""
    if handle.process is None:
        return
    run = StartedRun(
        agent=life.name,
        run_id=handle.run_id,
        harness=described.harness,
        workdir=Path(described.workdir),
        process=handle.process,
        files=RunFiles(*host.runtime.watching_paths(handle.run_id, life.name)),
        pane=handle.pane,
        memo=_memo(host.runtime.read_memo(handle.run_id)),
        limit=None if life.limited is None else life.limited.hit,
    )
    host.watcher.started(run)


def _memo(text: str | None) -> Mapping[str, str] | None:
    """Read what a launch left; ``None`` if there is nothing, or it is not to be understood."""
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)}
