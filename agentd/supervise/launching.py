"""Launching a run: what must be there before, and its pane in tmux."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from agentd.harness.additions import Additions
from agentd.launch.launcher import LaunchScript, oversized
from agentd.launch.preflight import PATH_SET, PreflightError
from agentd.launch.renderer import check_renderer, renderer
from agentd.model.events import Event, EventKind
from agentd.model.limits import Limits
from agentd.model.spec import AGENT_VARIABLE, RUN_ID_VARIABLE, AgentSpec, AgentType
from agentd.process.identity import ProcessIdentity
from agentd.process.ports import is_free
from agentd.process.reaper import ProcessTree
from agentd.sandbox.egress.service import Running, WayOut
from agentd.sandbox.maker import Ready, inherited_inside
from agentd.sandbox.packages import with_programs
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.host import Host
from agentd.supervise.life import Life
from agentd.supervise.ports import ports_of
from agentd.supervise.record import Record, RecordError
from agentd.supervise.run_handle import RunHandle
from agentd.supervise.run_recorder import RunFacts
from agentd.supervise.watching import additions, serve_hooks
from agentd.supervise.work_folders import folders_ready, while_wanted
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PaneRequest:
    """What a pane is to execute."""

    run_id: str
    script: str
    """Path of the launch script."""
    held: bool = False
    """Whether the script waits to be released."""
    writer: str | None = None
    """Shell command that is to read what it prints."""
    way_out: WayOut | None = None
    """How it reaches by name what is declared."""
    extra: int = 0
    """Processes of its sandbox, beside the agent's."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was made ready for a launch."""

    sandbox: Ready | None = None
    way_out: WayOut | None = None
    programs: tuple[Path, ...] = ()
    """Folders that come first on its PATH."""


async def make_ready(
    host: Host, desired: DesiredAgent, run_id: str, wanted: Callable[[], bool], shell: int | None
) -> Prepared | None:
    """Make and check all that a launch needs; ``None`` if the launch is no longer wanted meanwhile.

    Parameters
    ----------
    shell
        Pid of the shell that a former run of the agent became, if there is one.

    Raises
    ------
    PreflightError
        With the reason why it cannot be launched.
    """
    clock = host.clock
    packages = _packages(desired.spec)
    if desired.launch is None:
        raise PreflightError(desired.error or "there is nothing to launch")
    if desired.spec.policy.limits:
        host.groups.expect()
    if not await folders_ready(host.folders, desired.spec, wanted, clock.today(), clock.wall(), shell):
        return None
    programs: tuple[Path, ...] = ()
    if packages:
        found = asyncio.create_task(host.sandboxes.packages.get(packages), name=f"packages of {desired.spec.name}")
        if not await while_wanted(found, wanted):
            return None
        programs = found.result()
    await check_launch(host, desired)
    await host.sandboxes.cover(desired.spec)
    sandbox = way_out = None
    if desired.spec.type is AgentType.SANDBOXED:
        assert desired.launch is not None
        spec = desired.spec
        if spec.sandbox.reach:
            way_out = await host.egress.make_ready(run_id, spec.name, spec.sandbox, desired.egress)
        environment = with_programs({**host.base_environment, **desired.launch.environment}, programs)
        hooks = host.runtime.hooks_path(run_id) if spec.turns and desired.stays else None
        sandbox = await host.sandboxes.make_ready(spec, desired.launch.argv[0], environment, way_out, hooks)
    await give_trust(host, desired)
    return Prepared(sandbox, way_out, programs)


def _packages(spec: AgentSpec) -> tuple[str, ...]:
    return spec.sandbox.extra_packages if spec.type is AgentType.SANDBOXED else ()


async def check_launch(host: Host, desired: DesiredAgent) -> None:
    """Check that everything a launch needs is there.

    Raises
    ------
    PreflightError
        With the reason why it cannot be launched.
    """
    launch = desired.launch
    if launch is None:
        raise PreflightError(desired.error or "there is nothing to launch")
    programs = host.sandboxes.packages.known(_packages(desired.spec))
    if programs is None:
        # The launch itself is to find them; its program may be among them.
        return
    for variable, port in ports_of(desired.spec).items():
        if not is_free(port):
            raise PreflightError(
                f"port {port}, which {variable} gives it, is in use by another program; end that, or rename {variable}"
            )
    origin = PATH_SET if "PATH" in launch.environment else host.path_origin
    environment = with_programs({**host.base_environment, **launch.environment}, programs)
    await host.preflight.check(desired.spec.workdir, launch.argv[0], environment, origin)
    if desired.renderer is not None:
        await check_renderer(host.preflight.looks, desired.renderer, host.user)
    if desired.spec.type is AgentType.SANDBOXED:
        await host.sandboxes.engine(desired.spec.sandbox.kind)


