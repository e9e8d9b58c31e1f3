"""The tmux server as a service of its own, where systemd runs agentd.

A server that agentd itself starts stays in agentd's unit: ``systemctl kill`` and a unit that somebody set to
``KillMode=control-group`` end it with the daemon, and every limit and every sandbox of the unit binds the agents. So
systemd is asked to start it, by ``systemd-run``: in a unit of its own, in `SLICE`. A scope would do for the first two
only, since its processes are still children of agentd, in its mount namespace and with its capabilities; it costs as
much (measured with systemd 252: 24-67 ms for a scope, 29-42 ms for a service, once in the life of a server).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import secrets
import shutil
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

SLICE = "agentd.slice"
"""Holds the agents: ``systemctl set-property agentd.slice MemoryMax=8G`` limits all of them together."""

STOP_SECONDS = 30
"""What agents have between SIGTERM and SIGKILL when the machine shuts down, or an operator stops the slice."""

_START_LIMIT = 15.0
"""Seconds for systemd to start the server; it needs 0.04."""
_MARGIN = 2.0
"""Seconds for a program that only asks systemd."""


_BOOTED = Path("/run/systemd/system")
"""There where systemd is the init; source: sd_booted(3)."""


class ServiceManagerError(RuntimeError):
    """systemd did not do what it was asked; the text says why."""


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The systemd that runs agentd, and can run the tmux server.

    Parameters
    ----------
    program
        Path of ``systemd-run``.
    of_user
        Whether it is a user's own manager rather than the system's.
    unit
        agentd's own unit, to be stopped before the server when the machine shuts down; ``None`` if not known.
    """

    program: str
    of_user: bool
    unit: str | None = None

    def command(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        socket_path: Path,
        user: tuple[int, int] | None = None,
        open_files: int | None = None,
    ) -> tuple[str, ...]:
        """Build the command that makes a service of a program that leaves a daemon behind.

        Parameters
        ----------
        argv
            The program.
        environment
            All that it gets beside what systemd gives every service; visible to others while ``systemd-run`` runs.
        socket_path
            Where it will listen, for the unit's description.
        user
            Numeric user and group to become, ``None`` to stay the manager's.
        open_files
            Limit of open files.
        """
        properties = [
            "Type=forking",
            f"Description=tmux server of the agents at {socket_path}".replace("%", "%%"),
            # One agent that runs out of memory is that agent's end, not the end of all.
            "OOMPolicy=continue",
            # The default, 15 % of the system's, is used up by some hundred agents with a dozen threads each.
            "TasksMax=infinity",
            # Shells ignore SIGTERM.
            "SendSIGHUP=yes",
            f"TimeoutStopSec={STOP_SECONDS}",
            f"TimeoutStartSec={_START_LIMIT:.0f}",
        ]
        if open_files is not None:
            properties.append(f"LimitNOFILE={open_files}")
        if self.unit is not None:
            # Otherwise a daemon would see its server die when the machine shuts down, and start another.
            properties.append(f"Before={self.unit}")
        return (
            self.program,
            *(["--user"] if self.of_user else []),
            "--quiet",
            "--collect",
            "--no-ask-password",
            # Never the name of one that is still ending.
            f"--unit=agentd-tmux-{secrets.token_hex(4)}",
            f"--slice={SLICE}",
            *([] if user is None else [f"--uid={user[0]}", f"--gid={user[1]}"]),
            *(f"--property={each}" for each in properties),
            *(f"--setenv={name}={value}" for name, value in environment.items()),
            "--",
            # systemd replaces $NAME in the words of a command.
            *(word.replace("$", "$$") for word in argv),
        )

    async def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        socket_path: Path,
        user: tuple[int, int] | None = None,
    ) -> None:
        """Start a program as a service, and wait until it has left its daemon behind.

        Raises
        ------
        ServiceManagerError
            If systemd refuses, the program fails, or it takes too long.
        """
        open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        command = self.command(argv, environment, socket_path=socket_path, user=user, open_files=open_files)
        status, _, complaint = await run_program(command, _START_LIMIT + _MARGIN)
        if status != 0:
            raise ServiceManagerError(" ".join(complaint.split()) or f"{self.program} ended with status {status}")

    async def is_stopping(self) -> bool:
        """Whether the manager is ending, with all it started: the machine goes down, or its user's last session."""
        command = ("systemctl", *(["--user"] if self.of_user else []), "is-system-running")
        try:
            _, answer, _ = await run_program(command, _MARGIN)
        except ServiceManagerError as error:
            log.warning("service_manager_not_asked", error=str(error), effect="agents are kept")
            return False
        return answer.strip() == "stopping"


async def run_program(command: Sequence[str], limit: float) -> tuple[int, str, str]:
    """Run a program; its exit status and what it printed.

    Raises
    ------
    ServiceManagerError
        If it cannot be started, or has not ended after `limit` seconds.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ServiceManagerError(f"cannot start {command[0]}: {error.strerror}") from error
    try:
        async with asyncio.timeout(limit):
            said, complaint = await process.communicate()
    except TimeoutError:
        raise ServiceManagerError(f"{command[0]} did not end within {limit:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode("utf-8", "replace"), complaint.decode("utf-8", "replace")


def find_service_manager() -> ServiceManager | None:
    """The systemd that runs this process as a service, if one does."""
    try:
        cgroups = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cgroups = ""
    program = shutil.which("systemd-run") or "systemd-run"
    return service_manager(os.environ, uid=os.geteuid(), pid=os.getpid(), program=program, cgroups=cgroups)


def reachable_manager() -> ServiceManager | None:
    """The systemd that makes units for this user, whether it runs this process or not."""
    program = shutil.which("systemd-run") or "systemd-run"
    if not _BOOTED.is_dir():
        return None
    if os.geteuid() == 0:
        return ServiceManager(program, of_user=False)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime, "systemd/private").is_socket():
        return ServiceManager(program, of_user=True)
    return None


def service_manager(
    environ: Mapping[str, str], *, uid: int, pid: int, program: str, cgroups: str
) -> ServiceManager | None:
    """Tell which systemd started this process as a service; ``None`` if none did, or it would not serve us.

    Parameters
    ----------
    environ
        What systemd put there (systemd.exec(5)): ``SYSTEMD_EXEC_PID``, which unlike ``INVOCATION_ID`` tells a service
        from what it started in turn, as a shell in a terminal; and ``MANAGERPID`` if the manager is a user's own.
    uid, pid
        Of this process.
    program
        Path of ``systemd-run``.
    cgroups
        Content of /proc/self/cgroup, which names the unit.
    """
    if environ.get("SYSTEMD_EXEC_PID") != str(pid):
        return None
    of_user = "MANAGERPID" in environ
    if not of_user and uid != 0:
        # A system service that is not root's: the system's manager makes no units for it.
        return None
    return ServiceManager(program, of_user, _own_unit(cgroups))


def _own_unit(cgroups: str) -> str | None:
    """Find the innermost service in the paths of /proc/self/cgroup: of the unified hierarchy, or systemd's own."""
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd"):
            services = [part for part in path.split("/") if part.endswith(".service")]
            if services:
                return services[-1]
    return None


def served(path: Path) -> bool:
    """Whether a server may listen on a Unix socket: for certain not if nobody accepts connections there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(os.fspath(path))
        except OSError as error:
            # Whatever else is wrong, as a full queue, the client will say.
            return error.errno not in (errno.ENOENT, errno.ECONNREFUSED)
    return True
