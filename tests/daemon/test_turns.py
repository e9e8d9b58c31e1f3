"""Turns and activity, seen from outside the daemon: agents that are watched, hooks, answers, and who is refused."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.daemon.support import stay
from tests.support.agents import jcard
from tests.support.daemon import SOCKET_PATH_LIMIT, AgentJson, Daemon
from tests.support.thorough import everyday

CLAUDE = Path(__file__).parents[1] / "support" / "scripted_claude.py"
SESSION = "219381a0-29ba-416c-9f0d-1d723565e43a"


class Unix(http.client.HTTPConnection):
    """A connection to the socket for hooks and answers."""

    def __init__(self, path: Path) -> None:
        super().__init__("agentd", timeout=30)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


def post(daemon: Daemon, path: str, body: object = None, method: str = "POST") -> tuple[int, object]:
    """Send a request to the daemon's socket for turns."""
    connection = Unix(socket_of(daemon))
    connection.request(method, path, None if method == "GET" else json.dumps(body or {}))
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text else None


def socket_of(daemon: Daemon) -> Path:
    return daemon.api_socket.with_name(daemon.api_socket.name + ".turns")


class Claude:
    """An agent that is a scripted Claude Code."""

    def __init__(self, daemon: Daemon, name: str = "a", **fields: object) -> None:
        self.daemon, self.name = daemon, name
        self.workdir = daemon.folder / name
        self.workdir.mkdir()
        program = daemon.bin / "claude"
        if not program.exists():
            # Isolated and without site-packages, as the other scripted agent.
            program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S -X utf8 {CLAUDE} "$@"\n')
            program.chmod(0o755)
        self.table = {
            "name": name,
            "harness": "claude-code",
            "workdir": str(self.workdir),
            "grace_period": "2s",
            **fields,
        }

    def wait_ready(self) -> None:
        self.daemon.wait_for((self.workdir / "claude.fifo").exists, what=f"{self.name} takes orders")

    def do(self, **order: object) -> None:
        with (self.workdir / "claude.fifo").open("wb", buffering=0) as fifo:
            fifo.write(json.dumps(order).encode() + b"\n")

    def hook(self, name: str, **body: object) -> None:
        self.do(hook=name, body={"session_id": SESSION, "hook_event_name": name, **body})

    def hook_done(self, name: str, **body: object) -> None:
        """Run a hook, and wait for its end."""

        def ended() -> int:
            # Another hook, whose event was seen already, may still be about to end.
            return sum(hook == name for hook, _, _ in self.printed())

        before = ended()
        self.hook(name, **body)
        self.daemon.wait_for(lambda: ended() > before, what=f"the hook {name} has ended")

    def printed(self) -> list[tuple[str, str, float]]:
        path = self.workdir / "claude.out"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def output_of(self, hook: str) -> str | None:
        return next((output for name, output, _ in self.printed() if name == hook), None)

    def status(self) -> AgentJson:
        return self.daemon.agents()[self.name]

    def wait_activity(self, activity: str) -> AgentJson:
        self.daemon.wait_for(lambda: self.status()["activity"] == activity, what=f"{self.name} is {activity}")
        return self.status()


def started(daemon: Daemon, *others: dict[str, object]) -> Claude:
    claude = Claude(daemon)
    daemon.write_jcard(jcard(claude.table, *others))
    daemon.start()
    claude.wait_ready()
    return claude


def kinds(daemon: Daemon) -> list[str]:
    events = daemon.get("/v1/events")
    assert isinstance(events, list)
    return [event["kind"] for event in events]


def test_a_turn_with_a_permission_that_is_answered_from_outside(daemon: Daemon) -> None:
    claude = started(daemon)
    assert claude.wait_activity("idle")["activity_source"] == "status file"
    claude.hook("UserPromptSubmit", prompt_id="p1", prompt="remove it")
    shown = claude.wait_activity("working")
    assert (shown["activity_source"], shown["conversation"]) == ("hooks", SESSION)
    given = {"tool_name": "Bash", "tool_input": {"command": "rm -r build"}, "prompt_id": "p1"}
    claude.hook_done("PreToolUse", **given, tool_use_id="t1")
    claude.hook("PermissionRequest", **given)
    assert claude.wait_activity("waiting_permission")["activity_text"] == "rm -r build"
    status, _ = post(daemon, "/v1/turns/A/answer", {"decision": "allow"})
    assert status == 200
    printed = daemon.wait_for(lambda: claude.output_of("PermissionRequest"), what="the hook that was held has ended")
    output = json.loads(printed)["hookSpecificOutput"]
    assert output == {"hookEventName": "PermissionRequest", "decision": {"behavior": "allow"}}
    assert claude.status()["activity"] == "working"
    claude.hook_done("PostToolUse", **given, tool_use_id="t1")
    claude.hook("Stop", prompt_id="p1", last_assistant_message="done\n")
    claude.wait_activity("idle")
    _, view = post(daemon, "/v1/turns/a", method="GET")
    assert isinstance(view, dict)
    assert (view["last"]["text"], view["last"]["prompt"], view["requests"]) == ("done\n", "remove it", [])
    assert view["granularity"] == "line"
    daemon.wait_for(
        lambda: (
            [kind for kind in kinds(daemon) if kind.startswith("turn_")]
            == [
                "turn_started",
                "turn_tool_started",
                "turn_permission_asked",
                "turn_permission_resolved",
                "turn_tool_completed",
                "turn_ended",
            ]
        ),
        what="the turn is in the journal",
    )
    daemon.wait_for(lambda: "activity" in kinds(daemon), what="and what it does")


