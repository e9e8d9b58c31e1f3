"""Gemini CLI's recorded session files, replayed with what its title showed; what is added to its launch."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from agentd.files.looks import Looks
from agentd.harness.additions import LaunchFacts
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.turns.activity import SCREEN, Rank, Seen
from agentd.turns.adapter import Answer, Ground, LiveRun, TurnsError
from agentd.turns.conversation import Turn
from agentd.turns.events import Decision, Failure, Outcome
from agentd.turns.file_changes import FileChanges
from agentd.turns.gemini import launch
from agentd.turns.gemini.adapter import GEMINI
from agentd.turns.gemini.cleared import is_alone
from agentd.turns.gemini.session_file import Errored, Session, Used
from agentd.turns.gemini.watch import GeminiWatch
from agentd.turns.growing_file import LONGEST_LINE
from agentd.turns.run_watch import RunWatch
from agentd.turns.screen.judging import judge_screen
from tests.turns.claude_run import Outlet, Terminal, me, until, wall

SAMPLES = Path(__file__).parent / "samples" / "gemini"
SCREENS = Path(__file__).parent / "screens" / "gemini-cli"
DONE, CANCELLED, FAILED = Outcome.COMPLETED, Outcome.INTERRUPTED, Outcome.FAILED
SESSION = "d74a1092-7426-41a0-955d-3fced8c13785"
REPLY = "STUB-REPLY: "


def answered(prompt: str) -> tuple[str, Outcome, str | None]:
    return prompt, DONE, REPLY + prompt


ASK = (
    'STUB-TOOL:ask_user {"questions":[{"question":"Which colour?","header":"Colour","type":"choice","options":'
    '[{"label":"Red","description":"warm"},{"label":"Blue","description":"cold"}]}]}'
)
DAYS = {
    "2026-11-29T02-11-d74a1092": [
        answered("STUB-TRICKLE:5 line one\nline two\nline three\nline four\nline five"),
        answered("STUB-BASH:echo hi > /srv/agents/work/g1"),
        ("STUB-BASH:echo hi > /srv/agents/work/g2", CANCELLED, None),
        ("STUB-TRICKLE:20 interrupt me\na\nb\nc\nd", CANCELLED, None),
        ("STUB-STATUS:401 x", FAILED, None),
        ("STUB-LIMIT x", CANCELLED, None),
        answered("after resume"),
    ],
    "2026-11-29T02-13-fd2551d2": [
        answered("STUB-TRICKLE:4 line one\nline two\nline three"),
        *(answered(f"STUB-BASH:echo hi > /srv/agents/work/{name}") for name in ("gb1", "gb-allow", "gb-deny")),
        ("STUB-STATUS:401 x", FAILED, None),
        ("STUB-TRICKLE:20 x\na\nb", CANCELLED, None),
    ],
    "2026-11-29T02-27-94d3f8c7": [
        answered("STUB-TRICKLE:2 line one\nline  two\nline three"),
        answered(ASK),
        answered("STUB-TRICKLE:4 one\ntwo"),
        answered("second while busy"),
    ],
}
"""Of each recorded session file the turns, as they were: message, end, and the answer byte for byte."""


@dataclass(slots=True)
class GeminiRun:
    """A watched run."""

    watch: RunWatch
    outlet: Outlet
    terminal: Terminal
    path: Path
    """Of its session file."""

    def shows(self, activity: Activity, text: str = "", at: float | None = None) -> None:
        """Have the terminal show something."""
        self.watch.seen(SCREEN, Seen(activity, wall() if at is None else at, text, Rank.SCREEN))

    def write(self, *documents: object) -> None:
        """Add lines to the session file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.writelines(json.dumps(document) + "\n" for document in documents)

    async def message(self, kind: str, number: int, **fields: object) -> None:
        """Add a message of now."""
        stamp = datetime.fromtimestamp(wall()).astimezone().isoformat()
        self.write({"id": f"id-{number}", "timestamp": stamp, "type": kind, **fields})

    async def begin(self) -> None:
        """Begin a turn."""
        self.write(header(SESSION))
        await self.message("user", 1, content=[{"text": "do it"}])
        await until(lambda: self.watch.conversation.turn is not None)
        self.shows(Activity.WORKING)


def header(session: str) -> dict[str, object]:
    return {"sessionId": session, "projectHash": "x", "startTime": "2026-11-29T02:11:28.058Z", "kind": "main"}