async def give_trust(host: Host, desired: DesiredAgent) -> None:
    """Have the harness trust the folder that it is launched in, if agentd made that; otherwise it would ask."""
    file, launch, spec = desired.trust, desired.launch, desired.spec
    if file is None or launch is None:
        return
    environment = {**host.base_environment, **launch.environment}
    home = Path(environment.get("HOME") or host.user.home)
    # The program takes a relative path from where it runs.
    path, inside = spec.workdir / file.path(environment, home), None
    if spec.type is AgentType.SANDBOXED:
        inside = host.sandboxes.home_outside(spec.name)
        path = inside / path.relative_to(home) if path.is_relative_to(home) else path
    try:
        folder = await host.folders.trust(spec, file, path, inside)
    except PreflightError as error:
        log.warning("agent_trust", agent=spec.name, harness=spec.harness, path=str(path), reason=str(error))
        return
    if folder is not None:
        found = {"harness": spec.harness, "folder": str(folder), "path": str(path)}
        log.info("agent_trust", agent=spec.name, **found)
        host.emit(Event(EventKind.TRUSTED, spec.name, None, found))


def prepare(host: Host, desired: DesiredAgent, run_id: str, record: str, prepared: Prepared) -> PaneRequest:
    """Write the record and the script of a launch.

    Raises
    ------
    PreflightError
        With the reason why they cannot be written.
    """
    spec, sandbox = desired.spec, prepared.sandbox
    execution = _execution(host, desired, run_id, prepared)
    limits = spec.policy.limits
    held = _is_held(host, spec.name, run_id, limits)
    script = LaunchScript(
        agent=spec.name,
        run_id=run_id,
        argv=execution.argv,
        environment=execution.environment,
        workdir=str(spec.workdir),
        open_files=host.open_files,
        wrapper=None if sandbox is None else sandbox.wrapper,
        held=held,
    )
    try:
        host.runtime.write_record(run_id, record)
        _write_beside(host, run_id, prepared, execution.added)
        path = host.runtime.write_script(script)
        serve_hooks(host, spec.name, run_id, {} if execution.added is None else execution.added.memo)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PreflightError(f"cannot write the launch script in {host.runtime.path}: {reason}") from error
    extra = 0 if sandbox is None else sandbox.wrapper.processes(limits.pid_limit or 0)
    return PaneRequest(run_id, path, held, way_out=prepared.way_out, extra=extra)