@pytest.mark.thorough
def test_the_command_line_of_an_agent_that_stays_is_added_to_and_no_other(daemon: Daemon) -> None:
    agents = [
        Claude(daemon, "stays", args=["--verbose"]),
        Claude(daemon, "off", turns=False),
        Claude(daemon, "once", prompt="do it"),
        Claude(daemon, "own", args=["--settings", "own.json", "--continue"]),
    ]
    (agents[-1].workdir / "own.json").write_text('{"hooks": {}}')
    daemon.write_jcard(jcard(*(claude.table for claude in agents)))
    daemon.start()
    found: dict[str, list[str]] = {}
    for claude in agents:
        path = claude.workdir / "claude.argv"
        daemon.wait_for((claude.workdir / "claude.fifo").exists, what="it has started")
        found[claude.name] = json.loads(path.read_text())
    assert found["stays"][0] == "--session-id"
    assert found["stays"][2] == "--settings"
    assert found["stays"][4:] == ["--verbose"]
    assert found["off"] == []
    assert found["once"] == ["-p", "do it"]
    assert found["own"] == ["--settings", "own.json", "--continue"]
    daemon.wait_for(lambda: daemon.agents()["once"]["activity"] == "working", what="a one-shot run is one turn")
    assert daemon.agents()["off"]["activity"] == "unknown"


@pytest.mark.thorough
def test_what_the_terminal_decided_releases_the_hook(daemon: Daemon) -> None:
    claude = started(daemon)
    claude.wait_activity("idle")
    claude.hook("UserPromptSubmit", prompt_id="p1", prompt="go")
    claude.wait_activity("working")
    claude.hook("PermissionRequest", prompt_id="p1", tool_name="Bash", tool_input={"command": "make"})
    claude.wait_activity("waiting_permission")
    claude.do(status={"status": "waiting", "waitingFor": "permission prompt"})
    claude.do(status={"status": "busy"})
    claude.wait_activity("working")
    daemon.wait_for(lambda: len(claude.printed()) == 2, what="the hook is let go")
    assert claude.printed()[-1][1] == ""
    status, error = post(daemon, "/v1/turns/a/answer", {"decision": "allow"})
    assert status == 409
    assert "waits for no answer" in str(error)
    claude.do(status={"status": "idle"})
    daemon.wait_for(lambda: "turn_ended" in kinds(daemon), what="the turn has ended")