def facts(home: Path, *argv: str, stays: bool = True, resume: str | None = None, **environment: str) -> LaunchFacts:
    return LaunchFacts(
        agent="a",
        run_id="run-1",
        harness="gemini-cli",
        argv=argv,
        environment=environment,
        workdir=Path("/srv/agents/work"),
        home=home,
        stays=stays,
        file=home / "file",
        socket=home / "socket",
        resume=resume,
    )


@contextlib.asynccontextmanager
async def gemini_run(
    home: Path, session: str = SESSION, *, stays: bool = True, screen: str = ""
) -> AsyncIterator[GeminiRun]:
    """Watch a run."""
    looks = Looks()
    changes = FileChanges(looks, interval=0.01)
    outlet, terminal = Outlet(), Terminal()
    memo = {launch.SESSION: session, launch.SCREEN: screen}
    run = LiveRun(facts(home, stays=stays), ProcessIdentity(1, 1), memo, terminal)
    watch = RunWatch(run, Ground(looks, changes, me(), wall), outlet)
    watch.begin(GEMINI)
    looking = asyncio.create_task(changes.run())
    try:
        path = home / ".gemini" / "tmp" / "work" / "chats" / f"session-2026-11-29T02-11-{session[:8]}.jsonl"
        # It is searched for before it is there, as at a launch.
        await asyncio.sleep(0.05)
        yield GeminiRun(watch, outlet, terminal, path)
    finally:
        await watch.let_go()
        looking.cancel()
        await asyncio.wait([looking])
        looks.close()


def stamp_of(document: dict[str, object]) -> float:
    return datetime.fromisoformat(str(document["timestamp"])).timestamp()


@pytest.mark.parametrize("name", DAYS)
async def test_every_turn_of_a_recorded_file_is_told(tmp_path: Path, name: str) -> None:
    lines = (SAMPLES / f"session-{name}.jsonl").read_bytes().splitlines(keepends=True)
    session = json.loads(lines[0])["sessionId"]
    turns: list[Turn] = []
    async with gemini_run(tmp_path, session) as run:
        run.path.parent.mkdir(parents=True)
        for line in lines:
            with run.path.open("ab") as file:
                # Half a line first: nothing may be made of it.
                file.write(line[:50])
                file.flush()
                file.write(line[50:])
            document = json.loads(line)
            content = document.get("content")
            if document.get("type") == "gemini" and content and isinstance(content, str):
                run.shows(Activity.IDLE, at=stamp_of(document) + 0.1)
            elif document.get("type") != "error" and content != "Request cancelled.":
                continue
            before = turns[-1:]
            await until(lambda: ended(run) not in ([], before))  # noqa: B023 (waited for at once)
            turns += ended(run)
        told = [(turn.prompt, turn.end and turn.end.outcome, turn.end and turn.end.final_text) for turn in turns]
        assert told == DAYS[name]
        kinds = [kind for kind, _, _ in run.outlet.events]
        assert kinds.count("turn_started") == kinds.count("turn_ended") == len(told), "a history told again is no turn"
        good = sum(outcome is DONE for _, outcome, _ in DAYS[name])
        assert run.watch.conversation.usage.output_tokens >= 5 * good
        assert run.watch.session == session
        failures = {turn.end.failure for turn in turns if turn.end is not None and turn.end.outcome is FAILED}
        assert failures <= {Failure.AUTH_ERROR}


def ended(run: GeminiRun) -> list[Turn]:
    """The last turn, if none is under way."""
    last = run.watch.conversation.last
    return [] if last is None or run.watch.conversation.turn is not None else [last]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ('[API Error: {"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}]', "usage_limit"),
        ('[API Error: {"error":{"code":403,"message":"no"}}]', "auth_error"),
        ("[API Error: API key not valid. Please pass a valid API key.]", "auth_error"),
        ('[API Error: {"error":{"code":500,"message":"oops"}}]', "other"),
    ],
)
def test_errors_end_a_turn(error: str, failure: str) -> None:
    line = {"id": "a", "timestamp": "2026-11-29T02:11:28Z", "type": "error", "content": error}
    assert Session().read(json.dumps(line).encode()) == [Errored(error, Failure(failure), ends=True)]


