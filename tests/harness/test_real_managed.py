"""Managed agents with the real coding agents and a toy MCP server: its tool confirmed, rejected, and timed out."""

from __future__ import annotations

import http
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.harness.driven import DEADLINE, KEY, REAL
from tests.harness.real_clis import REAL_CLIS, Place, RealCli
from tests.harness.stub_model import StubModel
from tests.sandbox.conftest import PYTHON, Sandboxed
from tests.support.daemon import Daemon
from tests.support.forked import launch_of
from tests.support.gateway import Gateway
from tests.support.waiting import wait_for

pytestmark = REAL

NAMES = ("toy600000False", "toy500confirm", "toy500reject")
"""Of the agents that are made."""

TOY = (Path(__file__).parents[1] / "support" / "mcp_server.py").read_text()
"""Given as a text: a sandbox need not show this clone."""

TOOLS = {"claude-code": "mcp__toy__{}", "codex": "mcp__toy__{}", "opencode": "toy_{}", "gemini-cli": "mcp_toy_{}"}
"""How each names the tools of the server."""

ENDS = ("opencode", "gemini-cli")
"""Those whose turn ends when a tool is rejected."""

UNTOLD = ("gemini-cli",)
"""Those that ask at their terminal alone, where the arguments of a tool are not to be read."""

CLIS = [cli for cli in REAL_CLIS if cli.harness in TOOLS]


@pytest.fixture(params=CLIS, ids=lambda cli: cli.harness)
def cli(request: pytest.FixtureRequest) -> RealCli:
    found: RealCli = request.param
    if not found.package.installed:
        pytest.skip(f"{found.harness} is not installed; run tests/harness/install-clis {found.harness}")
    return found


@pytest.fixture(params=["native", "sandboxed"])
def kind(request: pytest.FixtureRequest) -> str:
    """How the agents run; sandboxed by themselves."""
    found: str = request.param
    if found == "sandboxed" and shutil.which("bwrap") is None:
        pytest.skip("there is no sandbox without bubblewrap")
    return found


@pytest.fixture
def gateway(
    request: pytest.FixtureRequest, daemon: Daemon, cli: RealCli, model: StubModel, kind: str
) -> Iterator[Gateway]:
    temporary = daemon.folder / "tmp"
    temporary.mkdir()
    boxed = Sandboxed(daemon) if kind == "sandboxed" else None
    homes = [daemon.home] if boxed is None else [daemon.data / "sandboxes" / f"alice--{name}" for name in NAMES]
    prepared: Mapping[str, str] = {}
    for home in homes:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        prepared = cli.prepare(Place(home, daemon.workdir, model.url, KEY))
    env = {"HOME": str(daemon.home), "TMPDIR": str(temporary), **prepared}
    if boxed is not None:
        # Each finds its files where its home is.
        env = {"SHELL": "/bin/bash"} | {name: value for name, value in prepared.items() if str(homes[-1]) not in value}
        for path in (daemon.data, *daemon.data.rglob("*")):
            boxed.give(path)
    lines = "".join(f"{json.dumps(name)} = {json.dumps(value)}\n" for name, value in env.items())
    declared = 'managed_type = "native"\n' if boxed is None else ""
    daemon.write_jcard(f'[gateway]\n{declared}managed_secrets = ["{cli.secret}"]\n[gateway.managed_env]\n{lines}')
    daemon.write_secret(cli.secret, KEY)
    (daemon.bin / cli.package.binary).symlink_to(cli.package.program)
    daemon.start(*(() if boxed is None else boxed.flags))
    gateway = Gateway(daemon, launch_of(request))
    gateway.start(*(() if boxed is None else boxed.flags[:1]))
    yield gateway
    problems = gateway.close()
    assert not problems, "\n".join([*problems, gateway.log_text()])


