"""``agentctl upgrade``."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from agentd import __version__
from agentd.cli.agentctl.client import ApiError, Json, UnreachableError, view
from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, add_timeout
from agentd.cli.agentctl.kept_events import kept_events
from agentd.model.plan_report import PlannedOperation, PlanReport
from agentd.model.states import AgentState
from agentd.text.terminal import BOLD, DIM, RED, Cell, lines, plural

_DETAILS = """\
Has the running agentd become the one that is installed, in its own process. It first tries whether that works; all
agents go on, whatever else the end of agentd means to them, and are taken over. Says how many were restarted: 0.
--check says instead what the installed agentd, of which this agentctl is a part, would do to each running agent; exit
status 1 if that is not nothing. Edits of the files that agentd has not taken yet count, too. An upgrade that would not
leave running agents alone is refused, unless --force is given.
When not on a terminal: one line per agent, with fields separated by tabs: name, pid, what would be done, reason."""

_EXAMPLES = """\
agentctl upgrade --check
agentctl upgrade
agentctl upgrade --json | jq .restarts"""

_PATIENCE: Final = 60.0
_LOOK_AFTER: Final = 0.05
_CREDENTIALS: Final = struct.Struct("iII")
_STARTED: Final = "daemon_started"


def register(commands: Commands) -> None:
    """Add the command."""
    upgrade = commands.add("upgrade", _upgrade, details=_DETAILS, examples=_EXAMPLES)
    upgrade.add_argument("--check", action="store_true", help="only say what would become of the agents")
    upgrade.add_argument("--force", action="store_true", help="also if running agents would not be left alone")
    add_timeout(upgrade, "how long to wait for the other agentd", _PATIENCE)


def _upgrade(invocation: Invocation) -> Status:
    before = invocation.api.health()
    running = _running(invocation)
    touched = {each.agent: each for each in _operations(invocation) if each.agent in running}
    if invocation.arguments.check:
        document: Json = {
            "version": before.version,
            "installed": __version__,
            "agents": [_document(name, touched.get(name)) for name in running],
        }
        invocation.print_result(document, _checked(invocation, before.version, running, touched))
        return Status.FAILED if touched else Status.DONE
    if touched and not invocation.arguments.force:
        names = ", ".join(sorted(touched))
        raise CommandError(
            f"nothing was done: {names} would not be left alone: agentctl upgrade --check says why, --force upgrades"
        )
    _replace(invocation, before.pid)
    now, after = invocation.api.health(), _running(invocation)
    lost = sorted(name for name, run in running.items() if after.get(name) != run)
    document = {
        "from": before.version,
        "to": now.version,
        "pid": now.pid,
        "agents": len(running),
        "restarts": len(lost),
    }
    kept = f"agentd {before.version} is now {now.version}, pid {now.pid}: {plural(len(running), 'agent')} went on"
    shown = [f"{kept}, restarts: {len(lost)}", *(f"  {name} has another run" for name in lost)]
    invocation.print_result(document, shown)
    return Status.FAILED if lost else Status.DONE


def _running(invocation: Invocation) -> Mapping[str, tuple[int | None, int]]:
    """The agents that run: the process and the restarts of each."""
    agents = invocation.api.agents()
    return {each.name: (each.pid, each.restarts) for each in agents if each.state == AgentState.RUNNING}


def _operations(invocation: Invocation) -> Sequence[PlannedOperation]:
    from agentd.cli.agentctl.preview import preview
    from agentd.jcard.given_file import given_file

    report = view(PlanReport, invocation.api.get("/v1/plan"))
    config = Path(invocation.api.health().config.path)
    return preview(invocation, report, given_file(str(config)))[0] if config.exists() else ()


def _document(name: str, operation: PlannedOperation | None) -> dict[str, Json]:
    if operation is None:
        return {"name": name, "action": "nothing", "reason": None, "fields": []}
    return {
        "name": name, "action": operation.action, "reason": operation.reason, "fields": list(operation.fields),
    }  # fmt: skip


def _checked(
    invocation: Invocation,
    version: str,
    running: Mapping[str, tuple[int | None, int]],
    touched: Mapping[str, PlannedOperation],
) -> list[str]:
    rows = [
        [
            Cell(name, BOLD),
            Cell("" if pid is None else str(pid)),
            Cell("nothing", DIM) if name not in touched else Cell(touched[name].action, RED),
            Cell(touched[name].reason if name in touched else ""),
        ]
        for name, (pid, _) in running.items()
    ]
    shown = lines(("NAME", "PID", "WOULD DO", "REASON"), rows, invocation.display)
    if not invocation.display.table:
        return shown
    return (
        [f"agentd {version} runs, {__version__} is installed", "", *shown]
        if rows
        else [f"agentd {version} runs, {__version__} is installed; no agent runs"]
    )


def _replace(invocation: Invocation, pid: int) -> None:
    """Have the daemon replaced, and wait until that is done.

    Raises
    ------
    CommandError
        If it cannot be asked, or does not do it in time.
    """
    _check_process(invocation.settings.api_socket, pid)
    last = _last_start(invocation)
    try:
        os.kill(pid, signal.SIGUSR2)
    except OSError as error:
        raise CommandError(f"agentd, pid {pid}, cannot be asked: {error.strerror}: run this as its user") from None
    end = time.monotonic() + invocation.arguments.timeout
    while time.monotonic() < end:
        try:
            if _last_start(invocation) != last:
                return
        except (UnreachableError, ApiError):
            pass  # it is being replaced
        time.sleep(_LOOK_AFTER)  # noqa: TID251 (a person waits, and the daemon is asked)
    raise CommandError(
        f"agentd has not been replaced within {invocation.arguments.timeout:g} s; its log says why (not_replaced)"
    )


def _last_start(invocation: Invocation) -> Json:
    found = kept_events(invocation.api, [_STARTED], tail=1)
    return found[-1].get("seq") if found else None


def _check_process(socket_path: Path, pid: int) -> None:
    """Check that this process serves the socket, and knows what it is asked: any other would be ended by the signal."""
    if not hasattr(socket, "SO_PEERCRED"):
        raise CommandError("this system does not tell who serves a socket: restart agentd with --on-shutdown keep")
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(_PATIENCE)
        asked.connect(str(socket_path))
        found, _, _ = _CREDENTIALS.unpack(asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if found != pid:
        raise CommandError(f"agentd says that it is process {pid}, and the kernel {found}: run this where it runs")
    known = Path(f"/proc/{pid}/status").read_text().splitlines()
    handled = next((line.split()[1] for line in known if line.startswith("SigCgt:")), "0")
    if not int(handled, 16) >> (signal.SIGUSR2 - 1) & 1:
        raise CommandError(
            "this agentd is too old to be replaced in place: restart it, with --on-shutdown keep if it was not started "
            "so (systemctl restart agentd); the next time this works"
        )
