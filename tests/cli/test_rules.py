"""What holds for every command of ``agentctl``."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import pytest

from agentd import __version__
from agentd.cli.agentctl import client as module
from agentd.cli.agentctl.catalogue import HEADINGS, STRUCTURED
from tests.cli.support import RUNNING, Client, MemorySource

COMMANDS = (
    *("status", "list", "top", "ps", "logs", "screen", "attach", "send", "keys", "interrupt", "mailbox"),
    *("ask", "answer", "last", "approvals", "usage", "events", "wait", "init", "hire"),
    *("add", "set", "unset", "scale", "rename", "remove", "start", "stop", "restart", "apply"),
    *("inventory", "models", "smoke", "skills", "setup", "lease"),
    *("spawn", "observe", "transcript", "artifacts", "terminate", "workers", "stats"),
    *("worktrees", "snapshot", "restore", "diff", "collect", "sandbox"),
    *("validate", "plan", "schema", "doctor"),
    *("session", "message", "run", "tool", "daemon", "fleet", "connect"),
    *("mcp", "mcp-config"),
    *("upgrade", "service", "completion", "help"),
)
CALLS = {
    "status": ["status"],
    "status NAME": ["status", "x"],
    "list": ["list"],
    "logs": ["logs", "x"],
    "screen": ["screen", "x"],
    "attach": ["attach", "x"],
    "events": ["events"],
    "events -f": ["events", "-f"],
    "send": ["send", "x", "text"],
    "keys": ["keys", "x", "Enter"],
    "interrupt": ["interrupt", "x"],
    "wait": ["wait", "x", "--for", "running"],
    "plan": ["plan"],
    "plan FILE": ["plan", "f"],
}
NEEDING_THE_DAEMON = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def test_version_names_program_and_version(client: Client) -> None:
    assert client("--version").out == f"agentctl {__version__}\n"


def test_help_names_every_command(client: Client) -> None:
    text = client("--help").out
    assert "examples:" in text
    shown = re.findall(r"^    ([a-z-]+) ", text, re.MULTILINE)
    assert shown == list(COMMANDS), "give COMMANDS each command, in the order of the catalogue"
    assert re.findall(r"^  ([a-z].*):$", text, re.MULTILINE) == list(HEADINGS.values())
    assert re.findall(r":\n    ([a-z-]+) ", text) == list(HEADINGS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_json_and_help_with_an_example(client: Client, command: str) -> None:
    done = client(command, "--help")
    assert done.status == 0
    assert "--json" in done.out
    assert re.search(rf"^examples:\n  agentctl {command}\b", done.out, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments", [[], ["frobnicate"], ["status", "--jso"], ["stat"], ["status", "a", "b"], ["logs"], ["--frob", "list"]]
)
def test_what_makes_no_sense_is_status_2(client: Client, arguments: list[str]) -> None:
    done = client(*arguments)
    assert (done.status, done.out) == (2, "")
    assert "usage: agentctl" in done.err
    # What every command takes is in the help.
    assert "--tmux-socket" not in done.err


def test_a_setting_that_cannot_be_used_is_status_2(client: Client) -> None:
    done = client("list", "--json", AGENTD_API_SOCKET="/" + "x" * 107)
    assert done.status == 2
    assert "AGENTD_API_SOCKET" in done.err
    assert isinstance(done.document, dict)


def test_shared_options_are_taken_before_and_after_the_command(client: Client, source: MemorySource) -> None:
    assert source.statuses
    here, gone = str(client.api_socket), str(client.folder / "gone")
    expected = client("list", "--json")
    for arguments in (
        ["--json", "--api-socket", here, "list"],
        ["list", "--api-socket", here, "--json"],
        ["--json", f"--api-socket={gone}", "list", f"--api-socket={here}"],
    ):
        assert client(*arguments, AGENTD_API_SOCKET=gone) == expected


@NEEDING_THE_DAEMON
def test_without_a_daemon_the_status_is_3_and_the_socket_is_named(client: Client, call: list[str]) -> None:
    done = client(*call)
    assert (done.status, done.out) == (3, "")
    assert f"agentd is not reachable on {client.api_socket}: there is no such socket" in done.err
    assert "--api-socket" in done.err
    assert done.err.count("\n") == 1
    with_json = client(*call, "--json")
    assert with_json.status == 3
    document = with_json.document
    assert isinstance(document, dict)
    error, said = document["error"], done.err.removeprefix("agentctl: ").removesuffix("\n")
    about_workers = {"code": "agentd_unreachable", "message": said, "details": {"example": "agentctl doctor"}}
    assert error == (about_workers if call[0] in STRUCTURED else said)


# What a command about workers has, also where it is about an agent that is none.
@pytest.mark.parametrize("call", ["send x hi", "answer x allow", "interrupt x", "keys x Enter", "observe x", "usage x"])
def test_commands_about_workers_say_what_kind_of_error_it_is(client: Client, source: MemorySource, call: str) -> None:
    source.statuses.clear()
    done = client(*call.split(), "--json")
    assert done.status == 1
    assert isinstance(done.document, dict)
    error = done.document["error"]
    assert error["code"] == "not_found"
    assert error["message"] in done.err
    assert error["details"]["example"].startswith("agentctl ")


def test_what_is_next_where_a_worker_is_not_there(client: Client, source: MemorySource) -> None:
    assert source.statuses
    document = client("send", "w1130-000000-aaaaaa", "hi", "--json").document
    assert isinstance(document, dict)
    assert document["error"]["details"]["example"] == "agentctl workers"


@pytest.mark.parametrize(
    "call",
    [
        *("send", "answer x", "keys x", "interrupt", "collect --lines no x", "usage a b", "usage a --refresh"),
        *("transcript x --tail-lines 3 --offset 0", "transcript x --tail-lines 3 --limit 9"),
        *("stats --since 1h --from 2026-01-31T09:00:00Z", "stats --since 1h --to 2026-01-31T09:00:00Z"),
    ],
)
def test_a_wrong_command_line_about_workers_is_an_object_too(client: Client, call: str) -> None:
    done = client(*call.split(), "--json")
    assert done.status == 2
    assert isinstance(done.document, dict)
    assert done.document["error"]["code"] == "usage"
    assert done.document["error"]["message"] in done.err.splitlines()[-1]


def test_a_socket_that_nobody_listens_on_is_told_from_none(client: Client) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(client.api_socket))
    done = client("list")
    assert done.status == 3
    assert "nobody listens" in done.err


def test_a_socket_that_is_a_folder_is_not_reachable(client: Client) -> None:
    client.api_socket.mkdir()
    assert client("list").status == 3


@contextmanager
def saying(answer: bytes, client: Client, times: int = 1) -> Iterator[None]:
    """Answer with these bytes, whatever is asked."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(client.api_socket))
        listening.listen()

        def serve() -> None:
            for _ in range(times):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (b"", 3, "closed without an answer"),
        (b"220 mail.example ESMTP\r\n\r\n", 3, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[", 3, "cut off after 1 of 50"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", 1, "expected JSON"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"a": 1}', 1, "expected a JSON array"),
        (b'HTTP/1.1 200 OK\r\n\r\n[{"name": "a"}]', 1, "different versions"),
        (b'HTTP/1.1 200 OK\r\n\r\n["a"]', 1, "expected a JSON object"),
        (b'HTTP/1.1 500 Oh\r\n\r\n{"error": "broken\\u001b"}', 1, "broken\\x1b"),
        (b"HTTP/1.1 503 No\r\n\r\n[]", 1, "status 503"),
    ],
)
def test_an_answer_that_is_none_of_agentds_is_told(client: Client, answer: bytes, status: int, message: str) -> None:
    with saying(answer, client):
        done = client("list")
    assert done.status == status
    assert message in done.err


def test_a_daemon_that_hangs_is_not_reachable(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_LIMIT", 0.05)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(client.api_socket))
        listening.listen()
        with pytest.raises(module.UnreachableError, match="no answer within"):
            module.Api(client.api_socket).get("/v1/health")


def test_fields_that_a_newer_daemon_adds_are_left_out_of_tables_and_kept_in_json(client: Client) -> None:
    answer = json.dumps({**asdict(RUNNING), "mood": "fine"}).encode()
    with saying(b"HTTP/1.1 200 OK\r\n\r\n" + answer, client, times=3):
        # The first one also asks for the agent's screen.
        plain, document = client("status", "x"), client("status", "x", "--json")
    assert "mood" not in plain.out
    assert '"mood": "fine"' in document.out


@pytest.mark.skipif(os.geteuid() == 0, reason="root is let in everywhere")
def test_a_socket_without_permission_is_not_reachable(client: Client, source: MemorySource) -> None:
    assert source.statuses
    client.api_socket.chmod(0)
    done = client("list")
    assert done.status == 3
    assert "permission" in done.err
    assert "start agentd" not in done.err
