from __future__ import annotations

import asyncio
import functools
import grp
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import libtmux
import psutil
import pytest
from structlog.testing import LogCapture

from agentd.tmux.errors import TmuxError, TmuxStartError, TmuxUnreachableError
from agentd.tmux.panes import Pane
from agentd.tmux.server import TmuxServer
from agentd.tmux.setup import ANCHOR, ServerUser
from tests.support.descriptors import descriptors_limited
from tests.support.processes import alive
from tests.support.waiting import until, wait_for, wait_for_file
from tests.tmux.servers import clients, environment, make_server, tmux, wait_for_screen

STRANGE_NAMES = [
    "a b",
    "it's",
    'a "b"',
    "a{b}",
    "ünï €",
    "a;b",
    "x;",
    "~",
    "a} b",
    "a#{pid}",
    "#(date)",
    "a#[b",
    "日本",
    "*",
    "a,b",
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs agents as another user")
NOBODY = ServerUser(65534, 65534, ())


@pytest.fixture
def script(short_folder: Path) -> str:
    """A launch script that shows that it runs and waits."""
    path = short_folder / "script"
    path.write_text("echo here; exec cat\n")
    return str(path)


def is_in(pid: int, folder: Path) -> bool:
    return psutil.Process(pid).cwd() == str(folder)


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def open_session(server: TmuxServer, name: str, script: str) -> Pane:
    return await server.new_session(name, "window", "/", script)


@pytest.fixture
async def staying(server: TmuxServer) -> AsyncIterator[list[str]]:
    """The reasons of reconnections, while the server is kept connected."""
    reasons: list[str] = []

    async def reconnected(reason: str) -> None:
        reasons.append(reason)

    task = asyncio.create_task(server.stay_connected(reconnected))
    yield reasons
    task.cancel()
    await asyncio.wait([task])


# -- the server


async def test_a_second_daemon_uses_the_server_and_ends_the_firsts_client(
    server: TmuxServer, short_folder: Path
) -> None:
    (former,) = clients(server.socket)
    second = make_server(short_folder)
    await second.connect()
    assert second.identity == server.identity
    await asyncio.to_thread(wait_for, lambda: not alive(former.pid))
    assert len(clients(server.socket)) == 1
    await second.close()
    assert not second.connected
    assert clients(server.socket) == []


async def test_disconnecting_leaves_the_sessions(server: TmuxServer, script: str, witness: libtmux.Server) -> None:
    pane = await open_session(server, "kept", script)
    await server.close()
    with pytest.raises(TmuxUnreachableError):
        await server.list_launched_panes()
    assert {session.name for session in witness.sessions} == {ANCHOR, "kept"}
    await server.connect()
    assert [listed.pane for listed in await server.list_launched_panes()] == [pane]


async def test_a_killed_client_is_replaced_and_sessions_stay(
    server: TmuxServer, staying: list[str], script: str
) -> None:
    pane = await open_session(server, "kept", script)
    former = server.identity
    clients(server.socket)[0].kill()
    await until(lambda: staying, what="a reconnection")
    assert server.identity == former
    assert [listed.pane for listed in await server.list_launched_panes()] == [pane]


async def test_a_killed_server_is_replaced_and_known_as_another(server: TmuxServer, staying: list[str]) -> None:
    former = server.identity
    assert former is not None
    os.kill(former.pid, signal.SIGKILL)
    await until(lambda: staying, what="a reconnection")
    assert server.identity not in (None, former)
    assert await server.list_launched_panes() == []
    assert "exited" in staying[0]


@pytest.mark.usefixtures("staying")
async def test_commands_wait_for_no_connection_but_can_be_told_when_there_is_one(
    server: TmuxServer, events: LogCapture
) -> None:
    assert server.identity is not None
    server.socket.chmod(0o770)
    os.kill(server.identity.pid, signal.SIGKILL)
    await until(lambda: not server.connected)
    with pytest.raises(TmuxUnreachableError, match="no connection"):
        await server.list_launched_panes()
    await server.wait_connected()
    assert await server.list_launched_panes() == []
    assert "tmux_connection_lost" in [event["event"] for event in events.entries]


@pytest.mark.usefixtures("staying")
async def test_reconnecting_is_tried_until_it_works(
    server: TmuxServer, events: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.identity is not None
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        os.kill(server.identity.pid, signal.SIGKILL)
        await until(lambda: [e for e in events.entries if e["event"] == "tmux_unreachable"][1:])
    await server.wait_connected()
    assert "cannot find tmux on the PATH: install it" in str(events.entries)


async def test_the_anchor_is_made_again_when_somebody_closes_it_and_nothing_is_forgotten(
    server: TmuxServer, staying: list[str], witness: libtmux.Server
) -> None:
    await server.set_global("@agentd_key", "k")
    tmux(server.socket, "kill-session", "-t", f"={ANCHOR}")
    await until(lambda: staying)
    assert [session.name for session in witness.sessions] == [ANCHOR]
    assert await server.get_global("@agentd_key") == "k"


async def test_a_connection_that_is_cancelled_midway_leaves_no_client(short_folder: Path, server: TmuxServer) -> None:
    second, first = make_server(short_folder), {client.pid for client in clients(server.socket)}
    for turns in range(0, 60, 3):
        task = asyncio.create_task(second.connect())
        for _ in range(turns):
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        await second.close()
    assert {client.pid for client in clients(server.socket)} <= first


async def test_a_stale_socket_file_is_replaced(short_folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(short_folder / "s"))
    made = make_server(short_folder)
    await made.connect()
    assert made.connected
    await made.kill_server()


async def test_killing_the_server_ends_it_with_all_sessions_and_its_socket(server: TmuxServer, script: str) -> None:
    pane = await open_session(server, "a", script)
    assert server.identity is not None
    await server.kill_server()
    assert not alive(server.identity.pid)
    assert not server.socket.exists()
    await asyncio.to_thread(wait_for, lambda: not alive(pane.pid))


def answers_within(server: TmuxServer, limit: float) -> None:
    """Give up what is asked on the connection that there is; another one has its time, as to start a server has."""
    assert server._connection is not None
    server._connection._answer_limit = limit


async def test_a_server_that_does_not_answer_is_killed(server: TmuxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.tmux.server_process._END_LIMIT", 0.5)
    monkeypatch.setattr("agentd.tmux.connection._LEAVE_LIMIT", 0.05)
    assert server.identity is not None
    answers_within(server, 0.1)
    os.kill(server.identity.pid, signal.SIGSTOP)
    await server.kill_server()
    assert not alive(server.identity.pid)
    assert not server.socket.exists()


async def test_killing_the_server_works_after_the_connection_was_lost(server: TmuxServer) -> None:
    assert server.identity is not None
    await server.close()
    await server.kill_server()
    assert not alive(server.identity.pid)


async def test_a_server_that_does_not_end_keeps_its_socket_and_is_named(
    server: TmuxServer, events: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.tmux.server_process._END_LIMIT", 0.5)
    monkeypatch.setattr("agentd.tmux.connection._LEAVE_LIMIT", 0.05)
    assert server.identity is not None
    answers_within(server, 0.1)
    os.kill(server.identity.pid, signal.SIGSTOP)
    # As if tmux named a process of somebody else.
    monkeypatch.setattr("agentd.tmux.server_process.started_by", lambda *_: False)
    await server.kill_server()
    assert server.socket.exists()
    assert [(e["event"], e["pid"]) for e in events.entries if e["log_level"] == "error"] == [
        ("tmux_server_stays", server.identity.pid)
    ]


async def test_a_path_too_long_for_a_socket_is_a_start_error_that_says_so(short_folder: Path) -> None:
    folder = short_folder / ("x" * 100)
    folder.mkdir()
    with pytest.raises(TmuxStartError, match=r"has \d+ bytes, the system takes 107"):
        await make_server(folder).connect()


async def test_a_path_of_the_longest_length_works(short_folder: Path) -> None:
    folder = short_folder / ("x" * (107 - len(str(short_folder)) - len("//s")))
    folder.mkdir()
    made = make_server(folder)
    assert len(str(made.socket)) == 107
    await made.connect()
    await made.kill_server()


async def test_a_missing_tmux_is_a_start_error_with_advice(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(short_folder))
    with pytest.raises(TmuxStartError, match="install it"):
        await make_server(short_folder).connect()


async def test_a_missing_folder_is_a_start_error_that_names_it(short_folder: Path) -> None:
    with pytest.raises(TmuxStartError, match=r"there is no folder .*nowhere"):
        await make_server(short_folder / "nowhere").connect()


async def test_the_admin_group_gets_the_socket(short_folder: Path) -> None:
    # Whoever is not root may give a file to a group of their own alone.
    groups = os.getgroups() if os.geteuid() else [grp.getgrnam("daemon").gr_gid]
    gid = next((gid for gid in groups if gid != os.getgid()), None)
    if gid is None:
        pytest.skip("only as root, or as a user in two groups")
    made = make_server(short_folder, admin_gid=gid)
    await made.connect()
    found = made.socket.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o770, gid)
    await made.kill_server()


@as_root
async def test_the_members_of_the_admin_group_are_admitted(
    server: TmuxServer, short_folder: Path, events: LogCapture
) -> None:
    made = make_server(short_folder, admin_names=lambda: ("daemon", "no-such-user", "root"))
    await made.connect()
    assert "daemon" in tmux(server.socket, "server-access", "-l")
    refused = [event["user"] for event in events.entries if event["event"] == "tmux_admin_not_admitted"]
    assert refused == ["no-such-user"]
    await made.close()


async def test_a_socket_replaced_by_a_link_is_not_followed(server: TmuxServer, short_folder: Path) -> None:
    precious = short_folder / "precious"
    precious.write_text("")
    precious.chmod(0o600)
    moved = server.socket.rename(short_folder / "moved")
    server.socket.symlink_to(precious)
    with pytest.raises(OSError, match="no socket"):
        server._setup.open_socket_file()
    server.socket.unlink()
    moved.rename(server.socket)
    assert stat.S_IMODE(precious.stat().st_mode) == 0o600


@as_root
async def test_as_another_user_server_and_panes_are_that_users(short_folder: Path) -> None:
    os.chown(short_folder, NOBODY.uid or 0, -1)
    made = make_server(short_folder, user=NOBODY, admin_gid=1)
    await made.connect()
    assert made.identity is not None
    assert psutil.Process(made.identity.pid).uids().real == 65534
    found = made.socket.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 1, 0o770)
    write(short_folder / "script", "exec cat\n")
    pane = await made.new_session("a", "w", "/", str(short_folder / "script"))
    assert psutil.Process(pane.pid).uids().real == 65534
    assert [listed.pane for listed in await made.list_launched_panes()] == [pane]
    await made.kill_server()


@as_root
async def test_a_pane_whose_process_is_not_the_agent_users_is_refused(
    server: TmuxServer, script: str, events: LogCapture
) -> None:
    await open_session(server, "a", script)
    # A server that claims root's processes as the agent user's panes.
    server._user = NOBODY
    with pytest.raises(TmuxError, match="not the agent user's"):
        await open_session(server, "b", script)
    assert await server.list_launched_panes() == []
    assert {event["event"] for event in events.entries} == {"tmux_pane_left_out"}
    server._user = ServerUser()


async def test_a_server_that_somebody_started_from_a_shell_hands_none_of_its_environment_on(
    short_folder: Path, script: str
) -> None:
    path = short_folder / "s"
    mine = {**environment(), "THEIR_SECRET": "x\nHOME=1\n", "AGENTD_RUN_ID": "theirs"}
    tmux(path, "-f", "/dev/null", "new-session", "-d", "cat", env=mine)
    made = make_server(short_folder)
    await made.connect()
    pane = await open_session(made, "a", script)
    wait_for_screen(made.socket, "=a:", "here")
    names = psutil.Process(pane.pid).environ().keys()
    assert names.isdisjoint({"THEIR_SECRET", "AGENTD_RUN_ID"})
    assert {"PATH", "HOME", "TERM"} <= names
    await made.kill_server()


# -- sessions and panes


async def test_a_session_is_what_was_asked_for(server: TmuxServer, witness: libtmux.Server, script: str) -> None:
    pane = await server.new_session("plain", "window name", "/usr", script)
    session = next(session for session in witness.sessions if session.name == "plain")
    found = session.windows[0].panes[0]
    assert (session.id, session.windows[0].id, found.id, found.pane_pid) == (
        pane.session_id, pane.window_id, pane.pane_id, str(pane.pid),
    )  # fmt: skip
    assert session.windows[0].name == "window name"
    assert (found.width, found.height) == ("200", "50")
    wait_for_screen(server.socket, "=plain:", "here")
    assert psutil.Process(pane.pid).cwd() == "/usr"
    assert await server.capture(pane) == "here"


@pytest.mark.parametrize("name", STRANGE_NAMES)
async def test_a_strange_session_name_is_kept_and_found_again(
    server: TmuxServer, witness: libtmux.Server, script: str, name: str
) -> None:
    pane = await open_session(server, name, script)
    assert {session.name for session in witness.sessions} == {ANCHOR, name}
    listed = await server.list_launched_panes()
    assert [(found.pane, found.session, found.command, found.dead) for found in listed] == [
        (pane, name, f"/bin/sh {script}", False)
    ]
    tmux(server.socket, "rename-session", "-t", pane.session_id, "other")
    await server.rename_session(pane, name)
    assert (await server.list_launched_panes())[0].session == name


async def test_strange_folders_are_kept(server: TmuxServer, short_folder: Path, script: str) -> None:
    for name in ("a b", "#{pid}", "#(date)", "#[bold]", "ü'\"", "$HOME", "%H"):
        folder = short_folder / name
        folder.mkdir()
        pane = await server.new_session("s", "w", str(folder), script)
        # tmux answers before its child has gone there.
        await until(functools.partial(is_in, pane.pid, folder), what=name)
        await server.kill_pane(pane)


async def test_sessions_whose_names_begin_alike_are_never_confused(
    server: TmuxServer, witness: libtmux.Server, script: str
) -> None:
    longer = await open_session(server, "abc-two", script)
    shorter = await open_session(server, "abc", script)
    assert {found.session: found.pane for found in await server.list_launched_panes()} == {
        "abc": shorter, "abc-two": longer,
    }  # fmt: skip
    await server.kill_pane(shorter)
    await server.kill_pane(shorter)
    assert {session.name for session in witness.sessions} == {ANCHOR, "abc-two"}
    assert [found.pane for found in await server.list_launched_panes()] == [longer]


async def test_a_name_that_is_taken_is_refused_and_changes_nothing(server: TmuxServer, script: str) -> None:
    first = await open_session(server, "a", script)
    with pytest.raises(TmuxError, match="duplicate session"):
        await open_session(server, "a", f"{script}-2")
    assert [(found.pane, found.command) for found in await server.list_launched_panes()] == [
        (first, f"/bin/sh {script}")
    ]


async def test_respawning_runs_the_new_script_in_the_same_pane(
    server: TmuxServer, short_folder: Path, script: str
) -> None:
    former = await open_session(server, "a", script)
    other = short_folder / "other"
    other.write_text("echo again; exec cat\n")
    pane = await server.respawn(former, "/usr", str(other))
    assert (pane.pane_id, pane.session_id) == (former.pane_id, former.session_id)
    assert pane.pid != former.pid
    wait_for_screen(server.socket, "=a:", "again")
    await asyncio.to_thread(wait_for, lambda: not alive(former.pid))
    assert [(found.pane, found.command) for found in await server.list_launched_panes()] == [(pane, f"/bin/sh {other}")]


async def test_a_respawn_that_tmux_has_no_terminal_for_harms_no_other_pane(server: TmuxServer, script: str) -> None:
    other, pane = await open_session(server, "a", script), await open_session(server, "b", script)
    assert server.identity is not None
    with descriptors_limited(server.identity.pid):
        for _ in range(2):  # tmux 3.3a crashes at the second one in the same pane
            with pytest.raises(TmuxError, match=r"fork failed|can't find pane"):
                await server.respawn(pane, "/", script)
    assert [listed.pane for listed in await server.list_launched_panes()] == [other]
    assert alive(other.pid)
    assert (await open_session(server, "b", script)).session_id != pane.session_id


async def test_a_pane_without_a_process_is_closed_when_panes_are_listed(server: TmuxServer, script: str) -> None:
    other, pane = await open_session(server, "a", script), await open_session(server, "b", script)
    assert server.identity is not None
    with descriptors_limited(server.identity.pid), pytest.raises(TmuxError, match="fork failed"):
        # As a daemon leaves it that ends right then.
        await server._run(f"respawn-pane -k -t {pane.pane_id} /bin/sh {script}")
    assert [listed.pane for listed in await server.list_launched_panes()] == [other]
    places = (await server.list_states()).values()
    assert {(place.session_id, place.session) for place in places} == {(other.session_id, "a"), ("$0", ANCHOR)}


async def test_respawning_a_pane_that_is_gone_is_refused(server: TmuxServer, script: str) -> None:
    pane = await open_session(server, "a", script)
    await server.kill_pane(pane)
    with pytest.raises(TmuxError, match="can't find pane"):
        await server.respawn(pane, "/", script)


async def test_other_sessions_and_panes_are_not_listed(server: TmuxServer, script: str) -> None:
    pane = await open_session(server, "a", script)
    tmux(server.socket, "new-session", "-d", "-s", "operator", "cat")
    tmux(server.socket, "split-window", "-d", "-t", "=a:", "cat")
    tmux(server.socket, "new-window", "-d", "-t", "=a:", "cat")
    assert [found.pane for found in await server.list_launched_panes()] == [pane]


async def test_a_command_that_somebody_else_started_hides_no_other_pane(
    server: TmuxServer, script: str, events: LogCapture
) -> None:
    pane = await open_session(server, "a", script)
    tmux(server.socket, "new-session", "-d", "-s", "mad", "/bin/sh", "-c", "exec cat; x\ny\tz\n\n%end 1 1 1")
    listed = await server.list_launched_panes()
    assert pane in [found.pane for found in listed]
    assert {event["event"] for event in events.entries} <= {"tmux_pane_left_out"}


async def test_a_key_reaches_the_program_also_out_of_copy_mode(server: TmuxServer, short_folder: Path) -> None:
    asked = short_folder / "asked"
    script = short_folder / "script"
    script.write_text(f"trap 'echo got it >{asked}; exit' INT; echo ready; while :; do read -r line; done\n")
    pane = await open_session(server, "a", str(script))
    wait_for_screen(server.socket, "=a:", "ready")
    tmux(server.socket, "copy-mode", "-t", "=a:")
    await server.send_key(pane, "C-c")
    await asyncio.to_thread(wait_for_file, asked)


async def test_the_scrollback_holds_fifty_thousand_lines(server: TmuxServer, short_folder: Path) -> None:
    script = short_folder / "script"
    script.write_text("seq 1 61000; echo the end; exec cat\n")
    pane = await open_session(server, "flood", str(script))
    await asyncio.to_thread(wait_for_screen, server.socket, "=flood:", "the end", 30.0)
    shown = tmux(server.socket, "capture-pane", "-p", "-t", pane.pane_id, "-S", "-").split()
    numbers = [int(line) for line in shown if line.isdecimal()]
    assert len(numbers) >= 50_000
    assert numbers == list(range(61001 - len(numbers), 61001))


async def test_changes_of_windows_and_names_are_told(server: TmuxServer, script: str) -> None:
    pane = await open_session(server, "a", script)
    tmux(server.socket, "rename-session", "-t", pane.session_id, "b")
    await until(server.changed.is_set, what="told of the name")
    server.changed.clear()
    tmux(server.socket, "kill-pane", "-t", pane.pane_id)
    await until(server.changed.is_set, what="told of the end")


# -- options of the server


async def test_globals_are_kept_listed_and_removed(server: TmuxServer) -> None:
    assert await server.get_global("@x_1") is None
    assert await server.list_globals("@x_") == []
    values = ['{"a": "it\'s #{pid}"}', "", "b c"]
    for number, value in enumerate(values):
        await server.set_global(f"@x_{number}", value)
    await server.set_global("@y", "other")
    assert await server.get_global("@x_0") == values[0]
    assert await server.list_globals("@x_") == values
    await server.set_global("@x_0", None)
    assert await server.get_global("@x_0") is None
    assert await server.list_globals("@x_") == values[1:]
    assert await server.list_launched_panes() == []


async def test_an_attached_operator_brings_no_variables_of_their_own(server: TmuxServer) -> None:
    assert tmux(server.socket, "show-options", "-gv", "update-environment").strip() == ""