async def test_an_answer_that_uses_a_tool_ends_nothing(tmp_path: Path) -> None:
    async with gemini_run(tmp_path) as run:
        await run.begin()
        tool = {"id": "t", "name": "shell", "args": {"command": "ls"}, "status": "success"}
        await run.message("gemini", 2, content="I look", tokens={"input": 10, "cached": 4, "output": 5, "thoughts": 2})
        await run.message("gemini", 2, content="I look", toolCalls=[tool])
        await until(lambda: "turn_tool_completed" in {kind for kind, _, _ in run.outlet.events})
        run.shows(Activity.IDLE)
        await run.message("gemini", 3, content="done", tokens={"input": 1, "output": 1})
        await until(lambda: run.watch.conversation.turn is not None and run.watch.conversation.turn.text == "done")
        run.shows(Activity.IDLE, at=wall() + 1)
        await until(lambda: run.watch.conversation.turn is None)
        last = run.watch.conversation.last
        assert last is not None
        assert last.end is not None
        assert last.end.final_text == "done"
        usage = last.usage
        assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (7, 4, 8)


async def test_a_permission_is_answered_by_keys_while_it_is_shown(tmp_path: Path) -> None:
    dialog = (SCREENS / "g1-10-shell.ansi").read_text()
    asked = judge_screen("gemini-cli", dialog, "").text
    assert asked is not None
    async with gemini_run(tmp_path) as run:
        await run.begin()
        run.shows(Activity.WAITING_PERMISSION, asked)
        await until(lambda: bool(run.watch.conversation.requests))
        with pytest.raises(TurnsError, match="expected no text"):
            await run.watch.answer(None, Answer(Decision.DENY, "because"))
        for other in ("", (SCREENS / "g4-08-shell.ansi").read_text().replace("ls", "rm")):
            run.terminal.shown = other
            with pytest.raises(TurnsError, match="no longer shows"):
                await run.watch.answer(None, Answer(Decision.ALLOW))
        run.terminal.shown = dialog.replace("Allow once", "Allow alwa")
        with pytest.raises(TurnsError, match='found "Allow alwa"'):
            await run.watch.answer(None, Answer(Decision.ALLOW))
        assert not run.terminal.pressed

        run.terminal.shown = dialog
        await run.watch.answer(None, Answer(Decision.ALLOW))
        assert run.terminal.pressed == ["Enter"]
        # The screen of the moment before is not asked about again; the next dialog is, though it asks the same.
        run.shows(Activity.WAITING_PERMISSION, asked)
        await run.message("gemini", 9, content="", toolCalls=[{"id": "t", "name": "x", "status": "success"}])
        await until(lambda: "turn_tool_completed" in {kind for kind, _, _ in run.outlet.events})
        assert not run.watch.conversation.requests
        run.shows(Activity.WAITING_PERMISSION, asked, at=wall() + 1)
        await until(lambda: bool(run.watch.conversation.requests))
        await run.watch.answer(None, Answer(Decision.DENY))
        await run.watch.interrupt()
        assert run.terminal.pressed == ["Enter", "Escape", "Escape"]


async def test_a_request_that_is_answered_at_the_terminal_is_over(tmp_path: Path) -> None:
    async with gemini_run(tmp_path) as run:
        await run.begin()
        run.shows(Activity.WAITING_INPUT, "Which colour?")
        await until(lambda: bool(run.watch.conversation.requests))
        with pytest.raises(TurnsError, match="words are given at the terminal"):
            await run.watch.answer(None, Answer(Decision.ANSWER, "Blue"))
        run.shows(Activity.WORKING)
        await until(lambda: not run.watch.conversation.requests)
        assert run.watch.conversation.turn is not None


async def looked(monkeypatch: pytest.MonkeyPatch, times: int = 3) -> None:
    """Wait until the adapter has looked at everything so many times more."""
    look, seen = GeminiWatch._watch_screen, 0

    def counted(self: GeminiWatch) -> None:
        nonlocal seen
        look(self)
        seen += 1

    with monkeypatch.context() as patch:
        patch.setattr(GeminiWatch, "_watch_screen", counted)
        await until(lambda: seen >= times)


async def test_ready_without_a_record_ends_a_turn_late_and_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gemini_run(tmp_path) as run:
        await run.begin()
        run.shows(Activity.IDLE)
        await looked(monkeypatch)
        assert run.watch.conversation.turn is not None
        monkeypatch.setattr("agentd.turns.gemini.watch._WORD_LIMIT", 0.1)
        await until(lambda: run.watch.conversation.turn is None)
        last = run.watch.conversation.last
        assert last is not None
        assert last.end is not None
        assert (last.end.outcome, last.end.final_text) == (Outcome.LOST, None)


