"""Conversations that begin as forks: what is added to launches, run by a real shell, and what OpenCode is asked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from agentd.harness.additions import Additions, LaunchFacts
from agentd.model.spec import ForkPoint
from agentd.turns.adapter import Adapter, NotNowError, RefusedError
from agentd.turns.claude.adapter import CLAUDE
from agentd.turns.codex.adapter import CODEX
from agentd.turns.codex.launch import SERVER
from agentd.turns.opencode import launch
from agentd.turns.opencode.adapter import OPENCODE
from agentd.turns.opencode.events import Reader
from agentd.turns.opencode.fork import fork
from agentd.turns.opencode.port import Port
from agentd.turns.opencode.server import Server

POINT = ForkPoint("conversation", "t2")


def facts(folder: Path, *argv: str, fork: ForkPoint | None = POINT) -> LaunchFacts:
    place = Path(folder)
    return LaunchFacts(
        "a", "run", "", argv, {}, place, place, True, place / "run.turns-file", place / "a.turns-socket", fork=fork
    )


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}")
    (folder / name).chmod(0o755)


def run(folder: Path, added: Additions) -> subprocess.CompletedProcess[str]:
    if added.file is not None:
        (folder / "run.turns-file").write_bytes(added.file)
    return subprocess.run(
        added.argv,
        env={"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("adapter", "given"),
    [
        (CLAUDE, ("claude", "--resume", "mine")),
        (CLAUDE, ("claude", "--session-id=mine")),
        (CODEX, ("codex", "resume", "mine")),
        (CODEX, ("codex", "fork", "mine")),
        (CODEX, ("codex", "exec")),
        (OPENCODE, ("opencode", "-s", "mine")),
        (OPENCODE, ("opencode", "--mdns")),
    ],
)
def test_a_command_line_that_names_a_conversation_is_none_that_forks(
    adapter: Adapter, given: tuple[str, ...], tmp_path: Path
) -> None:
    assert not adapter.additions(facts(tmp_path, *given)).forks


# -- Claude Code


def turn(name: str) -> list[str]:
    return [
        json.dumps({"type": "queue-operation", "content": name}, separators=(",", ":")),
        json.dumps({"promptId": name, "type": "user", "message": name}, separators=(",", ":")),
        json.dumps(
            {"promptId": name, "type": "user", "result": f'of "promptId":"t9" in {name}'}, separators=(",", ":")
        ),
        json.dumps({"type": "assistant", "message": f"answer to {name}"}, separators=(",", ":")),
    ]


CLAUDE_SHOWS = 'while [ "$1" != --resume ]; do shift; done\ncat "$2"\necho "$3"\n'


@pytest.fixture
def claude(tmp_path: Path) -> Path:
    """A folder with a conversation of three turns, and a program that shows what it is to resume."""
    program(tmp_path, "claude", CLAUDE_SHOWS)
    sessions = tmp_path / ".claude/projects/-some-where"
    sessions.mkdir(parents=True)
    lines = [line for name in ("t1", "t2", "t3") for line in turn(name)]
    (sessions / "conversation.jsonl").write_text("\n".join(lines) + "\n")
    (sessions.parent / "-else-where").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("last", "turns"), [("t1", ["t1"]), ("t2", ["t1", "t2"]), ("t3", ["t1", "t2", "t3"]), (None, ["t1", "t2", "t3"])]
)
def test_claude_resumes_a_copy_up_to_the_turn(claude: Path, last: str | None, turns: list[str]) -> None:
    added = CLAUDE.additions(facts(claude, "claude", "--model", "x", fork=ForkPoint("conversation", last)))
    assert added.forks
    done = run(claude, added)
    assert done.returncode == 0, done.stderr
    *copied, option = done.stdout.splitlines()
    wanted = [line for name in turns for line in turn(name)]
    # What was queued for the next turn stands before it.
    assert copied[: len(wanted)] == wanted
    assert not any("promptId" in line for line in copied[len(wanted) :])
    assert option == "--fork-session"
    assert (claude / "run.jsonl").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("point", [ForkPoint("conversation", "t4"), ForkPoint("another", "t2"), ForkPoint("another")])
def test_claude_does_not_begin_with_less_than_it_is_to(claude: Path, point: ForkPoint) -> None:
    done = run(claude, CLAUDE.additions(facts(claude, "claude", fork=point)))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no conversation {point.conversation}" in done.stderr


def test_claude_is_given_another_id_and_its_hooks(tmp_path: Path) -> None:
    added = CLAUDE.additions(facts(tmp_path, "claude", "--", "hi"))
    at = added.argv.index("claude")
    assert added.argv[at + 1] == "--session-id"
    assert added.argv[at + 2] == added.memo["session"] != "conversation"
    assert added.argv[at + 3 :] == ("--resume", str(tmp_path / "run.jsonl"), "--fork-session", "--", "hi")


# -- Codex

CODEX_FORKS = """case $1 in
app-server)
  while read -r line; do
    echo "$line" >>asked
    case $line in *'"id": 1,'*) echo '{"method":"told","params":{}}'; cat answer;; esac
  done;;
