"""Managed agents from outside: made, shown, confirmed, stopped and removed, by a scripted Claude Code."""

from __future__ import annotations

import http
import json
import stat
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.support import environment_of
from tests.gateway.conftest import ALICE, BOB, GUEST, ROOT, TOKENS
from tests.gateway.stand_in import COMMAND
from tests.support import talking_claude
from tests.support.agents import jcard
from tests.support.daemon import Answer, Daemon
from tests.support.forked import launch_fork
from tests.support.gateway import Gateway, managed_home
from tests.support.waiting import wait_for

SECRET = "a-secret-of-the-toy"

SERVERS: dict[str, Any] = {
    "toy": {
        "command": sys.executable,
        "args": ["server.py"],
        "env": {"TOY_KEY": SECRET},
        "tool_calls": [
            {"name": "delete", "seek_confirm": True, "time_to_confirm": 60_000, "default": False},
            {"name": "soon", "seek_confirm": True, "time_to_confirm": 300, "default": "confirm"},
            {"name": "never", "seek_confirm": True, "time_to_confirm": 300, "default": "reject"},
            {"name": "hello"},
        ],
    }
}


def wanted(username: str, name: str, **more: object) -> dict[str, Any]:
    return {
        "username": username,
        "name": name,
        "subagents": [
            {"name": "finder", "instruction": 'Find: "files"\n---\n$(rm)', "servers": ["toy"], "model": "haiku"}
        ],
        "json_config": {
            "mcp": {"servers": SERVERS},
            "default_model": "sonnet",
            "logger": {"level": "info"},
            "pubsub_enabled": True,
            "pubsub_config": {
                "backend": "redis",
                "channel_name": "chat",
                "url": "redis://:hunter2@127.0.0.1:1/0",
            },
        },
        **more,
    }


@pytest.fixture(scope="module")
def users(session_folder: Path, _numbers: count[int]) -> Iterator[Gateway]:
    """A gateway with tokens, beside an agentd that finds a scripted Claude Code."""
    folder = session_folder / f"managed-{next(_numbers)}"
    folder.mkdir()
    daemon = Daemon(folder, launch_fork)
    talking_claude.install(daemon.bin)
    gateway = Gateway(daemon, launch_fork)
    try:
        daemon.write_jcard(jcard({"name": "helper", "command": COMMAND}) + TOKENS + managed_home(daemon))
        daemon.write_secret("ROOT", ROOT)
        daemon.start()
        gateway.start()
        yield gateway
        problems = gateway.close()
        said = gateway.log_text()
        problems += [f"a secret in the log: {secret}" for secret in (SECRET, "hunter2") if secret in said]
    finally:
        if gateway.running:
            gateway.kill()
        problems_of_daemon = daemon.close()
    assert not [*problems, *problems_of_daemon], "\n".join([*problems, *problems_of_daemon, said])


def body_of(answer: Answer) -> Any:  # noqa: ANN401
    return answer.json()


def make(gateway: Gateway, name: str, token: str = BOB, username: str = "bob", **more: object) -> Any:  # noqa: ANN401
    return gateway.ask("POST", "/agents", wanted(username, name, **more), token=token)


def events(gateway: Gateway, session: str, kind: str) -> list[Any]:
    page = gateway.ask("GET", f"/sessions/{session}/events?limit=1000", token=ROOT)
    return [event["data"] for event in page["events"] if event["event_type"] == kind]


def asked(gateway: Gateway, made: Any) -> Any:  # noqa: ANN401
    """Wait until the agent asks, and give what."""

    def waiting() -> list[Any]:
        return gateway.ask("GET", f"/agents/{made['name']}/confirmations?username=bob", token=ROOT)["confirmations"]  # type: ignore[no-any-return]

    (found,) = wait_for(waiting, 90, what="it asks", explain=gateway.log_text)
    return found


def say(gateway: Gateway, made: Any, text: str) -> str:  # noqa: ANN401
    sent = gateway.ask("POST", f"/sessions/{made['session_id']}/messages", {"text": text}, token=ROOT)
    return str(sent["run"]["id"])


def result(gateway: Gateway, run: str) -> str:
    waited = gateway.ask("GET", f"/runs/{run}/wait?timeout_s=90", token=ROOT)
    assert waited["run"]["status"] == "succeeded", waited
    return str(waited["run"]["result_text"])


def argv_of(shown: Any) -> list[str]:  # noqa: ANN401
    """Read an agent's command line, once its launcher has become the agent."""
    environment_of(shown["pid"])
    return wait_for(psutil.Process(shown["pid"]).cmdline)