@pytest.mark.parametrize("answer", ["done", ""])
async def test_a_death_loses_the_turn_unless_its_answer_was_recorded(tmp_path: Path, answer: str) -> None:
    async with gemini_run(tmp_path) as run:
        await run.begin()
        await run.message("gemini", 2, content=answer, tokens={"input": 1, "output": 1})
        await until(lambda: run.watch.conversation.usage.input_tokens == 1)
        await run.watch.end(succeeded=False)
        last = run.watch.conversation.last
        assert last is not None
        assert last.end is not None
        assert last.end.outcome is (DONE if answer else Outcome.LOST)


@pytest.mark.parametrize("known", [True, False])
async def test_what_was_recorded_just_before_a_death_counts(tmp_path: Path, *, known: bool) -> None:
    async with gemini_run(tmp_path) as run:
        if known:
            await run.begin()
            await run.message("info", 2, content="Request cancelled.")
            await until(lambda: run.watch.conversation.turn is None)
        else:
            run.write(header(SESSION))
        await run.message("user", 3, content=[{"text": "and this?"}])
        await run.message("gemini", 4, content="this")
        await run.watch.read_rest()
        turn = run.watch.conversation.turn
        assert turn is not None
        assert turn.prompt == "and this?"
        await run.watch.end(succeeded=False)
        last = run.watch.conversation.last
        assert last is not None
        assert last.end is not None
        assert last.end.final_text == "this"


async def test_a_dialog_before_any_turn_is_no_request(tmp_path: Path) -> None:
    async with gemini_run(tmp_path) as run:
        run.write(header(SESSION))
        run.shows(Activity.WAITING_PERMISSION, "Do you trust the files in this folder?")
        await run.message("info", 1, content="hello")
        await until(lambda: bool(run.outlet.shown))
        assert not run.watch.conversation.requests


async def test_two_agents_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    other = SESSION[:8] + "-0000-4000-8000-000000000000"
    async with gemini_run(tmp_path) as run:
        stranger = run.path.with_name(f"session-2026-11-29T02-10-{SESSION[:8]}.jsonl")
        run.path.parent.mkdir(parents=True)
        said = {"id": "x", "timestamp": "2026-11-29T02:11:28.058Z", "type": "user", "content": [{"text": "not mine"}]}
        stranger.write_text("".join(json.dumps(each) + "\n" for each in (header(other), said)))
        await run.begin()
        turn = run.watch.conversation.turn
        assert turn is not None
        assert turn.prompt == "do it"
        assert [kind for kind, _, _ in run.outlet.events].count("turn_started") == 1


@pytest.mark.parametrize("alone", [True, False])
async def test_after_clear_the_new_conversation_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, alone: bool
) -> None:
    monkeypatch.setattr("agentd.turns.gemini.session_files.is_alone", lambda _process, _workdir: alone)
    new = "60f11d0e-26d7-4daf-98b7-62c584ee8d43"
    async with gemini_run(tmp_path) as run:
        await run.begin()
        await run.message("info", 2, content="Request cancelled.")
        await until(lambda: run.watch.conversation.turn is None)
        began = wall()
        run.path = run.path.with_name(f"session-2026-11-29T02-20-{new[:8]}.jsonl")
        run.write({**header(new), "startTime": datetime.fromtimestamp(began).astimezone().isoformat()})
        await run.message("user", 3, content=[{"text": "after clear"}])
        run.shows(Activity.IDLE, at=began + 0.1)
        if alone:
            await until(lambda: run.watch.conversation.turn is not None)
            assert run.watch.session == new
        else:
            await looked(monkeypatch)
            assert run.watch.session == SESSION
            assert run.watch.conversation.turn is None


