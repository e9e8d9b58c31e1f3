"""Which systemd may start the tmux server, and what it is asked; tests/systemd asks a real one."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from structlog.testing import LogCapture

from agentd.systemd.run import ServiceManager, ServiceManagerError, served, service_manager
from tests.support.waiting import until
from tests.tmux.servers import make_server

SYSTEM = {"SYSTEMD_EXEC_PID": "42", "INVOCATION_ID": "x"}
USERS = SYSTEM | {"MANAGERPID": "7"}
UNIFIED = "0::/system.slice/agentd.service\n"


def manager_of(environ: dict[str, str], uid: int = 0, cgroups: str = UNIFIED) -> ServiceManager | None:
    return service_manager(environ, uid=uid, pid=42, program="/bin/systemd-run", cgroups=cgroups)


def test_a_service_of_the_system_has_its_server_started_by_the_system() -> None:
    assert manager_of(SYSTEM) == ServiceManager("/bin/systemd-run", of_user=False, unit="agentd.service")


def test_a_service_of_a_user_has_its_server_started_by_the_users_manager() -> None:
    cgroups = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/agentd.service\n"
    assert manager_of(USERS, 1000, cgroups) == ServiceManager("/bin/systemd-run", of_user=True, unit="agentd.service")


@pytest.mark.parametrize(
    ("environ", "uid"),
    [
        ({}, 0),
        # A shell in a terminal that systemd started, or a wrapper that stayed.
        ({"SYSTEMD_EXEC_PID": "41", "INVOCATION_ID": "x"}, 0),
        # A system service with User=: the system's manager makes no units for it.
        (SYSTEM, 1000),
    ],
)
def test_otherwise_agentd_starts_its_server_itself(environ: dict[str, str], uid: int) -> None:
    assert manager_of(environ, uid) is None


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("1:name=systemd:/system.slice/agentd.service\n0::/\n", "agentd.service"),
        ("5:memory:/other.service\n0::/system.slice/agentd.service/inner\n", "agentd.service"),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_agentds_own_unit_is_found_by_its_control_group(cgroups: str, unit: str | None) -> None:
    manager = manager_of(SYSTEM, cgroups=cgroups)
    assert manager is not None
    assert manager.unit == unit


def test_the_server_runs_as_the_agent_user_in_the_slice_of_agents() -> None:
    manager = ServiceManager("systemd-run", of_user=False, unit="agentd.service")
    command = manager.command(["tmux"], {"HOME": "/home/a b"}, socket_path=Path("/s"), user=(1000, 1001))
    assert {"--uid=1000", "--gid=1001", "--slice=agentd.slice", "--setenv=HOME=/home/a b"} <= set(command)
    assert "--property=Before=agentd.service" in command
    assert "--user" not in command
    assert "--user" in ServiceManager("systemd-run", of_user=True).command(["tmux"], {}, socket_path=Path("/s"))


def test_systemd_replaces_nothing_in_the_command() -> None:
    command = ServiceManager("systemd-run", of_user=False).command(
        ["tmux", "-S", "/tmp/$HOME/%n/s"], {}, socket_path=Path("/tmp/%n/s")
    )
    assert command[command.index("--") + 1 :] == ("tmux", "-S", "/tmp/$$HOME/%n/s")
    assert any(word.endswith("/tmp/%%n/s") for word in command)


async def test_a_refusal_says_what_systemd_said(short_folder: Path) -> None:
    program = short_folder / "systemd-run"
    program.write_text("#!/bin/sh\necho 'no units\ntoday' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(ServiceManagerError, match=r"^no units today$"):
        await ServiceManager(str(program), of_user=False).start(["tmux"], {}, socket_path=short_folder / "s")
    with pytest.raises(ServiceManagerError, match=r"cannot start .*: No such file"):
        await ServiceManager("/nowhere/systemd-run", of_user=False).start(["tmux"], {}, socket_path=short_folder / "s")


async def test_a_cancelled_start_leaves_no_process_behind(short_folder: Path) -> None:
    program = short_folder / "systemd-run"
    program.write_text(f"#!/bin/sh\necho $$ > {short_folder}/pid\nexec sleep 600\n")
    program.chmod(0o755)
    starting = asyncio.create_task(
        ServiceManager(str(program), of_user=False).start(["tmux"], {}, socket_path=short_folder / "s")
    )
    pid = short_folder / "pid"
    await until(lambda: pid.exists() and pid.read_text().strip())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


async def test_without_its_service_manager_the_server_starts_all_the_same(
    short_folder: Path, events: LogCapture
) -> None:
    server = make_server(short_folder, manager=ServiceManager("/nowhere/systemd-run", of_user=False))
    await server.connect()
    try:
        assert [entry["event"] for entry in events.entries] == ["tmux_service_not_started"]
        await server.close()
        await server.connect()
        # It runs, so nothing was asked again.
        assert [entry["event"] for entry in events.entries] == ["tmux_service_not_started"]
    finally:
        await server.kill_server()


@pytest.mark.parametrize(
    ("word", "stopping"), [("stopping", True), ("running", False), ("degraded", False), ("", False)]
)
async def test_the_service_manager_says_whether_the_machine_goes_down(
    short_folder: Path, word: str, stopping: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = short_folder / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$1 $2" = "--user is-system-running" ] && echo {word}\n[ {word}x = runningx ]\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{short_folder}:/usr/bin:/bin")
    assert await ServiceManager("systemd-run", of_user=True).is_stopping() is stopping


async def test_a_service_manager_that_says_nothing_is_not_stopping(
    monkeypatch: pytest.MonkeyPatch, events: LogCapture
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not await ServiceManager("systemd-run", of_user=False).is_stopping()
    assert [entry["event"] for entry in events.entries] == ["service_manager_not_asked"]


def test_a_socket_is_served_while_somebody_listens(short_folder: Path) -> None:
    path = short_folder / "s"
    assert not served(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        assert served(path)
    assert path.exists()
    assert not served(path)