def test_hooks_count_for_the_run_that_posts_them_and_strangers_are_refused(daemon: Daemon) -> None:
    claude = started(daemon, stay("b"))
    claude.wait_activity("idle")
    assert post(daemon, "/v1/hook/UserPromptSubmit", {"prompt_id": "x", "prompt": "forged"})[0] == 403
    run_id = psutil.Process(claude.status()["pid"]).environ()["AGENTD_RUN_ID"]
    environment = {**os.environ, "AGENTD_RUN_ID": run_id, "AGENTD_AGENT": "a"}
    code = (
        "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);"
        "s.sendall(b'POST /v1/hook/Stop HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}');"
        "print(s.recv(99).split()[1].decode())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(socket_of(daemon))],
        env=environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout.strip() == b"403"
    assert claude.status()["activity"] == "idle"
    assert not [kind for kind in kinds(daemon) if kind.startswith("turn_")]


def test_an_agent_does_not_answer_for_itself(daemon: Daemon) -> None:
    code = (
        "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);"
        'b=b\'{"decision":"allow"}\';'
        "s.sendall(b'POST /v1/turns/a/answer HTTP/1.1\\r\\nContent-Length: %d\\r\\n\\r\\n'%len(b)+b);"
        "open(sys.argv[2],'w').write(s.recv(99).split()[1].decode())"
    )
    answer = daemon.folder / "answer"
    command = [sys.executable, "-I", "-S", "-c", code, str(socket_of(daemon)), str(answer)]
    claude = started(daemon, {"name": "b", "command": command})
    daemon.wait_for(lambda: answer.exists() and answer.read_text() == "403", what="it is refused")
    assert claude.status()["state"] == "running"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST /v1/hook/Stop HTTP/1.1\r\n\r\n", b"400"),
        (b"POST /v1/turns/a/answer HTTP/1.1\r\nContent-Length: 3\r\n\r\n{{{", b"400"),
        (b'POST /v1/turns/a/answer HTTP/1.1\r\nContent-Length: 16\r\n\r\n{"decision": "x"', b"400"),
        (b"POST /v1/turns/nobody/answer HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b"404"),
        (b"GET /elsewhere HTTP/1.1\r\n\r\n", b"404"),
    ],
)
def test_what_is_no_request_is_refused(daemon_of_garbage: Daemon, request_: bytes, status: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(30)
        connection.connect(str(socket_of(daemon_of_garbage)))
        connection.sendall(request_)
        assert connection.recv(4096).split()[1] == status


@pytest.fixture(scope="module")
def daemon_of_garbage(shared_daemon_factory: Callable[[], Daemon]) -> Daemon:
    daemon = shared_daemon_factory()
    started(daemon)
    return daemon


@pytest.mark.thorough
def test_a_flood_of_hooks_holds_up_neither_the_api_nor_other_agents(daemon: Daemon) -> None:
    code = (
        "import os,socket,sys,time\n"
        "while not os.path.exists(sys.argv[2]):\n"
        " s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n"
        " s.sendall(b'POST /v1/hook/Noise HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}')\n"
        " s.recv(99)\n"
        "open(sys.argv[3],'w').close()\n"
        "time.sleep(600)\n"
    )
    enough, over = daemon.folder / "enough", daemon.folder / "over"
    command = [sys.executable, "-I", "-S", "-c", code, str(socket_of(daemon)), str(enough), str(over)]
    claude = started(daemon, {"name": "noisy", "command": command, "grace_period": "1s"})
    claude.hook("UserPromptSubmit", prompt_id="p1", prompt="go")
    claude.wait_activity("working")
    claude.hook("Stop", prompt_id="p1", last_assistant_message="ok")
    claude.wait_activity("idle")
    enough.touch()
    daemon.wait_for(over.exists, what="the flood went on until here")
    assert daemon.agents()["noisy"]["activity"] == "unknown"


@pytest.mark.thorough
def test_a_body_that_is_too_long_costs_its_content_only(daemon: Daemon) -> None:
    claude = started(daemon)
    claude.hook("UserPromptSubmit", prompt_id="p1", prompt="go")
    claude.wait_activity("working")
    claude.hook(
        "PreToolUse", prompt_id="p1", tool_use_id="t", tool_name="Write", tool_input={"content": "x" * (3 << 20)}
    )
    daemon.wait_for(lambda: len(claude.printed()) == 2, what="the hook has ended")
    claude.hook("Stop", prompt_id="p1", last_assistant_message="ok")
    claude.wait_activity("idle")


@pytest.mark.thorough
def test_a_later_daemon_goes_on_watching(daemon: Daemon) -> None:
    claude = Claude(daemon)
    daemon.write_jcard(jcard(claude.table))
    daemon.start("--on-shutdown=keep")
    claude.wait_ready()
    claude.hook("UserPromptSubmit", prompt_id="p1", prompt="go")
    claude.wait_activity("working")
    daemon.kill()
    claude.do(status={"status": "busy"})
    daemon.start("--on-shutdown=keep")
    assert claude.wait_activity("working")["activity_source"] == "status file"
    claude.hook("Stop", prompt_id="p1", last_assistant_message="answered")
    claude.wait_activity("idle")
    _, view = post(daemon, "/v1/turns/a", method="GET")
    assert isinstance(view, dict)
    assert view["last"]["text"] == "answered"


def test_a_process_that_dies_in_a_turn_loses_it(daemon: Daemon) -> None:
    claude = started(daemon)
    claude.hook("UserPromptSubmit", prompt_id="p1", prompt="go")
    claude.wait_activity("working")
    claude.do(exit=1)
    daemon.wait_state("a", "failed")
    assert claude.status()["activity"] is None
    daemon.wait_for(lambda: "turn_ended" in kinds(daemon), what="the turn has ended")
    events = daemon.get("/v1/events")
    assert isinstance(events, list)
    assert [event["data"]["outcome"] for event in events if event["kind"] == "turn_ended"] == ["lost"]


def test_the_screen_tells_where_nothing_better_does(daemon: Daemon) -> None:
    screens = Path(__file__).parents[1] / "turns" / "screens" / "claude-code"
    shown, then = screens / "s-idle-12.ansi", screens / "s-permission-1.ansi"
    program = daemon.bin / "claude"
    go = daemon.folder / "go"
    program.write_text(
        f"#!/bin/sh\ncat {shown}\nwhile [ ! -e {go} ]; do sleep 0.1; done\n"
        f"printf '\\033[2J\\033[H'; cat {then}\nexec sleep 600\n"
    )
    program.chmod(0o755)
    daemon.write_jcard(jcard({"name": "a", "harness": "claude-code", "turns": False, "grace_period": "1s"}))
    daemon.start()
    daemon.wait_state("a", "running")
    daemon.wait_for(lambda: daemon.agents()["a"]["activity"] == "idle", what="it is idle by its screen")
    assert daemon.agents()["a"]["activity_source"] == "screen"
    go.touch()
    daemon.wait_for(lambda: daemon.agents()["a"]["activity"] == "waiting_permission", what="it asks, by its screen")


def test_without_room_for_its_socket_agents_are_watched_by_their_files(daemon: Daemon) -> None:
    folder = daemon.runtime / ("x" * (SOCKET_PATH_LIMIT - len(str(daemon.runtime)) - len("/.sock") - 1 - 3))
    folder.mkdir()
    daemon.api_socket = folder / "a.sock"
    claude = started(daemon)
    assert claude.wait_activity("idle")["activity_source"] == "status file"
    assert "turns_without_hooks" in daemon.log_text()
    assert "--settings" not in json.loads((claude.workdir / "claude.argv").read_text())


def argv_of(claude: Claude) -> list[str]:
    argv: list[str] = json.loads((claude.workdir / "claude.argv").read_text())
    return argv


def rerun(claude: Claude, code: int | None = 1) -> list[str]:
    """End the program, or kill it, and give the command line of the run that follows."""
    pid = claude.status()["pid"]
    (claude.workdir / "claude.argv").unlink()
    if code is None:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    else:
        claude.do(exit=code)
    claude.daemon.wait_for(
        lambda: claude.status()["pid"] not in (None, pid) and (claude.workdir / "claude.argv").exists(),
        what="it runs again",
    )
    claude.daemon.wait_for(lambda: claude.status()["activity"] == "idle", what="it takes messages")
    return argv_of(claude)


def resuming(daemon: Daemon, **fields: object) -> Claude:
    claude = Claude(daemon)
    claude.table |= {"restart": "always", "restart_delay": "10ms", **fields}
    daemon.write_jcard(jcard(claude.table))
    daemon.start("--on-shutdown=keep")
    claude.wait_ready()
    claude.wait_activity("idle")
    return claude


def test_a_conversation_goes_on_in_the_next_run_and_over_agentds_own_end(daemon: Daemon) -> None:
    claude = resuming(daemon)
    assert "--resume" not in rerun(claude), "nothing was said yet: there is no conversation"
    claude.hook_done("UserPromptSubmit", prompt_id="p1", prompt="go")
    claude.wait_activity("working")
    daemon.wait_for((daemon.state / "conversations.json").exists, what="it is remembered")
    daemon.kill()
    daemon.start("--on-shutdown=keep")
    claude.wait_activity("idle")
    argv = rerun(claude)
    assert argv[argv.index("--resume") + 1] == SESSION
    assert "--session-id" not in argv


@pytest.mark.thorough
def test_a_conversation_that_cannot_be_gone_on_with_is_begun_anew(daemon: Daemon) -> None:
    claude = resuming(daemon)
    claude.hook_done("UserPromptSubmit", prompt_id="p1", prompt="go")
    claude.wait_activity("working")
    assert "--resume" in rerun(claude)
    assert "--resume" not in rerun(claude)
    assert "conversation_not_resumed" in daemon.log_text()


@pytest.mark.thorough
def test_a_run_that_is_killed_before_it_was_talked_to_leaves_its_conversation(daemon: Daemon) -> None:
    # Its prompt stands in the conversation.
    claude = resuming(daemon, prompt="begin", mode="interactive", resume=True)
    assert argv_of(claude)[-1] == "begin"
    claude.hook_done("UserPromptSubmit", prompt_id="p1", prompt="begin")
    claude.wait_activity("working")
    for _ in range(2):
        argv = rerun(claude, code=None)
        assert argv[argv.index("--resume") + 1] == SESSION
        assert "begin" not in argv


@pytest.mark.parametrize(
    "fields", everyday([{"resume": False}], [{"resume": False}, {"prompt": "begin", "mode": "interactive"}])
)
def test_others_begin_anew(daemon: Daemon, fields: dict[str, object]) -> None:
    claude = resuming(daemon, **fields)
    claude.hook_done("UserPromptSubmit", prompt_id="p1", prompt="go")
    claude.wait_activity("working")
    assert "--resume" not in rerun(claude)