def test_an_agent_is_made_as_its_user_said(users: Gateway) -> None:
    daemon = users.daemon
    made = make(users, "whole", initial_task="tool mcp__toy__hello")
    assert (made["agent"], made["name"], made["username"]) == ("bob/whole", "whole", "bob")
    assert made["message"] == "agent bob/whole created"
    assert made["type"] == "native"
    assert made["status"] == "running"
    argv = argv_of(made)
    assert argv[-2:] == ["--", "tool mcp__toy__hello"]
    assert argv[argv.index("--model") + 1] == "sonnet"
    assert not any(SECRET in word for word in argv)
    folder = daemon.data / "workspaces" / "bob--whole"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [path for path in folder.rglob("*") if path.is_file() and ".claude" in path.parts]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    settings = json.loads((folder / ".claude/settings.json").read_text())
    assert settings["permissions"] == {
        "defaultMode": "default",
        "allow": ["mcp__toy"],
        "ask": ["mcp__toy__delete", "mcp__toy__soon", "mcp__toy__never"],
    }
    servers = json.loads((folder / ".claude/mcp.json").read_text())["mcpServers"]
    assert servers["toy"]["env"] == {"TOY_KEY": SECRET}
    drop_in = tomllib.loads((daemon.drop_ins / "bob" / "bob--whole.toml").read_text())
    assert drop_in["agent"]["workdir"] == str(folder)
    shown = users.request("GET", "/agents/whole", token=BOB)
    assert not any(secret in shown.body.decode() for secret in (SECRET, "hunter2"))
    assert body_of(shown)["json_config"]["pubsub_config"]["channel_name"] == "chat"
    database = b"".join(path.read_bytes() for path in daemon.state.glob("gateway.db*"))
    assert not any(secret.encode() in database for secret in (SECRET, "hunter2"))
    wait_for(
        lambda: any("ended completed" in line for line in users.ask("GET", "/agents/whole/logs", token=BOB)["logs"]),
        90,
        what="the log tells of the task",
    )
    log = daemon.state / "users" / "bob" / "whole.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    transcripts = daemon.state / "agents" / "bob--whole"
    assert transcripts.is_dir()
    assert users.ask("DELETE", "/agents/whole", token=BOB) == {
        "message": "agent bob/whole deleted",
        "agent": "bob/whole",
    }
    assert not folder.exists()
    assert not log.exists()
    assert not transcripts.exists()
    assert "bob--whole" not in daemon.agents()
    assert users.request("GET", "/agents/whole", token=BOB).status == http.HTTPStatus.NOT_FOUND


def test_a_tool_that_seeks_confirmation_runs_once_it_is_confirmed(users: Gateway) -> None:
    made = make(users, "confirmed")
    run = say(users, made, 'tool mcp__toy__delete {"path": "/x"}')
    waiting = asked(users, made)
    assert (waiting["server_name"], waiting["tool_name"], waiting["arguments"]) == ("toy", "delete", {"path": "/x"})
    path = f"/agents/confirmed/confirmations/{waiting['request_id']}"
    assert users.request("POST", path, {"confirmed": True}, token=ALICE).status == http.HTTPStatus.NOT_FOUND
    assert users.request("POST", path, {"confirmed": True}, token=GUEST).status == http.HTTPStatus.FORBIDDEN
    answer = users.ask("POST", path, {"confirmed": True}, token=BOB)["confirmation"]
    assert (answer["confirmed"], answer["decided_by"]) == (True, "user")
    again = users.request("POST", path, {"confirmed": False}, token=BOB)
    assert (again.status, body_of(again)["error"]["code"]) == (http.HTTPStatus.CONFLICT, "decided")
    assert result(users, run) == "mcp__toy__delete ran"
    (request,) = events(users, made["session_id"], "tool_confirmation_request")
    (response,) = events(users, made["session_id"], "tool_confirmation_response")
    assert request["agent_name"] == "bob--confirmed"
    assert (response["request_id"], response["confirmed"]) == (waiting["request_id"], True)

    run = say(users, made, "tool mcp__toy__delete")
    path = f"/agents/confirmed/confirmations/{asked(users, made)['request_id']}"
    users.ask("POST", path, {"confirmed": False}, token=BOB)
    assert result(users, run) == "mcp__toy__delete was refused"
    assert result(users, say(users, made, "tool mcp__toy__hello")) == "mcp__toy__hello ran"
    assert result(users, say(users, made, "tool mcp__toy__soon")) == "mcp__toy__soon ran"
    assert result(users, say(users, made, "tool mcp__toy__never")) == "mcp__toy__never was refused"
    by = [each["decided_by"] for each in events(users, made["session_id"], "tool_confirmation_response")]
    assert by == ["user", "user", "default", "default"]
    users.ask("DELETE", "/agents/confirmed", token=BOB)