def make(gateway: Gateway, cli: RealCli, timeout_ms: int, default: object) -> Any:  # noqa: ANN401
    tool = {"name": "delete", "seek_confirm": True, "time_to_confirm": timeout_ms, "default": default}
    server = {
        "command": PYTHON,
        "args": ["-I", "-S", "-c", TOY],
        "env": {"TOY_CALLS": "calls"},
        "tool_calls": [tool],
    }
    body = {
        "username": "alice",
        "name": f"toy{timeout_ms}{default}",
        "harness": cli.harness,
        "subagents": [{"name": "helper", "instruction": "Help.", "servers": ["toy"]}],
        "json_config": {"mcp": {"servers": {"toy": server}}, "default_model": cli.model},
    }
    return gateway.ask("POST", "/agents", body)


def say(gateway: Gateway, made: Any, tool: str) -> str:  # noqa: ANN401
    text = f'STUB-TOOL:{TOOLS[made["harness"]].format(tool)} {{"path":"/x"}}'
    return str(gateway.ask("POST", f"/sessions/{made['session_id']}/messages", {"text": text})["run"]["id"])


def ended(gateway: Gateway, run: str, status: str = "succeeded") -> None:
    def over() -> Any:  # noqa: ANN401
        waited = gateway.ask("GET", f"/runs/{run}/wait?timeout_s=20")
        return None if waited["timed_out"] else waited["run"]

    explain = gateway.daemon.explain
    done = wait_for(over, DEADLINE, what="the turn is over", explain=lambda: f"{_screens(gateway)}\n{explain()}")
    assert done["status"] == status, f"{done['error']}\n{_screens(gateway)}"


def _screens(gateway: Gateway) -> str:
    return "\n".join(gateway.daemon.screen(name) for name in gateway.daemon.sessions())


def asked(gateway: Gateway, made: Any) -> Any:  # noqa: ANN401
    def waiting() -> list[Any]:
        return list(gateway.ask("GET", f"/agents/{made['name']}/confirmations")["confirmations"])

    explain = gateway.daemon.explain
    return wait_for(waiting, DEADLINE, what="it asks", explain=lambda: f"{_screens(gateway)}\n{explain()}")[0]


def calls(gateway: Gateway, made: Any) -> list[str]:  # noqa: ANN401
    file = gateway.daemon.data / "workspaces" / str(made["agentd_name"]) / "calls"
    return [json.loads(line)[0] for line in file.read_text().splitlines()] if file.exists() else []


def test_a_tool_is_confirmed_rejected_and_timed_out(gateway: Gateway, cli: RealCli, kind: str) -> None:
    rejected = "canceled" if cli.harness in ENDS else "succeeded"
    made = make(gateway, cli, 600_000, default=False)
    ended(gateway, say(gateway, made, "hello"))
    assert made["type"] == kind
    assert calls(gateway, made) == ["hello"]
    for confirmed in (True, False):
        run = say(gateway, made, "delete")
        waiting = asked(gateway, made)
        assert (waiting["server_name"], waiting["tool_name"]) == ("toy", "delete")
        assert waiting["arguments"] == ({} if cli.harness in UNTOLD else {"path": "/x"})
        assert calls(gateway, made)[1:] == ([] if confirmed else ["delete"])
        path = f"/agents/{made['name']}/confirmations/{waiting['request_id']}"
        gateway.ask("POST", path, {"confirmed": confirmed})
        again = gateway.request("POST", path, {"confirmed": not confirmed})
        assert again.status == http.HTTPStatus.CONFLICT
        ended(gateway, run, "succeeded" if confirmed else rejected)
    assert calls(gateway, made) == ["hello", "delete"]
    gateway.ask("DELETE", f"/agents/{made['name']}")

    for default in ("confirm", "reject"):
        made = make(gateway, cli, 500, default)
        ended(gateway, say(gateway, made, "delete"), "succeeded" if default == "confirm" else rejected)
        events = gateway.ask("GET", f"/sessions/{made['session_id']}/events?limit=1000")["events"]
        (response,) = [each["data"] for each in events if each["event_type"] == "tool_confirmation_response"]
        assert (response["confirmed"], response["decided_by"]) == (default == "confirm", "default")
        assert calls(gateway, made) == (["delete"] if default == "confirm" else [])
        gateway.ask("DELETE", f"/agents/{made['name']}")
