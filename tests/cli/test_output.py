"""--format json and --field, and what is said where no gateway answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.support import Client, MemorySource


def test_a_document_without_spaces(client: Client, source: MemorySource) -> None:
    assert source.statuses
    spaced, compact = client("list", "--json"), client("--format", "json", "list")
    assert compact.document == spaced.document
    assert compact.out == json.dumps(compact.document, separators=(",", ":")) + "\n"


def test_a_field_alone(client: Client, source: MemorySource) -> None:
    assert source.statuses
    documents = client("list", "--json").document
    assert isinstance(documents, list)
    assert client("--field", "0.name", "list").out == f"{documents[0]['name']}\n"
    refused = client("--field", "0.nothing", "list")
    assert (refused.status, refused.out) == (1, "")
    assert "there is no 'nothing'; there is " in refused.err


@pytest.mark.parametrize("call", [["session", "list"], ["daemon", "status"], ["connect", "x"], ["run", "get", "run_1"]])
def test_without_a_gateway_the_status_is_3_and_its_address_is_named(client: Client, call: list[str]) -> None:
    done = client("--gateway", "unix:gone.sock", *call)
    assert (done.status, done.out) == (3, "")
    assert "the gateway is not reachable at unix:gone.sock: No such file" in done.err


def test_what_is_missing_is_named(client: Client) -> None:
    for call, named in (
        (["run", "get"], "get needs --run-id or ID"),
        (["session", "close"], "close needs --session-id or ID"),
        (["message", "send", "--session-id", "ses_1"], "there is no message"),
        (["tool", "session-spawn", "--run-id", "run_1"], "session-spawn needs --task"),
        (["events", "tail"], "events tail needs --session-id"),
        (["session", "list", "--gateway", "ftp://x"], "expected http://HOST:PORT"),
        (["connect"], "give AGENT, or --session ID"),
    ):
        done = client(*call)
        assert done.status == 2, done
        assert named in done.err


@contextmanager
def saying(answer: bytes, client: Client) -> Iterator[list[bytes]]:
    """Answer one request on a Unix socket with these bytes; gives what was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(client.folder / "gateway.sock"))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join()


def answer(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_a_refusal_is_told_with_its_code_and_the_token_goes_along(client: Client) -> None:
    body = '{"error": {"code": "not_found", "message": "there is no run run_1"}}'
    with saying(answer("404 Not Found", body), client) as asked:
        done = client("--gateway", "unix:gateway.sock", "run", "get", "run_1", AGENTCTL_AUTH_TOKEN="a-token")
    assert (done.status, done.err) == (
        1,
        "agentctl: there is no run run_1 (not_found); agentctl run list shows those that are\n",
    )
    assert b"GET /runs/run_1 HTTP/1.1\r\n" in asked[0]
    assert b"Authorization: Bearer a-token\r\n" in asked[0]


def test_something_else_that_answers_is_no_gateway(client: Client) -> None:
    with saying(answer("200 OK", "<html>"), client):
        done = client("--gateway", "unix:gateway.sock", "session", "list")
    assert done.status == 1
    assert "is this agentd-gateway?" in done.err


def test_whoever_has_no_token_is_told_where_agentctl_takes_one_from(client: Client) -> None:
    body = '{"error": {"code": "unauthorized", "message": "send the header Authorization: Bearer TOKEN"}}'
    with saying(answer("401 Unauthorized", body), client):
        done = client("--gateway", "unix:gateway.sock", "session", "list")
    told = "the gateway takes no such token (unauthorized); put one of its tokens into AGENTCTL_AUTH_TOKEN"
    assert (done.status, done.err) == (1, f"agentctl: {told}\n")
