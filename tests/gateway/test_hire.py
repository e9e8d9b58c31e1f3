"""Hiring by the gateway, and the manager that it keeps."""

from __future__ import annotations

import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from agentd.gateway.engine.hiring import PATIENCE
from tests.gateway.stand_in import COMMAND, SCRIPT, declare
from tests.support.forked import run_agentctl
from tests.support.gateway import Gateway

# A hired agent's harness takes no command: the stand-in goes by the name of one that is found on the PATH.
CODEX = f"#!/bin/sh\nexec {sys.executable} -I -S {SCRIPT}\n"


@pytest.fixture(autouse=True)
def _running(gateway: Gateway) -> None:
    folder = gateway.daemon.folder / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "codex").write_text(CODEX)
    (folder / "codex").chmod(0o755)
    declare(gateway)
    path = {"PATH": f"{folder}:{gateway.daemon.environment()['PATH']}"}
    gateway.daemon.start(env=path)


def test_hiring_declares_an_agent_in_a_workspace_once(gateway: Gateway) -> None:
    gateway.start()
    wanted = {"role": "engineer", "name": "alice", "harness": "codex"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: gateway.ask("POST", "/hire", wanted), range(4)))
    agent = gateway.daemon.agents()["engineer_alice"]
    assert answers == 4 * [{"name": "engineer_alice", "pid": agent["pid"], "workspace": agent["workdir"]}]
    drop_in = gateway.daemon.jcard.with_suffix(".d") / "gateway/engineer_alice.toml"
    assert tomllib.loads(drop_in.read_text())["agent"]["role"] == "engineer"
    assert "drop_in" not in tomllib.loads(drop_in.read_text()), "it stays without a gateway"
    assert (gateway.daemon.data / "workspaces/engineer_alice/SOUL.md").is_file()
    gateway.restart()
    assert gateway.ask("POST", "/hire", wanted)["pid"] == agent["pid"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"role": "engineer", "name": "al/ice"}, "name: "),
        ({"role": "", "name": "alice"}, "role: "),
        ({"role": "engineer"}, "name: "),
        ({"role": "engineer", "name": "x--s-01234567"}, "name: "),
        ({"role": "engineer", "name": "alice", "harness": "vim"}, "harness: "),
    ],
)
def test_what_cannot_be_hired_is_refused_by_field(gateway: Gateway, wanted: object, said: str) -> None:
    gateway.start()
    answer = gateway.request("POST", "/hire", wanted)
    assert answer.status == 422
    assert answer.body.startswith(f'{{"error":{{"code":"invalid_request","message":"{said}'.encode())
    assert list(gateway.daemon.jcard.parent.glob("*.d/gateway/*")) == []


def test_hiring_again_under_a_key_is_answered_as_before(gateway: Gateway) -> None:
    gateway.start()
    wanted, key = {"role": "engineer", "name": "alice", "harness": "codex"}, {"Idempotency-Key": "k"}
    first, again = (gateway.request("POST", "/hire", wanted, headers=key) for _ in range(2))
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    other = gateway.request("POST", "/hire", {**wanted, "name": "bob"}, headers=key)
    assert (other.status, b'"idempotency_key_reused"' in other.body) == (422, True)


def test_hiring_says_at_once_that_the_program_is_not_there(gateway: Gateway) -> None:
    gateway.start()
    began = monotonic()
    wanted = {"role": "engineer", "name": "alice", "harness": "gemini-cli"}
    answer = gateway.request("POST", "/hire", wanted)
    assert monotonic() - began < PATIENCE / 2
    assert answer.status == 503
    assert answer.body.startswith(b'{"error":{"code":"agent_not_ready","message":"the agent engineer_alice is declared')
    assert b"cannot find the program \\\"gemini\\\" on the agent's PATH, which is agentd's own;" in answer.body
    assert str(gateway.daemon.folder).encode() not in answer.body, "where agentd sought it is for people on the machine"


def test_agentctl_hires_by_the_gateway(gateway: Gateway) -> None:
    gateway.start()
    call = ["agentctl", "hire", "writer", "bob", "--harness", "codex", "--gateway", f"unix:{gateway.socket}"]
    done = run_agentctl(call, env=gateway.daemon.environment(), cwd=gateway.daemon.folder, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"writer_bob {gateway.daemon.agents()['writer_bob']['pid']}\n"


def test_the_manager_is_declared_and_kept_while_it_is_named(gateway: Gateway) -> None:
    declare(gateway, manager="boss")
    gateway.start()
    daemon = gateway.daemon
    drop_in = daemon.jcard.with_suffix(".d") / "gateway/manager.toml"
    daemon.wait_for(lambda: "boss" in daemon.agents(), what="the manager is declared")
    declared = tomllib.loads(drop_in.read_text())["agent"]
    assert declared["env"] == {"AGENTD_GATEWAY_URL": gateway.url}
    daemon.wait_for((daemon.data / "workspaces/boss/SOUL.md").is_file, what="its instructions are there")
    assert "agentctl hire" in (daemon.data / "workspaces/boss/SOUL.md").read_text()
    drop_in.unlink()
    daemon.wait_for(drop_in.exists, what="it is declared again")
    declare(gateway)
    gateway.restart()
    daemon.wait_for(lambda: "boss" not in daemon.agents(), what="it is withdrawn")
    assert not drop_in.exists()


def test_a_manager_of_the_jcards_own_is_left_alone(gateway: Gateway) -> None:
    declare(gateway, {"name": "boss", "command": COMMAND}, manager="boss")
    gateway.start()
    gateway.daemon.wait_state("boss", "running")
    assert not (gateway.daemon.jcard.with_suffix(".d") / "gateway/manager.toml").exists()
