"""Each row of the tables "The same calls", on the pages for who comes from elsewhere, is typed as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import pytest

from tests.docs.newcomer import ROOT
from tests.gateway.stand_in import COMMAND
from tests.support import redis_server, talking_claude
from tests.support.agents import jcard
from tests.support.forked import run_agentctl
from tests.support.gateway import Gateway, managed_home
from tests.support.same_calls import Check, documents, hold
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

SERVER = "http://127.0.0.1:8765"


class Shell:
    """Somebody at a shell, whose variables last."""

    def __init__(self, gateway: Gateway, **env: str) -> None:
        self.gateway = gateway
        daemon = gateway.daemon
        self.folder = daemon.folder
        places = {
            "CONFIG": daemon.jcard, "SECRET_DIR": daemon.secrets, "API_SOCKET": daemon.api_socket,
            "TMUX_SOCKET": daemon.tmux_socket, "STATE_DIR": daemon.state, "DATA_DIR": daemon.data,
        }  # fmt: skip
        named = {f"AGENTD_{name}": str(path) for name, path in places.items()}
        path = f"{Path(sys.executable).parent}:{daemon.environment()['PATH']}"
        self.env = daemon.environment(**named, PATH=path, NO_COLOR="1", **env)
        self.replaced: dict[str, str] = {}

    def type(self, line: str, said: str = "") -> str:
        """Execute one line, and give what it prints."""
        begin = re.fullmatch(r"((?:\w+=\S+ )*)agentd-gateway\b(.*)", line)
        if begin is not None:
            given = dict(each.split("=", 1) for each in shlex.split(begin[1]))
            self.gateway.start(*shlex.split(begin[2]), env=given)
            self.env["AGENTD_GATEWAY_URL"] = self.gateway.url
            return ""
        for old, new in {SERVER: self.gateway.url, **self.replaced}.items():
            line = line.replace(old, new)
        own = re.fullmatch(r"(?:(\w+)=\$\()?(agentctl .*?)\)?", line)
        if own is not None:
            return self._agentctl(own[2], own[1], said)
        kept = self.folder / "variables"
        script = f"set -a\n{line}\nstatus=$?\nenv -0 >{shlex.quote(str(kept))}\nexit $status\n"
        done = subprocess.run(
            ["bash", "-c", script],
            env=self.env,
            cwd=self.folder,
            input=said,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, (line, done)
        self.env = dict(each.split("=", 1) for each in kept.read_text().split("\0") if "=" in each)
        return done.stdout

    def _agentctl(self, line: str, variable: str | None, said: str) -> str:
        """Execute a plain call as a fork: there are 40, and each start of the program costs 0.3 s of CPU."""
        words = shlex.split(Template(line).substitute(self.env))
        done = run_agentctl(words, env=self.env, cwd=self.folder, timeout=90, given=said.encode())
        assert done.returncode == 0, (line, done)
        if variable is not None:
            self.env[variable] = done.stdout.strip()
        return done.stdout

    def follow(self, line: str, until: str) -> None:
        """Execute a line that goes on, until it has printed something."""
        with subprocess.Popen(
            shlex.split(os.path.expandvars(line)), env=self.env, stdout=subprocess.PIPE, text=True
        ) as going:
            assert going.stdout is not None
            found = any(until in printed for printed in going.stdout)
            going.terminate()
        assert found, line


def test_agent_orchestrator(gateway: Gateway) -> None:
    daemon = gateway.daemon
    daemon.write_jcard(jcard({"name": "helper", "command": COMMAND, "grace_period": "1s"}))
    daemon.start()
    shell = Shell(gateway, AGENTCTL_AUTH_TOKEN="dev-token")
    field = "agentctl --field {} {}".format
    run, child = '--run-id "$RUN_ID"', '--run-id "$CHILD_RUN_ID"'
    followed = field("event_type", 'events tail --session-id "$SESSION_ID" --follow')

    def diagnosed(name: str) -> str:
        return field(f"diagnostics.{name}", f"run diagnose {run}")

    checks: dict[str, Check] = {
        "AGENTD_AUTH_TOKEN=dev-token agentd-gateway --max-concurrency 4": "",
        f"curl -sS {SERVER}/health": documents("ok", is_=True),
        "agentctl --auth-token dev-token daemon status": documents("max_concurrency", is_=4),
        field("daemon_health", "daemon status"): "^ok$",
        field("alive_workers", "daemon status"): "^4$",
        field("queue_counts.queued_count", "daemon status"): "^0$",
        f"SESSION_ID=$({field('session.id', 'session create')})": lambda _: shell.env["SESSION_ID"].startswith("ses_"),
        "agentctl --format json session list": documents("sessions", 0, "status", is_="open"),
        "RUN_ID=$("
        + field("run.id", 'message send --session-id "$SESSION_ID" --text "Reply exactly: hi" --idempotency-key 7f3c')
        + ")": lambda _: shell.env["RUN_ID"].startswith("run_"),
        field("run.status", f"run wait {run} --timeout-s 60"): "^succeeded$",
        f"agentctl run get {run}": documents("run", "result_text", is_="You said: Reply exactly: hi"),
        'agentctl events list --session-id "$SESSION_ID"': "run.succeeded",
        followed: "",
        f"agentctl run diagnose {run}": documents("diagnostics", "exit_code"),
        diagnosed("likely_issue"): "^none$",
        diagnosed("worker_id"): r"^\S*$",
        diagnosed("worker_alive"): "^(true|false)$",
        diagnosed("alive_workers"): "^4$",
        diagnosed("queue_counts.queued_count"): "^0$",
        diagnosed("queue_position"): r"^\S*$",
        diagnosed("codex_invocation.profile"): r"^\S*$",
        diagnosed("codex_invocation.extra_args"): "",
        'SPAWN=$(agentctl tool session-spawn --parent-run-id "$PARENT_RUN_ID" --task "Reply exactly: child-ready")': (
            lambda _: keep_child()
        ),
        f"agentctl tool session-wait {child}": (
            documents("run", "result_text", is_="You said: Reply exactly: child-ready")
        ),
        f"agentctl tool session-reply-parent {child}"
        ' --request-kind approval_request --text "May I?" --idempotency-key 81aa': (
            documents("message", "text", is_="May I?")
        ),
        'agentctl events list --session-id "$PARENT_SESSION_ID"': "parent.request",
        'agentctl tool session-send --session-id "$CHILD_SESSION_ID" --text "Approved."': documents("run", "id"),
        'agentctl run transition --run-id "$PARENT_RUN_ID" --to-status canceled': (
            documents("run", "status", is_="canceled")
        ),
    }  # fmt: skip

    def keep_child() -> bool:
        spawned = json.loads(shell.env["SPAWN"])
        shell.env["CHILD_RUN_ID"], shell.env["CHILD_SESSION_ID"] = spawned["run"]["id"], spawned["session"]["id"]
        return True

    def typed(call: str) -> str:
        if call.startswith("SPAWN="):
            parent = json.loads(shell.type("agentctl session create"))["session"]["id"]
            busy = json.loads(shell.type(f"agentctl message send --session-id {parent} --text STUB-SLEEP:60"))["run"]
            shell.env |= {"PARENT_RUN_ID": busy["id"], "PARENT_SESSION_ID": parent}
        if call == followed:
            shell.follow(call.replace('"$SESSION_ID"', shell.env["SESSION_ID"]), "run.succeeded")
            return ""
        return shell.type(call)

    hold("docs/coming-from-agent-orchestrator.md", checks, typed)


def test_agent_proxy(gateway: Gateway) -> None:
    daemon = gateway.daemon
    talking_claude.install(daemon.bin)
    daemon.write_jcard(jcard())
    daemon.start()
    shell = Shell(gateway, AGENTCTL_AUTH_TOKEN="k3y")
    units = daemon.folder / "units"
    bearer = '-H "Authorization: Bearer k3y" --json'

    def about(path: str, body: str, command: str = "curl -s") -> str:
        return f"{command} {SERVER}{path} {bearer} '{body}'"

    asked = '{"model": "engineer_alice", "input": "hello"'
    chat = '{"model": "engineer_alice", "messages": [{"role": "user", "content": "hello"}]}'
    checks: dict[str, Check] = {
        "agentctl service install": r"would write .*/agentd\.service",
        "agentctl service install --gateway": r"would write .*/agentd-gateway\.service",
        "AGENTD_API_KEY=k3y agentd-gateway": "",
        "agentctl init researcher": "workspaces/researcher",
        "agentctl hire engineer alice": r"^engineer_alice \d+$",
        about("/hire", '{"role": "engineer", "name": "bob"}'): documents("name", is_="engineer_bob"),
        "agentctl list": r"engineer_alice\s[\s\S]*engineer_bob\s",
        "agentctl status": r"engineer_alice\s+\S*\s?running",
        "agentctl connect engineer_alice /tmp": (
            "^I hear: Now let us work on working dir: /tmp\nI hear: hello\n$"
        ),
        about("/v1/responses", asked + ', "stream": true}', "curl -sN"): r'"delta":"[\s\S]*response\.completed',
        about("/v1/responses", asked + "}"): documents("output", 0, "content", 0, "text", is_="I hear: hello"),
        about("/v1/chat/completions", chat): (
            documents("choices", 0, "message", "content", is_="I hear: hello")
        ),
        about("/runs/$CHILD_RUN_ID/reply-parent", '{"text": "done", "request_kind": "info"}'): (
            documents("message", "role", is_="child")
        ),
        f"curl -s {SERVER}/health": documents("ok", is_=True),
        f"curl -s {SERVER}/": "<!doctype html>",
        "agentctl stop engineer_alice": "",
    }  # fmt: skip

    def typed(call: str) -> str:
        if call.startswith("agentctl service install"):
            return shell.type(f"{call} --user --dry-run --unit-dir {units}")
        if "$CHILD_RUN_ID" in call:
            parent = gateway.ask("POST", "/sessions", {"agent": "engineer_alice"}, token="k3y")["session"]["id"]
            task = {"task": "hello", "agent": "engineer_bob"}
            shell.env["CHILD_RUN_ID"] = gateway.ask("POST", f"/sessions/{parent}/spawn", task, token="k3y")["run"]["id"]
        return shell.type(call, "hello\n/exit\n" if " connect " in call else "")

    hold("docs/coming-from-agent-proxy.md", checks, typed)
    daemon.wait_state("engineer_alice", "disabled")


@contextmanager
def heard(redis: redis_server.RedisServer, channel: str) -> Iterator[Callable[[str, Callable[[Any], bool]], Any]]:
    """Listen to a channel, and give what waits for a message of a type on it."""
    client = redis.client().pubsub()  # type: ignore[no-untyped-call]
    client.subscribe(channel)
    said: list[Any] = []

    def wait(kind: str, wanted: Callable[[Any], bool]) -> Any:  # noqa: ANN401
        def there() -> Any:  # noqa: ANN401
            while (message := client.get_message(ignore_subscribe_messages=True, timeout=0)) is not None:
                said.append(json.loads(message["data"]))
            return next((each for each in said if "type" in each and each["type"] == kind and wanted(each)), None)

        return wait_for(there, 90, what=f"{kind} is heard", explain=lambda: str(said))

    yield wait
    client.close()


def test_agent_manager(gateway: Gateway, tmp_path: Path) -> None:
    if redis_server.program() is None:
        pytest.skip("redis-server is not installed")
    daemon = gateway.daemon
    talking_claude.install(daemon.bin)
    daemon.write_jcard(jcard() + managed_home(daemon))
    daemon.start()
    gateway.start()
    page = "docs/coming-from-agent-manager.md"
    (body,) = re.findall(r"^```json\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    with redis_server.serving(tmp_path / "redis") as redis, heard(redis, "agent:crypto_trader") as hear:
        shell = Shell(gateway)
        (shell.folder / "crypto_trader.json").write_text(body.replace("6379", str(redis.port)))
        shell.replaced["redis-cli"] = f"redis-cli -p {redis.port}"
        agent, of = f"{SERVER}/agents/crypto_trader", "?username=alice"
        question = '{"type": "user", "content": "What does Bitcoin cost?", "channel_id": "agent:crypto_trader", '
        known = documents(0, "agent", is_="alice/crypto_trader")

        def is_answered(number: int) -> Callable[[str], object]:
            def check(_: str) -> object:
                answers: list[Any] = []
                hear("assistant", lambda each: _is_new(answers, each) and len(answers) == number)
                assert [each["content"] for each in answers] == ["I hear: What does Bitcoin cost?"] * number
                # It is the agent itself that is spoken to.
                made = gateway.ask("GET", "/agents/crypto_trader")["session_id"]
                return {each["session_id"] for each in answers} == {made}

            return check

        checks: dict[str, Check] = {
            f"curl -s {SERVER}/health": documents("status", is_="healthy"),
            f"curl -s {SERVER}/agents --json @crypto_trader.json": documents("agent", is_="alice/crypto_trader"),
            f"curl -s {SERVER}/agents": known,
            f'curl -s "{SERVER}/agents{of}"': known,
            f'curl -s "{agent}{of}"': documents("status", is_="running"),
            f"""redis-cli publish agent:crypto_trader '{question}"metadata": {{"name": "default"}}}}'""": is_answered(
                1
            ),
            'agentctl message send --channel crypto_trader --text "What does Bitcoin cost?"': is_answered(2),
            "redis-cli publish agent:crypto_trader "
            """'{"type": "tool_confirmation_response", "request_id": "'$REQUEST_ID'", "confirmed": true}'""": (
                lambda _: hear("assistant", lambda each: each["content"] == "mcp__fetch__fetch ran")
            ),
            f'curl -s "{agent}/logs{of}"': "ended completed",
            "agentctl status alice--crypto_trader": "running",
            "agentctl logs alice--crypto_trader": "ready",
            f'curl -s -X POST "{agent}/stop{of}"': documents("status", is_="stopped"),
            f'curl -s -X POST "{agent}/start{of}"': documents("status", is_="running"),
            f'curl -s -X DELETE "{agent}{of}"': documents("message", is_="agent alice/crypto_trader deleted"),
            f"curl -s {SERVER}/docs": "swagger",
        }

        def typed(call: str) -> str:
            if call.startswith("redis-cli publish") and '"user"' in call:
                _await_connected(gateway)
            if "$REQUEST_ID" in call:
                redis.client().publish("agent:crypto_trader", json.dumps("tool mcp__fetch__fetch {}"))
                asked = hear("tool_confirmation_request", lambda _: True)
                assert (asked["server_name"], asked["tool_name"], asked["timeout_ms"]) == ("fetch", "fetch", 120_000)
                shell.env["REQUEST_ID"] = asked["request_id"]
            shell.env["AGENTD_GATEWAY_URL"] = gateway.url
            return shell.type(call)

        hold(page, checks, typed)


def _is_new(known: list[Any], each: Any) -> bool:  # noqa: ANN401
    if all(other["id"] != each["id"] for other in known):
        known.append(each)
    return True


def _await_connected(gateway: Gateway) -> None:
    wait_for(
        lambda: [each["state"] for each in gateway.ask("GET", "/channels")["channels"]] == ["connected"],
        90, what="the channel is connected",
    )  # fmt: skip
