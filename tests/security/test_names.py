"""Names lead nowhere: an agent's, a session's, a secret's or one in a request is never a path."""

from __future__ import annotations

import json

import pytest

from tests.jcard.loading import errors_of
from tests.support.daemon import Daemon

PATHS = [
    "..",
    ".",
    "../x",
    "/etc/passwd",
    "a/b",
    "a/../../b",
    "..\\x",
    "a\0b",
    "~",
    "-rf",
    "%2e%2e",
    "a\nb",
    "$(id)",
    "a;b",
]


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_no_agents_name(name: str) -> None:
    errors = errors_of(f'[[agents]]\nname = {json.dumps(name)}\nharness = "custom"\ncommand = ["true"]\n')
    assert any("name" in error for error in errors)


@pytest.mark.parametrize(
    "name", ["..", ".", "../x", "a.b", "a:0", "=a", "$1", "%1", "@1", "-t", "a\0b", "a\nb", "#{pid}"]
)
def test_a_tmux_target_or_format_is_no_sessions_name(name: str) -> None:
    errors = errors_of(
        f'[[agents]]\nname = "x"\nsession = {json.dumps(name)}\nharness = "custom"\ncommand = ["true"]\n'
    )
    assert any("session" in error for error in errors)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_no_secret_that_an_agent_may_list(name: str) -> None:
    errors = errors_of(
        f'[[agents]]\nname = "x"\nsecrets = [{json.dumps(name)}]\nharness = "custom"\ncommand = ["true"]\n'
    )
    assert any("secrets" in error for error in errors)


def test_requests_for_paths_find_nothing(daemon: Daemon) -> None:
    daemon.write_jcard("agents = []\n")
    daemon.start()
    for path in (
        "/../../etc/passwd",
        "/v1/../../etc/passwd",
        "/v1/agents/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/v1/agents/%2e%2e",
    ):
        answer = daemon.request("GET", path)
        assert answer.status == 404, path
        assert b"root:" not in answer.body