@dataclass(frozen=True, slots=True)
class _Execution:
    """What a run executes, with all that is added to what is declared."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    added: Additions | None


def _execution(host: Host, desired: DesiredAgent, run_id: str, prepared: Prepared) -> _Execution:
    launch, spec, sandbox = desired.launch, desired.spec, prepared.sandbox
    assert launch is not None
    own = {AGENT_VARIABLE: spec.name, RUN_ID_VARIABLE: run_id}
    base = host.base_environment if sandbox is None else inherited_inside(host.base_environment, sandbox.home)
    given = {} if prepared.way_out is None else prepared.way_out.environment
    environment = {**base, **own, **given, **launch.environment}
    added = additions(host, desired, run_id, environment, sandbox)
    if added is not None:
        environment = {**base, **own, **given, **added.environment, **launch.environment, **added.amended}
    argv = launch.argv if added is None else added.argv
    if desired.renderer is not None:
        argv = (*renderer(desired.renderer), *argv)
    environment = with_programs(environment, prepared.programs)
    problem = oversized((), environment)
    if problem is not None:
        raise PreflightError(problem)
    if host.debug:
        log.debug(
            "agent_launching",
            agent=spec.name,
            run=run_id,
            argv=[host.redact(word) for word in argv],
            workdir=str(spec.workdir),
            environment=sorted(environment),
        )
    return _Execution(argv, environment, added)


def _write_beside(host: Host, run_id: str, prepared: Prepared, added: Additions | None) -> None:
    """Write what stands beside the launch script."""
    sandbox, way_out = prepared.sandbox, prepared.way_out
    inside = sandbox is not None and sandbox.hooks
    if way_out is not None and way_out.trusted is not None:
        host.runtime.write_trusted(run_id, way_out.trusted)
    if added is not None:
        host.runtime.write_watching(run_id, json.dumps(dict(added.memo)), None if inside else added.file)
    if inside:
        host.runtime.write_hooks(run_id, None if added is None else added.file)


def _is_held(host: Host, agent: str, run_id: str, limits: Limits) -> bool:
    """Whether a run gets a control group for its limits; logs those that cannot be enforced."""
    if limits and not host.groups.enforcing:
        reasons = {name: host.groups.foreseen(name)[1] for name in limits.declared()}
        log.warning("limits_not_enforced", agent=agent, run=run_id, reasons=reasons)
        return False
    return bool(limits)


def served(life: Life, handle: RunHandle | None) -> Running | None:
    """Say of which run the loopback interface is served, if the agent reaches something by name."""
    desired, run = life.desired, life.run
    if desired is None or not desired.spec.sandbox.reach or run is None or run.ended is not None:
        return None
    process = handle.process if handle is not None and handle.run_id == run.id else None
    pid = None if process is None else process.pid
    return Running(run.id, life.name, desired.spec.sandbox, desired.egress, pid)


def facts_of(host: Host, desired: DesiredAgent, run_id: str) -> RunFacts:
    """What the transcript of a launch tells of it."""
    argv = () if desired.launch is None else tuple(host.redact(word) for word in desired.launch.argv)
    return RunFacts(desired.spec.name, run_id, desired.spec.harness, str(desired.spec.workdir), argv)


async def open_pane(host: Host, spec: AgentSpec, request: PaneRequest, pane: Pane | None) -> Pane:
    """Execute a launch script in the agent's pane, or in a new session if it has none.

    Raises
    ------
    PreflightError
        If its sandbox would have no way out, or somebody else's session has its name.
    TmuxError
        If tmux refuses.
    """
    if request.way_out is not None:
        await host.egress.serve(request.run_id, request.way_out)
    tmux, workdir, taken_back = host.tmux, str(spec.workdir), False
    while True:
        try:
            if pane is not None:
                try:
                    return await tmux.respawn(pane, workdir, request.script, request.writer)
                except TmuxError as error:
                    log.info("agent_pane_gone", agent=spec.name, reason=str(error))
                    pane = None
            host.sessions.claim(spec.session, spec.name)
            return await tmux.new_session(spec.session, spec.name, workdir, request.script, request.writer)
        except TmuxError as error:
            host.sessions.release(spec.session, spec.name)
            if "duplicate session" not in str(error):
                raise
            pane = None if taken_back else await _take_back(host, spec)
            taken_back = True
            if pane is None:
                raise PreflightError(
                    f'a tmux session "{spec.session}" exists that agentd did not open; close or rename it'
                ) from error
        except TmuxUnreachableError:
            # Whether tmux acted on it is unknown: look for a pane of this run before trying again.
            await tmux.wait_connected()
            found = await _find_pane(host, request.run_id)
            if found is not None:
                return found


async def _take_back(host: Host, spec: AgentSpec) -> Pane | None:
    """Find a pane that a former daemon opened for this agent just before it ended, and end what runs there."""
    for listed in await host.tmux.list_launched_panes():
        run_id = host.runtime.launched(listed.command)
        if listed.session != spec.session or run_id is None:
            continue
        try:
            record = Record.parse(host.runtime.read_record(run_id) or "")
        except RecordError:
            continue
        if record.agent == spec.name:
            log.info("agent_pane_taken_back", agent=spec.name, run=run_id)
            await host.reaper.end(ProcessTree(run_id, ProcessIdentity.of(listed.pane.pid)))
            return listed.pane
    return None


async def _find_pane(host: Host, run_id: str) -> Pane | None:
    try:
        for listed in await host.tmux.list_launched_panes():
            if host.runtime.launched(listed.command) == run_id:
                return listed.pane
    except TmuxUnreachableError:
        log.debug("tmux_lost_again", run=run_id)
    return None