def test_a_request_survives_the_gateway_and_agentd(users: Gateway) -> None:
    made = make(users, "lasting")
    first = say(users, made, 'tool mcp__toy__delete {"n": 1}')
    waiting = asked(users, made)
    users.kill()
    users.start()
    assert asked(users, made)["request_id"] == waiting["request_id"]
    users.daemon.kill()
    users.daemon.start()
    assert asked(users, made)["request_id"] == waiting["request_id"]
    users.ask("POST", f"/agents/lasting/confirmations/{waiting['request_id']}", {"confirmed": True}, token=BOB)
    assert result(users, first) == "mcp__toy__delete ran"

    second = say(users, made, "tool mcp__toy__soon")
    wait_for(lambda: len(events(users, made["session_id"], "tool_confirmation_request")) == 2, 90, what="it asks")
    assert result(users, second) == "mcp__toy__soon ran"
    users.ask("DELETE", "/agents/lasting", token=BOB)


def test_nobody_talks_to_the_agent_of_another_user(users: Gateway) -> None:
    made = make(users, "private")
    agent = made["agentd_name"]
    for body in ({"agent": agent}, {"agent": agent.upper(), "main": True}):
        assert users.request("POST", "/sessions", body, token=ALICE).status == http.HTTPStatus.NOT_FOUND
    asked = users.request("POST", "/v1/responses", {"model": agent, "input": "hi"}, token=ALICE)
    assert asked.status == http.HTTPStatus.NOT_FOUND
    assert users.request("GET", f"/sessions/{made['session_id']}", token=ALICE).status == http.HTTPStatus.NOT_FOUND
    assert users.request("GET", f"/v1/models/{agent}", token=ALICE).status == http.HTTPStatus.NOT_FOUND

    def listed(token: str) -> tuple[set[str], set[str]]:
        models, agents = users.ask("GET", "/v1/models", token=token), users.ask("GET", "/page/agents", token=token)
        return {each["id"] for each in models["data"]}, {each["name"] for each in agents["agents"]}

    assert listed(ALICE) == ({"helper"}, {"helper"})
    assert listed(BOB) == listed(ROOT) == ({"helper", agent}, {"helper", agent})
    screen = f"/page/sessions/{made['session_id']}/screen"
    assert users.request("GET", screen, token=BOB).status == http.HTTPStatus.OK
    assert users.request("GET", screen, token=ALICE).status == http.HTTPStatus.NOT_FOUND
    users.ask("DELETE", "/agents/private", token=BOB)


def test_an_agent_is_stopped_and_started(users: Gateway) -> None:
    made = make(users, "switched")
    stopped = users.ask("POST", "/agents/switched/stop?username=bob", token=ROOT)
    assert (stopped["status"], stopped["pid"]) == ("stopped", None)
    users.kill()
    users.start()
    assert users.ask("GET", "/agents?username=bob", token=ROOT)[0]["status"] == "stopped"
    started = users.ask("POST", "/agents/switched/start", token=BOB)
    assert started["status"] == "running"
    assert started["pid"] != made["pid"]
    users.ask("DELETE", "/agents/switched?keep=true", token=BOB)
    assert (users.daemon.data / "workspaces" / "bob--switched").is_dir()
    assert (users.daemon.state / "agents" / "bob--switched").is_dir()
    make(users, "switched")
    users.ask("DELETE", "/agents/switched", token=BOB)


def test_with_an_agent_go_its_other_conversations(users: Gateway) -> None:
    daemon = users.daemon
    make(users, "several")
    session = users.ask("POST", "/sessions", {"agent": "bob--several"}, token=BOB)["session"]
    run = users.ask("POST", f"/sessions/{session['id']}/messages", {"text": "hello"}, token=BOB)["run"]
    assert "hello" in result(users, run["id"])
    own = session["tmux_session"]
    transcripts = daemon.state / "agents" / own
    assert own in daemon.agents()
    assert transcripts.is_dir()
    users.ask("DELETE", "/agents/several", token=BOB)
    assert own not in daemon.agents()
    assert not transcripts.exists()
    assert users.ask("GET", f"/sessions/{session['id']}", token=BOB)["session"]["status"] == "closed"
    sent = users.request("POST", f"/sessions/{session['id']}/messages", {"text": "again"}, token=BOB)
    assert sent.status == http.HTTPStatus.UNPROCESSABLE_ENTITY


