"""Recorded rollout files of real runs of Codex, written once more while the adapter watches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from agentd.files.looks import Looks
from agentd.harness.additions import LaunchFacts
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.turns.activity import SCREEN, Rank, Seen
from agentd.turns.adapter import Answer, Ground, LiveRun, TurnsError
from agentd.turns.codex.adapter import CODEX
from agentd.turns.codex.rollout import Rollout, is_of_user
from agentd.turns.conversation import Turn
from agentd.turns.events import Decision, Ended, Failure, Outcome, Started, ToolCompleted, ToolStarted, Usage
from agentd.turns.file_changes import FileChanges
from agentd.turns.run_watch import RunWatch
from agentd.turns.screen.judging import judge_screen
from tests.turns.claude_run import Outlet, Terminal, me, until

SCREENS = Path(__file__).with_name("screens") / "codex"
SAMPLES = Path(__file__).with_name("samples") / "codex"
TUI, HOOKED, SERVED = sorted(SAMPLES.iterdir(), key=lambda path: ("02-06", "02-27", "02-08").index(path.name[19:24]))
REPLY = "STUB-REPLY: "
DONE, FAILED, INTERRUPTED = Outcome.COMPLETED, Outcome.FAILED, Outcome.INTERRUPTED
LIMIT, AUTH, OTHER = Failure.USAGE_LIMIT, Failure.AUTH_ERROR, Failure.OTHER
SIX_LINES = "STUB-TRICKLE:5 line one\nline two\nline three\nline four\nline five\nline six"
EIGHT = "STUB-TRICKLE:30 interrupt me\na\nb\nc\nd\ne\nf\ng\nh"
TWICE = "STUB-BASH:sleep 2; echo tool-out > /srv/agents/work/cx1"

Told = tuple[str, Outcome, str | None, Failure | None]
DAYS: dict[Path, list[Told]] = {
    TUI: [
        (SIX_LINES, DONE, REPLY + TWICE, None),  # a second message came while it worked, and was answered with it
        (EIGHT, INTERRUPTED, None, None),
        ("STUB-LIMIT please", FAILED, None, LIMIT),
        ("STUB-STATUS:401 please", FAILED, None, AUTH),
        ("STUB-STATUS:500 please", FAILED, None, OTHER),
    ],
    HOOKED: [
        ("STUB-TRICKLE:2 hello\nthere", DONE, REPLY + "STUB-TRICKLE:2 hello\nthere", None),
        *(
            (text, DONE, REPLY + text, None)
            for text in (
                f'STUB-TOOL:exec_command {{"cmd":"touch /srv/agents/work/cg{n}",'
                '"sandbox_permissions":"require_escalated","justification":"May I touch the file?"}'
                for n in (1, 2, 3)
            )
        ),
        ("STUB-TRICKLE:20 x\ny", INTERRUPTED, None, None),
        ("STUB-LIMIT x", FAILED, None, LIMIT),
        ("STUB-STATUS:401 x", FAILED, None, AUTH),
    ],
    SERVED: [
        *(
            (text, DONE, REPLY + text, None)
            for text in (f"STUB-BASH:echo hi > /srv/agents/work/cxf{n}" for n in (1, 2, 3))
        ),
        ("STUB-TRICKLE:20 a\nb\nc\nd\ne", INTERRUPTED, None, None),
        ("STUB-LIMIT x", FAILED, None, LIMIT),
        ("STUB-STATUS:401 x", FAILED, None, AUTH),
        ("STUB-STATUS:500 x", FAILED, None, OTHER),
        ("STUB-BASH:echo hi > /srv/agents/work/cxf4", DONE, REPLY + "STUB-BASH:echo hi > /srv/agents/work/cxf4", None),
        ("no tui attached", DONE, REPLY + "no tui attached", None),
        ("STUB-TRICKLE:20 killed in the middle\nb\nc\nd\ne", Outcome.LOST, None, None),
        ("after restart", DONE, REPLY + "after restart", None),
    ],
}
"""Each turn of the recorded runs: what was asked, how it ended, the answer byte for byte, why it failed."""

SHOWN: dict[Failure | None, str] = {LIMIT: "usage_limit", AUTH: "auth_error"}
"""What is shown after a failure, if not that it is idle."""


def stamped(line: bytes, at: float) -> bytes:
    """Write a recorded line as if it were of another time."""
    found = json.loads(line)
    found["timestamp"] = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(found).encode() + b"\n"


def lines_of(sample: Path, at: float | None = None) -> list[bytes]:
    """The lines of a recorded file, as if they were of now, or of another time."""
    return [stamped(line, time.time() + 1 if at is None else at) for line in sample.read_bytes().splitlines()]


def turns_of(lines: list[bytes]) -> list[list[bytes]]:
    """The lines up to each beginning of a turn."""
    found: list[list[bytes]] = [[]]
    for line in lines:
        if b'"type": "task_started"' in line:
            found.append([])
        found[-1].append(line)
    return found


@dataclass(slots=True)
class CodexRun:
    """A watched run, whose process is the one of the tests."""

    watch: RunWatch
    outlet: Outlet
    terminal: Terminal
    home: Path
    files: contextlib.ExitStack

    def open(self, name: str) -> BinaryIO:
        """Begin a conversation, or go on with one: the process has its file open."""
        return self.files.enter_context(path_of(self.home, name).open("ab", buffering=0))

    @property
    def activity(self) -> tuple[str, str]:
        assert self.watch.current is not None
        doing = self.watch.current.doing
        return doing.activity.value, doing.source

    async def working(self, prompt: str) -> None:
        """Wait until a turn is under way."""
        await until(lambda: self.watch.conversation.turn is not None and self.watch.conversation.turn.prompt == prompt)
        await until(lambda: self.activity == ("working", "rollout"))

    async def ended(self, prompt: str) -> Turn:
        """Wait for the end of a turn."""
        await until(lambda: self.watch.conversation.last is not None and self.watch.conversation.last.prompt == prompt)
        await until(lambda: self.activity[0] != "working")
        assert self.watch.conversation.last is not None
        return self.watch.conversation.last


def path_of(home: Path, name: str) -> Path:
    folder = home / ".codex" / "sessions" / time.strftime("%Y/%m/%d")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


@contextlib.asynccontextmanager
async def codex_run(home: Path, *, stays: bool = True, memo: dict[str, str] | None = None) -> AsyncIterator[CodexRun]:
    """Watch a run."""
    looks = Looks()
    changes = FileChanges(looks, interval=0.01)
    outlet, terminal = Outlet(), Terminal()
    facts = LaunchFacts("a", "run-1", "codex", ("codex",), {}, home, home, stays, home / "file", home / "socket")
    process = ProcessIdentity.of(os.getpid())
    assert process is not None
    watch = RunWatch(LiveRun(facts, process, memo or {}, terminal), Ground(looks, changes, me(), time.time), outlet)
    watch.begin(CODEX)
    looking = asyncio.create_task(changes.run())
    with contextlib.ExitStack() as files:
        try:
            yield CodexRun(watch, outlet, terminal, home, files)
        finally:
            await watch.let_go()
            looking.cancel()
            await asyncio.wait([looking])
            looks.close()


@pytest.mark.parametrize("sample", DAYS, ids=["tui", "hooked", "served"])
async def test_every_turn_of_a_recorded_day_is_told(tmp_path: Path, sample: Path) -> None:
    async with codex_run(tmp_path) as run:
        (tmp_path / ".codex").mkdir()
        file = run.open(sample.name)
        meta, *turns = turns_of(lines_of(sample))
        file.write(b"".join(meta))
        told: list[Told] = []
        for lines, (prompt, outcome, _, _) in zip(turns, DAYS[sample], strict=True):
            # Half a line at first: it is read once it is whole.
            whole = b"".join(lines)
            cut = whole.index(b"\n", whole.index(b"UserMessage")) + 20
            file.write(whole[:cut])
            await run.working(prompt)
            file.write(whole[cut:])
            if outcome is Outcome.LOST:
                await run.working(prompt)
                told.append((prompt, outcome, None, None))
                continue
            turn = await run.ended(prompt)
            assert turn.end is not None
            told.append((prompt, turn.end.outcome, turn.end.final_text, turn.end.failure))
            assert run.activity == (SHOWN.get(turn.end.failure, "idle"), "rollout")
        assert told == DAYS[sample]
        assert run.watch.session == sample.stem[-36:]
        kinds = [kind for kind, _, _ in run.outlet.events]
        assert kinds.count("turn_ended") == len(told)


async def test_usage_and_tools(tmp_path: Path) -> None:
    async with codex_run(tmp_path) as run:
        (tmp_path / ".codex").mkdir()
        meta, first, *_ = turns_of(lines_of(TUI))
        run.open(TUI.name).write(b"".join([*meta, *first]))
        assert (await run.ended(SIX_LINES)).usage == Usage(20, 10)
        tools = [(kind, reason) for kind, reason, _ in run.outlet.events if kind.startswith("turn_tool")]
        assert tools[0] == ("turn_tool_started", "sleep 2; echo tool-out > /srv/agents/work/cx1")


async def test_another_conversation_and_back_to_the_first(tmp_path: Path) -> None:
    async with codex_run(tmp_path) as run:
        (tmp_path / ".codex").mkdir()
        meta, *turns = turns_of(lines_of(TUI))
        first = run.open(TUI.name)
        first.write(b"".join([*meta, *turns[0]]))
        await run.ended(SIX_LINES)
        other, *others = turns_of(lines_of(HOOKED))
        # A subagent's file is written later still.
        second = run.open(HOOKED.name)
        second.write(b"".join([*other, *others[0]]))
        helper = b"".join(lines_of(SERVED)).replace(b'"source": "vscode"', b'"source": {"subagent": "review"}')
        run.open(SERVED.name).write(helper)
        await run.ended(DAYS[HOOKED][0][0])
        assert run.watch.session == HOOKED.stem[-36:]
        assert [kind for kind, _, _ in run.outlet.events].count("turn_ended") == 2


async def test_what_was_recorded_just_before_a_death_counts(tmp_path: Path) -> None:
    async with codex_run(tmp_path) as run:
        (tmp_path / ".codex").mkdir()
        meta, first, second, *_ = turns_of(lines_of(TUI))
        file = run.open(TUI.name)
        file.write(b"".join([*meta, *first]))
        await run.ended(SIX_LINES)
        file.write(b"".join(second))
        await run.watch.read_rest()
        last = run.watch.conversation.last
        assert last is not None
        assert last.prompt == DAYS[TUI][1][0]


async def test_another_run_in_the_same_folder_is_not_ours(tmp_path: Path) -> None:
    async with codex_run(tmp_path) as run:
        (tmp_path / ".codex").mkdir()
        path_of(tmp_path, HOOKED.name).write_bytes(b"".join(lines_of(HOOKED)))
        meta, first, *_ = turns_of(lines_of(TUI))
        run.open(TUI.name).write(b"".join([*meta, *first]))
        path_of(tmp_path, HOOKED.name).touch()
        await run.ended(SIX_LINES)
        assert run.watch.session == TUI.stem[-36:]


async def test_what_was_before_is_not_told_again_but_the_turn_under_way_is(tmp_path: Path) -> None:
    """A daemon that begins to watch in the middle of a turn, of a conversation that another run was killed in."""
    process = ProcessIdentity.of(os.getpid())
    assert process is not None
    meta, *turns = turns_of(lines_of(SERVED, time.time() - process.age() - 60.0))
    # The turn that the other run was killed in is the last but one.
    file = path_of(tmp_path, SERVED.name).open("ab", buffering=0)
    file.write(b"".join([*meta, *(line for turn in turns[:-1] for line in turn)]))
    _, *now = turns_of(lines_of(TUI, time.time()))
    file.write(b"".join(now[0]) + b"".join(now[1][:-1]))
    with file:
        async with codex_run(tmp_path) as run:
            await until(lambda: run.watch.conversation.turn is not None)
            assert run.watch.conversation.turn is not None
            assert run.watch.conversation.turn.prompt == EIGHT
            file.write(b"".join(turns_of(lines_of(TUI))[2][-1:]))
            await run.ended(EIGHT)
            assert [kind for kind, _, _ in run.outlet.events if "turn" in kind] == ["turn_started", "turn_ended"]


async def test_a_request_is_told_by_the_screen_while_it_works(tmp_path: Path) -> None:
    async with codex_run(tmp_path) as run:
        (tmp_path / ".codex").mkdir()
        meta, _, second, *_ = turns_of(lines_of(HOOKED, time.time()))
        at = next(n for n, line in enumerate(second) if b'"function_call_output"' in line)
        file = run.open(HOOKED.name)
        file.write(b"".join([*meta, *second[: at - 1]]))
        await until(lambda: run.activity == ("working", "rollout"))
        asks = Seen(Activity.WAITING_PERMISSION, time.time(), "touch", Rank.SCREEN)
        run.watch.seen(SCREEN, asks)
        assert run.activity == ("waiting_permission", "screen")
        file.write(b"".join(stamped(line, time.time() + 2) for line in second[at - 1 : -1]))
        await until(lambda: run.activity == ("working", "rollout"))
        run.watch.seen(SCREEN, Seen(Activity.IDLE, time.time() + 9, "", Rank.SCREEN))
        assert run.activity == ("working", "rollout"), "the screen is believed of requests alone"
        await run.watch.end(succeeded=False)
        assert run.watch.conversation.last is not None
        assert run.watch.conversation.last.end == Ended(Outcome.LOST, None, None, "the agent's process ended")


async def test_a_permission_is_answered_by_keys_while_it_is_shown(tmp_path: Path) -> None:
    screen = (SCREENS / "s-permission-2.ansi").read_text()
    asked = judge_screen("codex", screen, "").text or ""
    async with codex_run(tmp_path) as run:
        (tmp_path / ".codex").mkdir()
        meta, _, second, *_ = turns_of(lines_of(HOOKED, time.time()))
        at = next(n for n, line in enumerate(second) if b'"function_call_output"' in line)
        file = run.open(HOOKED.name)
        file.write(b"".join([*meta, *second[: at - 1]]))
        await until(lambda: run.activity == ("working", "rollout"))

        def shows() -> None:
            run.watch.seen(SCREEN, Seen(Activity.WAITING_PERMISSION, time.time(), asked, Rank.SCREEN))

        shows()
        await until(lambda: len(run.watch.conversation.requests) == 1)
        assert run.watch.conversation.requests[0].tool == "call_af724a5737444b1691b6"
        with pytest.raises(TurnsError, match="no longer shows"):
            await run.watch.answer(None, Answer(Decision.ALLOW))
        assert run.terminal.pressed == []
        run.terminal.shown = screen
        with pytest.raises(TurnsError, match="expected allow or deny"):
            await run.watch.answer(None, Answer(Decision.ANSWER, "yes"))
        with pytest.raises(TurnsError, match="expected no text"):
            await run.watch.answer(None, Answer(Decision.DENY, "no"))
        await run.watch.answer(None, Answer(Decision.ALLOW))
        assert run.terminal.pressed == ["y"]
        # It is drawn once more as it was.
        shows()
        file.write(b"".join(lines_of(HOOKED)[-1:]))
        await until(lambda: run.watch.conversation.turn is None)
        assert run.watch.conversation.requests == ()
        assert [reason for kind, reason, _ in run.outlet.events if kind == "turn_permission_asked"] == [asked]


async def test_a_permission_that_is_decided_at_the_terminal_is_over(tmp_path: Path) -> None:
    async with codex_run(tmp_path) as run:
        (tmp_path / ".codex").mkdir()
        meta, _, second, *_ = turns_of(lines_of(HOOKED, time.time()))
        at = next(n for n, line in enumerate(second) if b'"function_call_output"' in line)
        run.open(HOOKED.name).write(b"".join([*meta, *second[: at - 1]]))
        await until(lambda: run.activity == ("working", "rollout"))
        run.watch.seen(SCREEN, Seen(Activity.WAITING_PERMISSION, time.time(), "touch", Rank.SCREEN))
        await until(lambda: len(run.watch.conversation.requests) == 1)
        run.watch.seen(SCREEN, Seen(Activity.WORKING, time.time() + 1, "", Rank.SCREEN))
        await until(lambda: run.watch.conversation.requests == ())


async def test_a_gigabyte_of_conversation_is_not_read(tmp_path: Path) -> None:
    file = path_of(tmp_path, TUI.name).open("ab", buffering=0)
    meta, *turns = turns_of(lines_of(TUI))
    file.write(b"".join(meta))
    file.truncate(1 << 30)
    file.write(b"\n")
    with file:
        async with codex_run(tmp_path) as run:
            await until(lambda: run.watch.session is not None)
            await asyncio.sleep(0.05)
            file.write(b"".join(turns[0]))
            await run.ended(SIX_LINES)


async def test_a_oneshot_run_is_one_turn(tmp_path: Path) -> None:
    async with codex_run(tmp_path, stays=False) as run:
        await until(lambda: run.activity == ("working", "process"))
        await run.watch.end(succeeded=True)
        assert run.watch.conversation.last is not None
        assert run.watch.conversation.last.end == Ended(DONE)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b"[" * 100_000,
        b'{"timestamp":"soon","type":"event_msg","payload":{"type":"task_started"}}',
        b'{"timestamp":"2026-11-29T02:27:14Z","type":"event_msg","payload":[]}',
        b'{"timestamp":"2026-11-29T02:27:14Z","type":"response_item","payload":{"type":"function_call","call_id":7}}',
        b'{"timestamp":"2026-11-29T02:27:14Z","type":"event_msg","payload":{"type":"item_completed","item":3}}',
    ],
)
def test_what_is_not_understood_says_nothing(line: bytes) -> None:
    assert Rollout().read(line) is None
    assert not is_of_user(line)


@pytest.mark.parametrize(
    ("meta", "own"),
    [
        ({"source": "cli", "thread_source": "user"}, True),
        ({"source": "vscode"}, True),
        ({"source": {"subagent": "review"}}, False),
        ({"source": "cli", "thread_source": "subagent"}, False),
        ({"source": "exec"}, False),
        ({}, False),
    ],
)
def test_whose_conversation_it_is(meta: dict[str, object], own: bool) -> None:
    assert is_of_user(record("session_meta", **meta)) is own


def test_tidying_up_is_no_turn() -> None:
    rollout = Rollout()
    events = [
        event
        for kind in ("task_started", "task_complete")
        if (told := rollout.read(record("event_msg", type=kind, turn_id="t"))) is not None
        for event in told.events
    ]
    assert events == []


def record(kind: str, **payload: object) -> bytes:
    return json.dumps({"timestamp": "2026-11-29T02:27:14.000Z", "type": kind, "payload": payload}).encode()


def test_a_tool_that_was_refused_has_not_run_well() -> None:
    rollout = Rollout()
    rollout.read(record("event_msg", type="task_started", turn_id="t"))
    called = rollout.read(
        record("response_item", type="function_call", call_id="c", name="x", arguments='{"cmd": "ls"}')
    )
    assert called is not None
    assert called.events == (Started("t"), ToolStarted("c", "x", "ls"))
    done = rollout.read(
        record("response_item", type="function_call_output", call_id="c", output="exec_command failed: no")
    )
    assert done is not None
    assert done.events == (ToolCompleted("c", ok=False),)


def test_totals_of_usage_are_told_as_they_grow() -> None:
    rollout = Rollout()

    def total(read: int, cached: int, wrote: int) -> tuple[object, ...]:
        totals = {"input_tokens": read, "cached_input_tokens": cached, "output_tokens": wrote}
        told = rollout.read(record("event_msg", type="token_count", info={"total_token_usage": totals}))
        return () if told is None else told.events

    assert total(100, 40, 5) == (Usage(60, 5, 40),)
    assert total(100, 40, 5) == ()
    assert total(150, 80, 7) == (Usage(10, 2, 40),)


async def test_a_conversation_that_is_gone_on_with_is_followed_before_it_is_opened(tmp_path: Path) -> None:
    process = ProcessIdentity.of(os.getpid())
    assert process is not None
    path = path_of(tmp_path, TUI.name)
    path.write_bytes(b"".join(lines_of(TUI, time.time() - process.age() - 60.0)))
    async with codex_run(tmp_path, memo={"resume": TUI.stem[-36:]}) as run:
        await until(lambda: run.watch.session == TUI.stem[-36:])
        with path.open("ab") as file:
            file.write(b"".join(turns_of(lines_of(TUI))[1]))
        await run.ended(SIX_LINES)
        assert [kind for kind, _, _ in run.outlet.events].count("turn_ended") == 1