async def test_a_resumed_conversation_goes_on_in_its_first_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Gemini CLI 0.61.0 does that is resumed in another minute: it begins a second file, and leaves it there."""
    monkeypatch.setattr("agentd.turns.gemini.session_files.is_alone", lambda _process, _workdir: True)
    async with gemini_run(tmp_path) as run:
        await run.begin()
        await run.message("info", 2, content="Request cancelled.")
        await until(lambda: run.watch.conversation.turn is None)
        watch = run.watch._watched.watch
        assert isinstance(watch, GeminiWatch)
        began, first = wall(), run.path
        run.path = first.with_name(f"session-2026-11-29T02-20-{SESSION[:8]}.jsonl")
        run.write({**header(SESSION), "startTime": datetime.fromtimestamp(began).astimezone().isoformat()})
        run.shows(Activity.IDLE, at=began + 0.1)
        await until(lambda: len(watch._files._followed) == 2)
        run.path = first
        await run.message("user", 3, content=[{"text": "and now?"}])
        await until(lambda: run.watch.conversation.turn is not None)
        assert run.watch.session == SESSION


def test_another_gemini_in_the_folder_is_seen(tmp_path: Path) -> None:
    program = tmp_path / "gemini"
    program.write_text("#!/bin/sh\nread -r line\n")
    program.chmod(0o755)
    with Popen([program], cwd=tmp_path, stdin=PIPE) as first:
        own = ProcessIdentity.of(first.pid)
        assert own is not None
        assert is_alone(own, tmp_path)
        with Popen([program], cwd=tmp_path, stdin=PIPE) as other:
            assert not is_alone(own, tmp_path)
            other.communicate()
        first.communicate()


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"id":1}',
        b'{"id":"a","timestamp":"soon","type":"user","content":"x"}',
        b'{"id":"a","timestamp":"2026-11-29T02:11:28Z","type":"gemini","content":7,"toolCalls":{},"tokens":[]}',
        b'{"id":"a","timestamp":"2026-11-29T02:11:28Z","type":"poem","content":"x"}',
        b'{"$set":5}',
        b'{"$rewindTo":"a"}',
    ],
)
def test_what_is_not_understood_says_nothing(line: bytes) -> None:
    said = [each for each in Session().read(line) if not isinstance(each, Used)]
    assert all(getattr(each, "text", "") == "" for each in said)


async def test_a_gigabyte_is_passed_over(tmp_path: Path) -> None:
    async with gemini_run(tmp_path) as run:
        await run.begin()
        with run.path.open("ab") as file:
            file.truncate(1 << 30)
            file.seek(0, 2)
            file.write(b"\n")
        await run.message("gemini", 2, content="x" * (LONGEST_LINE // 64))
        await until(lambda: run.watch.conversation.turn is not None and bool(run.watch.conversation.turn.text))


def test_a_conversation_is_named_where_the_agent_stays(tmp_path: Path) -> None:
    added = launch.additions(facts(tmp_path, "gemini", "-m", "pro"))
    session = added.memo[launch.SESSION]
    assert added.argv == ("gemini", "--session-id", session, "-m", "pro")
    again = launch.additions(facts(tmp_path, "gemini", resume=SESSION))
    assert again.argv == ("gemini", "--resume", SESSION)
    assert again.memo[launch.SESSION] == SESSION
    elsewhere = launch.additions(facts(tmp_path, "gemini", GEMINI_CLI_HOME="/srv/g"))
    assert elsewhere.memo[launch.HOME] == "/srv/g"
    own = launch.additions(facts(tmp_path, "gemini", "--session-id", SESSION))
    assert own.argv == ("gemini", "--session-id", SESSION)
    assert own.memo == {launch.SESSION: SESSION}


@pytest.mark.parametrize(
    "argv",
    [
        ("gemini", "--resume", "latest"),
        ("gemini", "-r", "3"),
        ("gemini", "--session-id=../../x"),
        ("gemini", "--acp"),
        ("gemini", "mcp", "list"),
    ],
)
def test_nothing_is_added_where_the_command_line_says_another_thing(tmp_path: Path, argv: tuple[str, ...]) -> None:
    added = launch.additions(facts(tmp_path, *argv, resume=SESSION))
    assert added.argv == argv
    assert launch.SESSION not in added.memo


@pytest.mark.parametrize("argv", [("gemini", "--prompt=x"), ("gemini", "-m", "pro", "-p", "x"), ("gemini", "x")])
def test_a_one_shot_run_keeps_its_command_line(tmp_path: Path, argv: tuple[str, ...]) -> None:
    added = launch.additions(facts(tmp_path, *argv, stays=False))
    assert added.argv == argv
    assert (launch.SCREEN in added.memo) == (argv == ("gemini", "x"))


@pytest.mark.parametrize(("screen", "activity"), [("yes", Activity.IDLE), ("", Activity.WORKING)])
async def test_where_one_message_has_a_screen_that_tells(tmp_path: Path, screen: str, activity: Activity) -> None:
    async with gemini_run(tmp_path, stays=False, screen=screen) as run:
        await until(lambda: run.watch.conversation.turn is not None)
        run.shows(Activity.IDLE)
        assert run.watch.current is not None
        assert run.watch.current.doing.activity is activity
        await run.watch.end(succeeded=True)
        last = run.watch.conversation.last
        assert last is not None
        assert last.end is not None
        assert last.end.outcome is DONE
