"""Tokens, hosts and origins count as they are written now, without a restart."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.gateway.stand_in import COMMAND
from tests.support.agents import jcard
from tests.support.gateway import Gateway
from tests.support.waiting import wait_for

AGENT = jcard({"name": "helper", "command": COMMAND})


def table(*tokens: str, **fields: object) -> str:
    lines = ["", "[gateway]", *(f"{name} = {json.dumps(value)}" for name, value in fields.items())]
    for token in tokens:
        digest = hashlib.sha256(token.encode()).hexdigest()
        lines += ["[[gateway.tokens]]", f'hash = "sha256:{digest}"', f'user = "{token}"', 'scopes = ["chat"]']
    return "\n".join([*lines, ""])


def status(gateway: Gateway, token: str | None, **headers: str) -> int:
    return gateway.request("GET", "/sessions", token=token, headers=headers).status


@contextmanager
def followed(gateway: Gateway, token: str | None) -> Iterator[socket.socket]:
    """Follow all that happens, past the head of the answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)) as connection:
        connection.request("GET", "/stream?cursor=now", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline() == b"retry: 1000\n"
        yield connection.sock


def ends(stream: socket.socket) -> bool:
    """Wait for the end of a stream."""
    while stream.recv(4096):
        pass
    return True


def lives(stream: socket.socket) -> bool:
    try:
        return stream.recv(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True


def test_a_token_that_is_taken_back_is_refused_at_once_and_what_it_follows_ends(gateway: Gateway) -> None:
    gateway.daemon.write_jcard(AGENT + table("alice", "bob"))
    gateway.start()
    with followed(gateway, "alice") as alices, followed(gateway, "bob") as bobs:
        gateway.daemon.write_jcard(AGENT + table("bob", "carol", hosts=["gateway.example"], max_queue=7))
        assert ends(alices)
        assert (status(gateway, "alice"), status(gateway, "bob"), status(gateway, "carol")) == (401, 200, 200)
        assert lives(bobs)
        with closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as connection:
            connection.request("GET", "/health", headers={"Host": "gateway.example"})
            assert connection.getresponse().status == 200
        # A jcard with an error changes nothing; without its last token the gateway is not open.
        gateway.daemon.write_jcard(AGENT + table("alice", max_queue=0))
        wait_for(lambda: "stays as it was" in gateway.log_text(), what="the error is told")
        assert (status(gateway, "alice"), status(gateway, "bob")) == (401, 200)
        gateway.daemon.write_jcard(AGENT)
        assert ends(bobs)
        assert (status(gateway, "bob"), status(gateway, None)) == (401, 401)
    said = gateway.log_text()
    assert "restart agentd-gateway to apply what changed: max_queue" in said
    assert "there is none any more" in said


def test_secrets_and_files_of_tokens_count_as_they_are_now(gateway: Gateway) -> None:
    file = gateway.daemon.folder / "tokens"
    file.write_text("from-file\n")
    gateway.daemon.write_secret("ROOT", "old-root")
    gateway.daemon.write_jcard(AGENT + '[[gateway.tokens]]\nsecret = "ROOT"\nscopes = ["admin"]\n')
    gateway.start(f"--auth-token-file={file}", env={"AGENTD_AUTH_TOKEN": "from-variable"})
    with followed(gateway, "old-root") as stream:
        gateway.daemon.write_secret("ROOT", "new-root")
        assert ends(stream)
    assert (status(gateway, "old-root"), status(gateway, "new-root")) == (401, 200)
    with followed(gateway, "from-file") as files, followed(gateway, "new-root") as roots:
        file.unlink()
        (gateway.daemon.secrets / "ROOT").unlink()
        assert ends(files)
        assert ends(roots)
    answers = [status(gateway, token) for token in ("from-file", "new-root", "from-variable")]
    assert answers == [401, 401, 200]
    assert "ROOT: No such file" in gateway.log_text()
    assert not any(word in gateway.log_text() for word in ("old-root", "new-root", "from-file", "from-variable"))


def test_the_first_token_closes_a_gateway_that_was_open(gateway: Gateway) -> None:
    gateway.daemon.write_jcard(AGENT)
    gateway.start()
    with followed(gateway, None) as stream:
        gateway.daemon.write_jcard(AGENT + table("alice"))
        assert ends(stream)
    assert (status(gateway, None), status(gateway, "alice")) == (401, 200)


def test_what_a_token_is_for_changes_with_its_table(gateway: Gateway) -> None:
    gateway.daemon.write_jcard(AGENT + table("alice"))
    gateway.start()
    gateway.ask("GET", "/sessions", token="alice")
    gateway.daemon.write_jcard(AGENT + table("alice").replace('"chat"', '"read"'))
    wait_for(lambda: '"requests_cut_off"' in gateway.log_text(), what="the change is seen")
    assert gateway.request("POST", "/sessions", {"agent": "helper"}, token="alice").status == 403
    assert status(gateway, "alice") == 200