*) echo "$@";;
esac
"""


@pytest.fixture
def codex(tmp_path: Path) -> Path:
    program(tmp_path, "codex", CODEX_FORKS)
    return tmp_path


@pytest.mark.parametrize("args", [(), ("-a", "on-request")], ids=["served", "by itself"])
def test_codex_goes_on_with_what_a_server_of_its_forked(codex: Path, args: tuple[str, ...]) -> None:
    (codex / "answer").write_text('{"id":1,"result":{"thread":{"id":"01a2-b3","sessionId":"x"}}}\n')
    added = CODEX.additions(facts(codex, "codex", *args, "--", "hi"))
    assert added.forks
    assert (SERVER in added.memo) == (not args)
    done = run(codex, added)
    # A script is no program of Codex's, so it gets no server.
    words = done.stdout.split()
    assert words[:2] == ["resume", "01a2-b3"]
    assert ("--no-daemon" in words) == bool(args)
    assert words[-2:] == ["--", "hi"]
    asked = [json.loads(line) for line in (codex / "asked").read_text().splitlines()]
    assert [each["method"] for each in asked] == ["initialize", "initialized", "thread/fork"]
    wanted = {"threadId": "conversation", "lastTurnId": "t2", "cwd": str(codex), "excludeTurns": True}
    assert asked[-1]["params"] == wanted
    assert sorted(path.name for path in codex.iterdir() if "turns-socket" in path.name) == []


def test_codex_tells_why_it_does_not_fork(codex: Path) -> None:
    (codex / "answer").write_text('{"error":{"message":"turn not found: t2"},"id":1}\n')
    done = run(codex, CODEX.additions(facts(codex, "codex")))
    assert (done.returncode, done.stdout) == (1, "")
    assert "did not fork the conversation" in done.stderr
    assert "turn not found: t2" in done.stderr


@pytest.mark.parametrize("script", ["exit 3\n", None], ids=["a server that ends", "no such program"])
def test_codex_does_not_begin_without_the_fork(tmp_path: Path, script: str | None) -> None:
    if script is not None:
        program(tmp_path, "codex", script)
    done = run(tmp_path, CODEX.additions(facts(tmp_path, "codex")))
    assert (done.returncode, done.stdout) == (1, "")
    assert "did not answer" in done.stderr


# -- OpenCode


def message(name: str, role: str) -> dict[str, object]:
    return {"info": {"id": name, "role": role}, "parts": []}


class Forking:
    """A scripted server with a conversation of three turns."""

    def __init__(self) -> None:
        self.said = [
            message(f"m{number}", role) for number, role in enumerate(("user", "assistant", "assistant") * 3, start=1)
        ]
        self.copies: list[list[dict[str, object]]] = []
        self.folder = "/work"
        self.late: list[dict[str, object]] = []
        """What is said while it copies."""

    async def get(self, request: web.Request) -> web.Response:
        match request.path.split("/")[1:]:
            case ["path"]:
                return web.json_response({"directory": "/work"})
            case ["session", "conversation"]:
                return web.json_response({"id": "conversation", "directory": self.folder})
            case ["session", "conversation", "message"]:
                return web.json_response(self.said)
            case ["session", name, "message"] if name.startswith("copy"):
                return web.json_response(self.copies[int(name[4:])])
            case _:
                pass
        return web.json_response({"name": "NotFoundError"}, status=404)

    async def fork(self, request: web.Request) -> web.Response:
        before = (await request.json()).get("messageID")
        if self.late:
            self.said.append(self.late.pop())
        names = [each["info"]["id"] for each in self.said]  # type: ignore[index]
        self.copies.append(self.said[: names.index(before)] if before in names else [*self.said])
        return web.json_response({"id": f"copy{len(self.copies) - 1}"})


@pytest_asyncio.fixture
async def opencode() -> AsyncIterator[tuple[Forking, Server]]:
    forking = Forking()
    app = web.Application()
    app.router.add_get("/{rest:.*}", forking.get)
    app.router.add_post("/session/conversation/fork", forking.fork)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = Server(Port(runner.addresses[0][1], "x"))
    yield forking, server
    await server.door.close()
    await runner.cleanup()


@pytest.mark.parametrize(("last", "count"), [("m1", 3), ("m4", 6), ("m7", 9), (None, 9)])
async def test_opencode_copies_up_to_the_turn(opencode: tuple[Forking, Server], last: str | None, count: int) -> None:
    forking, server = opencode
    made, past = await fork(server, ForkPoint("conversation", last))
    assert made == "copy0"
    assert [each["info"] for each in forking.copies[0]] == [each["info"] for each in forking.said[:count]]
    assert past == {f"m{number}" for number in range(1, count + 1)}


async def test_what_is_said_while_opencode_copies_is_not_copied(opencode: tuple[Forking, Server]) -> None:
    forking, server = opencode
    forking.late = [message("m10", "user")]
    made, past = await fork(server, ForkPoint("conversation", "m7"))
    assert made == "copy1"
    assert "m10" not in past
    assert len(past) == 9


@pytest.mark.parametrize(
    ("point", "folder", "reason"),
    [
        (ForkPoint("nothing", "m1"), "/work", "no conversation nothing"),
        (ForkPoint("conversation", "m99"), "/work", "no turn m99"),
        (ForkPoint("conversation", "m1"), "/elsewhere", "would work in /elsewhere, not in /work"),
    ],
)
async def test_what_opencode_cannot_fork_is_refused(
    opencode: tuple[Forking, Server], point: ForkPoint, folder: str, reason: str
) -> None:
    forking, server = opencode
    forking.folder = folder
    with pytest.raises(RefusedError, match=reason):
        await fork(server, point)
    assert forking.copies == []


async def test_an_opencode_that_cannot_be_asked_is_asked_later() -> None:
    server = Server(Port(1, "x"))
    with pytest.raises(NotNowError):
        await fork(server, POINT)
    await server.door.close()


def test_an_opencode_that_begins_with_a_fork_notes_it(tmp_path: Path) -> None:
    added = OPENCODE.additions(facts(tmp_path, "opencode"))
    assert added.forks
    assert added.memo[launch.FORK] == "conversation@t2"
    going_on = replace(facts(tmp_path, "opencode", fork=None), resume="ses_1")
    assert launch.FORK not in OPENCODE.additions(going_on).memo


def test_what_opencode_tells_of_a_copy_is_no_turn() -> None:
    def told(session: str, name: str) -> list[Mapping[str, object]]:
        info = {"id": name, "role": "user", "sessionID": session}
        part = {"id": f"p{name}", "type": "text", "text": "hi", "messageID": name, "sessionID": session}
        return [
            {"type": "message.updated", "properties": {"sessionID": session, "info": info}},
            {"type": "message.part.updated", "properties": {"sessionID": session, "part": part}},
        ]

    reader = Reader(deaf=True)
    assert [event for each in told("copy", "m1") for event in reader.read(each)] == []
    assert reader.session is None
    reader.deaf, reader.past, reader.session = False, frozenset({"m1", "m2"}), "copy"
    assert [event for each in told("copy", "m2") for event in reader.read(each)] == []
    assert [event for each in told("copy", "m3") for event in reader.read(each)] != []