def test_an_initial_task_is_given_once(users: Gateway) -> None:
    def logged(word: str) -> list[str]:
        return [line for line in users.ask("GET", "/agents/tasked/logs", token=BOB)["logs"] if word in line]

    def another_than(pid: int) -> Any:  # noqa: ANN401
        now = users.ask("GET", "/agents/tasked", token=BOB)
        return now if now["status"] == "running" and now["pid"] != pid else None

    for _ in range(2):
        made = make(users, "tasked", initial_task="be good")
        # Nothing of a deleted agent's is gone on with.
        assert argv_of(made)[-2:] == ["--", "be good"]
        wait_for(lambda: logged("ended completed"), 90, what="the task is done")
        assert len(logged(" started")) == 1
        users.ask("POST", "/agents/tasked/stop", token=BOB)
        started = users.ask("POST", "/agents/tasked/start", token=BOB)
        assert "be good" not in argv_of(started)
        assert "--resume" in argv_of(started)
        psutil.Process(started["pid"]).kill()
        again = wait_for(partial(another_than, started["pid"]), 90, what="it is restarted")
        assert "be good" not in argv_of(again)
        users.ask("DELETE", "/agents/tasked", token=BOB)


def test_users_see_their_own_agents_alone(users: Gateway) -> None:
    make(users, "own")
    make(users, "own", token=ROOT, username="carol")
    for method, path in (
        ("GET", "/agents/own?username=bob"),
        ("GET", "/agents/own/logs?username=bob"),
        ("GET", "/agents/own/confirmations?username=bob"),
    ):
        assert users.request(method, path, token=ALICE).status == http.HTTPStatus.NOT_FOUND
    assert users.ask("GET", "/agents", token=ALICE) == []
    assert users.ask("GET", "/agents?username=carol", token=BOB) == []
    everybody = [each["agent"] for each in users.ask("GET", "/agents", token=ROOT)]
    assert [each for each in everybody if each.endswith("/own")] == ["bob/own", "carol/own"]
    assert users.request("DELETE", "/agents/own", token=ALICE).status == http.HTTPStatus.FORBIDDEN
    for body, status in (
        (wanted("bob", "own"), http.HTTPStatus.CONFLICT),
        (wanted("bob", "OWN"), http.HTTPStatus.CONFLICT),
        (wanted("carol", "mine"), http.HTTPStatus.FORBIDDEN),
    ):
        answer = users.request("POST", "/agents", body, token=BOB)
        assert answer.status == status
        assert body_of(answer)["detail"] == body_of(answer)["error"]["message"]
    which = users.request("GET", "/agents/own", token=ROOT)
    assert which.status == http.HTTPStatus.UNPROCESSABLE_ENTITY
    assert "bob, carol" in body_of(which)["detail"]
    users.ask("DELETE", "/agents/own?username=carol", token=ROOT)
    users.ask("DELETE", "/agents/own", token=BOB)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": "a--b"}, "username"),
        ({"username": "../x"}, "username"),
        ({"name": "x y"}, "name"),
        ({"name": "x--s-01234567"}, "name"),
        ({"harness": "custom"}, "harness"),
        ({"harness": "acp"}, "harness"),
        ({"colour": "red"}, "colour"),
        ({"subagents": [{"name": "a", "instruction": "b", "servers": ["none"]}]}, "subagents.0.servers.0"),
        ({"json_config": {"mcp": {"servers": {"x": {}}}}}, "json_config.mcp.servers.x"),
        ({"json_config": {"mcp": {"servers": {"x": {"command": "c", "surprise": 1}}}}}, "surprise"),
        (
            {
                "json_config": {
                    "mcp": {"servers": {"x": {"command": "c", "tool_calls": [{"name": "t", "default": "no!"}]}}}
                }
            },
            'tool_calls.0.default: found "no!", expected true or false, or a word for it: "confirm" or "reject"',
        ),
        ({"json_config": {"pubsub_enabled": True}}, "json_config.pubsub_config"),
        ({"json_config": {"anthropic": {"api_key": "sk-own"}}}, "json_config.anthropic.api_key"),
        (
            {"json_config": {"pubsub_config": {"backend": "kafka", "channel_name": "c"}}},
            "json_config.pubsub_config.bootstrap_servers",
        ),
        (
            {"json_config": {"pubsub_config": {"backend": "redis", "channel_name": "c", "ca_file": "/etc/shadow"}}},
            "json_config.pubsub_config.ca_file",
        ),
        ({"harness": "codex", "json_config": {"default_model": "haiku"}}, "json_config.default_model"),
    ],
)
def test_what_cannot_be_is_refused_by_field(users: Gateway, change: dict[str, Any], field: str) -> None:
    before = users.ask("GET", "/agents", token=ROOT)
    answer = users.request("POST", "/agents", {"username": "bob", "name": "refused", **change}, token=ROOT)
    assert answer.status == http.HTTPStatus.UNPROCESSABLE_ENTITY
    assert field in body_of(answer)["detail"]
    assert b"sk-own" not in answer.body
    assert len(users.ask("GET", "/agents", token=ROOT)) == len(before)
