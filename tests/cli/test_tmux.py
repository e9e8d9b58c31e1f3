"""libtmux reaches tmux by our client alone, and tmux learns nothing of our environment."""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import libtmux
import pytest

from agentd.cli.agentctl import tmux_client
from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.tmux import BypassError, NoSessionError, Pane, Server
from tests.cli.support import TmuxServer

TOLD = {"PATH", "TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE"}
SET_BY_SH = {"PWD", "OLDPWD", "SHLVL", "_"}

LISTINGS: dict[str, Callable[[Server], object]] = {
    "sessions": lambda server: server.sessions,
    "windows": lambda server: server.windows,
    "panes": lambda server: server.panes,
    "clients": lambda server: server.clients,
    "attached_sessions": lambda server: server.attached_sessions,
    "search_sessions": lambda server: server.search_sessions(filter="1"),
    "search_windows": lambda server: server.search_windows(filter="1"),
    "search_panes": lambda server: server.search_panes(filter="1"),
    "raise_if_dead": lambda server: server.raise_if_dead(),
    "fetch_objs": lambda server: libtmux.neo.fetch_objs(server, "list-panes"),
    "a session by id": lambda server: libtmux.Session.from_session_id(server, "$0"),
    "a pane by id": lambda server: Pane.from_pane_id(server, "%0"),
    "a pane's news": lambda server: Pane(server, pane_id="%0").refresh(),
    "a pane's window": lambda server: Pane(server, pane_id="%0", window_id="@0").window,
}
"""What libtmux asks tmux by itself."""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tmux that writes down its arguments and its environment, and says ``%0``."""
    tmux = tmp_path / "tmux"
    tmux.write_text('#!/bin/sh\n{ for word; do echo "$word"; done; echo; env; echo; } >>"$0.seen"\necho %0\n')
    tmux.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("API_TOKEN", "s3cret")
    return tmux


def seen(fake: Path) -> list[tuple[list[str], set[str]]]:
    """The arguments of each call, and the names of the variables it had."""
    path = Path(f"{fake}.seen")
    parts = path.read_text().split("\n\n") if path.exists() else []
    calls = zip(parts[::2], parts[1::2], strict=False)
    return [(words.split("\n"), {line.partition("=")[0] for line in env.split("\n")}) for words, env in calls]


@pytest.mark.parametrize("ask", LISTINGS.values(), ids=LISTINGS)
def test_what_libtmux_asks_tmux_by_itself_is_refused(fake: Path, ask: Callable[[Server], object]) -> None:
    with pytest.raises(BypassError, match=r"use Server\.cmd"):
        ask(Server(fake.with_name("sock")))
    assert seen(fake) == []


def calls_of(made: object) -> Iterator[Callable[[], object]]:
    """Everything public that this offers, called with some text for whatever it needs."""
    for name, member in inspect.getmembers_static(type(made)):
        if name.startswith("_") or isinstance(member, classmethod | staticmethod):
            continue
        if isinstance(member, property):
            yield lambda name=name: getattr(made, name)  # type: ignore[misc]
        elif inspect.isfunction(member):
            parameters = list(inspect.signature(member).parameters.values())[1:]
            needed = [each for each in parameters if each.default is each.empty and each.kind < each.VAR_POSITIONAL]
            yield lambda name=name, needed=needed: getattr(made, name)(*("x" for _ in needed))  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore")
def test_nothing_of_libtmux_goes_around_our_client(fake: Path) -> None:
    server = Server(fake.with_name("sock"))
    made = (
        server,
        Pane(server, pane_id="%0", window_id="@0", session_id="$0"),
        libtmux.Window(server, window_id="@0", session_id="$0"),
        libtmux.Session(server, session_id="$0"),
        libtmux.Client(server, client_name="x"),
    )
    failed = 0
    for call in chain.from_iterable(map(calls_of, made)):
        try:
            call()
        except Exception:  # noqa: BLE001 (whatever it makes of nonsense, tmux is what counts)
            failed += 1
    calls = seen(fake)
    assert len(calls) > 100, failed
    for words, variables in calls:
        assert words[:3] == ["-u", "-S", str(server.socket)]
        assert variables <= TOLD | SET_BY_SH
    assert {words[3] for words, _ in calls} >= {"capture-pane", "send-keys", "paste-buffer", "list-sessions"}


def test_a_real_servers_answers_come_as_libtmux_gives_them(agents_tmux: TmuxServer) -> None:
    pane_id, pid = agents_tmux.agent("rev", "printf 'one\\n\\ntwo'; exec cat")
    agents_tmux.session("rev-two", "exec cat")
    agents_tmux.wait_for_text("rev", "two")
    server = Server(agents_tmux.socket)
    assert server.is_alive()
    assert server.has_session("rev")
    (pane,) = server.find_panes("-s", "-t", "=rev:")
    assert isinstance(pane, libtmux.Pane)
    assert (pane.pane_id, pane.pane_pid) == (pane_id, str(pid))
    assert pane.pane_tty == agents_tmux("display-message", "-p", "-t", pane_id, "#{pane_tty}")
    assert pane.capture_pane() == ["one", "", "two"]
    pane.send_keys("three", enter=False, literal=True)
    agents_tmux.wait_for_text("rev", "three")


def test_what_tmux_refuses_is_an_error_and_never_an_empty_answer(agents_tmux: TmuxServer) -> None:
    nowhere = Server(agents_tmux.socket.with_name("nowhere"))
    assert not nowhere.is_alive()
    with pytest.raises(CommandError, match="nowhere"):
        Pane(nowhere, pane_id="%0").capture_pane()
    agents_tmux.session("a", "exec cat")
    with pytest.raises(NoSessionError, match="can't find pane: %7"):
        Pane(Server(agents_tmux.socket), pane_id="%7").capture_pane()


def test_a_server_that_does_not_answer_is_given_up(agents_tmux: TmuxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    agents_tmux.session("a", "exec cat")
    pid = int(agents_tmux("display-message", "-p", "#{pid}"))
    monkeypatch.setattr(tmux_client, "LONGEST_ANSWER", 0.3)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(CommandError, match=r"did not answer within 0\.3 s"):
            Server(agents_tmux.socket).cmd("list-sessions")
        assert not Server(agents_tmux.socket).is_alive()
    finally:
        os.kill(pid, signal.SIGCONT)


HOSTILE = {
    "no terminal": "%0 12 /etc/passwd sh",
    "another folder": "%0 12 /dev/pts/../watchdog sh",
    "no process": "%0 x /dev/pts/1 sh",
    "other digits": "%\uff10 12 /dev/pts/1 sh",
    "nothing": "",
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_line_that_is_none_of_tmux_is_no_pane(fake: Path, line: str) -> None:
    fake.write_text(f"#!/bin/sh\necho '{line}'\necho '%1 12 /dev/pts/1 sh'\n")
    (pane,) = Server(fake.with_name("sock")).find_panes("-t", "%1")
    assert pane.pane_id == "%1"
