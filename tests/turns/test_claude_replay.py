"""Recorded hooks of real runs of Claude Code, played to the adapter: every turn must come out as it was."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.harness.additions import LaunchFacts
from agentd.turns.adapter import Granularity
from agentd.turns.claude import launch
from agentd.turns.conversation import Turn
from agentd.turns.events import Failure, Outcome
from tests.turns.claude_run import SAMPLES, STATUS, ClaudeRun, claude_run, recorded, until

REPLY = "STUB-REPLY: "
DONE, FAILED = Outcome.COMPLETED, Outcome.FAILED


def bash(command: str) -> str:
    return f"STUB-BASH:{command}"


SIX_LINES = "STUB-TRICKLE:5 line one\nline two\nline three\nline four\nline five\nline six"
QUESTION = (
    'STUB-TOOL:AskUserQuestion {"questions":[{"question":"Which colour?","header":"Colour","multiSelect":false,'
    '"options":[{"label":"Red","description":"warm"},{"label":"Blue","description":"cold"}]}]}'
)
DIALOG = Path(__file__).parent / "screens" / "claude-code" / "c9-01-limit-of-a-subscription-dialog.ansi"
LIMIT = "You've hit your session limit · resets 4:20am (UTC)"

DAY = [
    (SIX_LINES, DONE, REPLY + SIX_LINES),
    *(
        (bash(f"echo perm{n} > /srv/agents/work/p{n}"), DONE, REPLY + bash(f"echo perm{n} > /srv/agents/work/p{n}"))
        for n in range(1, 5)
    ),
    (bash("echo perm5 > /srv/agents/work/p5"), Outcome.INTERRUPTED, None),
    ("STUB-LIMIT please", DONE, REPLY + bash("echo perm5 > /srv/agents/work/p5")),
    ("STUB-STATUS:401 please", FAILED, None),
    ("STUB-STATUS:403 please", FAILED, None),
    ("STUB-STATUS:500 please", FAILED, None),
    ("STUB-LIMIT please", FAILED, None),
    ("STUB-STATUS:401 please", FAILED, None),
    (QUESTION, DONE, REPLY + QUESTION),
    ("STUB-TRICKLE:5 first\nof two", DONE, REPLY + "STUB-TRICKLE:5 first\nof two"),
    ("second of two", DONE, REPLY + "second of two"),
    (bash("sleep 4"), DONE, REPLY + bash("sleep 4")),
    ("after clear", DONE, REPLY + "after clear"),
    (bash("echo down > /srv/agents/work/down1"), Outcome.LOST, None),
]
"""Each turn of the recorded day: what was asked, how it ended, and the answer, byte for byte."""

LIMITED = [("STUB-LIMIT please", FAILED, None), ("STUB-LIMIT again", FAILED, None)]
"""Of another run."""


Told = tuple[str | None, Outcome | None, str | None]


def told(turns: list[Turn]) -> list[Told]:
    """What was asked, how it ended, and the answer."""
    return [
        (turn.prompt, None if turn.end is None else turn.end.outcome, None if turn.end is None else turn.end.final_text)
        for turn in turns
    ]


async def replay(run: ClaudeRun, *names: str, session: str = "") -> list[Turn]:
    """Post the recorded hooks of a session, but of the run that has the limit only if asked for; collect the turns."""
    turns: list[Turn] = []
    for line in recorded(*names):
        body = line["json"]
        assert isinstance(body, dict)
        if session not in str(body["session_id"])[:4] or (not session and str(body["session_id"])[:4] == "0ac1"):
            continue
        before = run.watch.conversation.last
        await run.hook(str(line["ev"]), **body)
        last = run.watch.conversation.last
        if last is not None and last is not before and (before is None or last.started != before.started):
            turns.append(last)
    return turns


async def test_every_turn_of_a_recorded_day_is_told(tmp_path: Path) -> None:
    async with claude_run(tmp_path) as run:
        turns = await replay(run, "httphooks-claude.jsonl", "hooks-claude-c1.jsonl")
        await run.watch.end(succeeded=False)
        assert run.watch.conversation.last is not None
        turns.append(run.watch.conversation.last)
        assert told(turns) == DAY
        failures = [turn.end.failure for turn in turns if turn.end is not None and turn.end.outcome is FAILED]
        limit, auth = Failure.USAGE_LIMIT, Failure.AUTH_ERROR
        assert failures == [auth, auth, Failure.OTHER, limit, auth]
        texts = {kind: reason for kind, reason, _ in run.outlet.events}
        assert texts["turn_permission_asked"] == "echo down > /srv/agents/work/down1"
        assert texts["turn_question_asked"] == "Which colour?"


async def test_a_usage_limit_says_until_when(tmp_path: Path) -> None:
    async with claude_run(tmp_path) as run:
        assert told(await replay(run, "hooks-claude-c2.jsonl", "httphooks-claude.jsonl", session="0ac1")) == LIMITED
        doing = {each.activity.value: each.text for each in run.outlet.shown}
        assert doing["usage_limit"] == LIMIT
        assert run.activity == "unknown", "the program has said that it ends"


async def test_activity_follows_the_hooks(tmp_path: Path) -> None:
    async with claude_run(tmp_path) as run:
        shown = []
        for line in recorded("httphooks-claude.jsonl", "hooks-claude-c1.jsonl"):
            body = line["json"]
            assert isinstance(body, dict)
            if str(body["session_id"]).startswith("2193"):
                await run.hook(str(line["ev"]), **body)
                shown.append((line["ev"], run.activity))
        assert [pair for at, pair in enumerate(shown) if not at or pair != shown[at - 1]][:14] == [
            ("SessionStart", "idle"),
            ("UserPromptSubmit", "working"),
            ("StopFailure", "usage_limit"),
            ("UserPromptSubmit", "working"),
            ("StopFailure", "auth_error"),
            ("UserPromptSubmit", "working"),
            ("PreToolUse", "working"),
            ("PermissionRequest", "waiting_input"),
            ("Notification", "waiting_input"),
            ("PostToolUse", "working"),
            ("PostToolBatch", "working"),
            ("MessageDisplay", "working"),
            ("Stop", "idle"),
            ("UserPromptSubmit", "working"),
        ]


PLAIN = "STUB-TRICKLE:4 one two three four five six seven eight"
TOOL = bash("sleep 3; echo tool-out-$((40+2)) > /srv/agents/work/x1")
ANSWERED = [
    "hello 0",
    "hello 1",
    "hello 2",
    "STUB-TRICKLE:2 " + "\n".join(f"l{n}" for n in range(20)),
    "with the socket gone",
]

FILES = {
    "a2__84b9408d-83cc-45ff-ba37-50c9c6d0631f": [
        (PLAIN, DONE, REPLY + PLAIN),
        (TOOL, DONE, REPLY + TOOL),
        ("STUB-TRICKLE:30 interrupt me a b c d e f g h i j k", Outcome.INTERRUPTED, None),
        ("after resume", DONE, REPLY + "after resume"),
    ],
    "e1__f844eb49-cf43-4702-a572-72f6fbfd152d": [
        *((said, DONE, REPLY + said) for said in ANSWERED),
        ("STUB-TRICKLE:20 killed\nb\nc", Outcome.INTERRUPTED, None),
        ("resumed", DONE, REPLY + "resumed"),
    ],
}
"""Of each recorded session file the turns; the one that was killed is interrupted here, as the file alone tells."""


@pytest.mark.parametrize("name", FILES)
async def test_where_there_are_no_hooks_the_files_tell(tmp_path: Path, name: str) -> None:
    session = name.partition("__")[2]
    path = tmp_path / ".claude" / "projects" / "-srv-agents-work" / f"{session}.jsonl"
    path.parent.mkdir(parents=True)
    turns: list[Turn] = []
    async with claude_run(tmp_path, memo={"session": session}) as run:
        run.status({**STATUS, "status": "idle", "statusUpdatedAt": 0})
        await until(lambda: run.activity == "idle")
        for line in (SAMPLES / f"session-{name}.jsonl").read_bytes().splitlines(keepends=True):
            found = json.loads(line)
            prompted = found["type"] == "user" and isinstance(found["message"]["content"], str)
            if prompted:
                await settled(run, turns)
            with path.open("ab") as file:
                # Half a line first: nothing may be made of it.
                file.write(line[:50])
                file.flush()
                file.write(line[50:])
            if prompted:
                run.status({**STATUS, "status": "busy", "statusUpdatedAt": run.now() + 5})
                await until(lambda: not run.watch.conversation.idle)
        await settled(run, turns)
        assert told(turns) == FILES[name]
        answered = sum(outcome is DONE for _, outcome, _ in FILES[name])
        assert run.watch.conversation.usage.output_tokens >= 5 * answered
        assert {kind for kind, _, _ in run.outlet.events} >= {"turn_started", "turn_ended"}


async def test_what_was_recorded_just_before_a_death_counts(tmp_path: Path) -> None:
    path = tmp_path / ".claude" / "projects" / "-srv-agents-work" / "s-1.jsonl"
    path.parent.mkdir(parents=True)
    async with claude_run(tmp_path, memo={"session": "s-1"}) as run:
        run.status({**STATUS, "status": "idle", "statusUpdatedAt": 0})
        await until(lambda: run.activity == "idle")
        lines = (SAMPLES / "session-a2__84b9408d-83cc-45ff-ba37-50c9c6d0631f.jsonl").read_bytes()
        path.write_bytes(lines[: lines.index(b"\n", lines.index(PLAIN.encode())) + 1])
        await run.watch.read_rest()
        turn = run.watch.conversation.turn
        assert turn is not None
        assert turn.prompt == PLAIN


async def settled(run: ClaudeRun, turns: list[Turn]) -> None:
    """Have the status file say that the turn under way is over, and wait until that has shown."""
    if run.watch.conversation.idle:
        return
    run.status({**STATUS, "status": "idle", "statusUpdatedAt": run.now() + 5})
    await until(lambda: run.watch.conversation.idle)
    assert run.watch.conversation.last is not None
    turns.append(run.watch.conversation.last)


async def test_without_hooks_a_question_is_told_from_a_permission(tmp_path: Path) -> None:
    """The status file says the same of both."""
    waiting: dict[str, object] = {**STATUS, "status": "waiting", "waitingFor": "permission prompt"}
    path = tmp_path / ".claude" / "projects" / "-srv-agents-work" / "s.jsonl"
    path.parent.mkdir(parents=True)

    def record(line: dict[str, object]) -> None:
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def used(name: str, **given: object) -> dict[str, object]:
        call = {"type": "tool_use", "id": name, "name": name, "input": given}
        message = {"id": name, "content": [call], "usage": {"output_tokens": 1}, "stop_reason": "tool_use"}
        return {"type": "assistant", "message": message}

    async with claude_run(tmp_path, memo={"session": "s"}) as run:
        run.status({**STATUS, "status": "busy", "statusUpdatedAt": 0})
        await until(lambda: run.activity == "working")
        record({"type": "user", "promptId": "p", "message": {"role": "user", "content": "hello"}})
        record(used("AskUserQuestion", questions=[{"question": "Which?"}, {"question": "Why?"}]))
        run.status({**waiting, "statusUpdatedAt": run.now() + 1})
        await until(lambda: run.activity == "waiting_input")
        assert run.watch.current is not None
        assert run.watch.current.doing.text == "Which? Why?"
        record(used("Bash", command="ls"))
        run.status({**waiting, "statusUpdatedAt": run.now() + 2})
        await until(lambda: run.activity == "waiting_permission")


async def test_without_hooks_a_turn_that_is_written_late_is_told(tmp_path: Path) -> None:
    """After the status file has said that it is over, as on a loaded machine."""
    path = tmp_path / ".claude" / "projects" / "-srv-agents-work" / "s.jsonl"
    path.parent.mkdir(parents=True)
    path.touch()
    async with claude_run(tmp_path, memo={"session": "s"}) as run:
        for status, since in (("busy", 1), ("idle", 2)):
            run.status({**STATUS, "status": status, "statusUpdatedAt": run.now() + since})
            await until(lambda status=status: run.activity == {"busy": "working"}.get(status, status))  # type: ignore[misc]
        error = {"isApiErrorMessage": True, "error": "authentication_failed", "message": {"content": []}}
        lines = (
            {"type": "user", "promptId": "p", "message": {"role": "user", "content": "hello"}},
            {"type": "assistant", **error},
        )
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        await until(lambda: run.activity == "auth_error")


@pytest.mark.parametrize("dialog_first", [True, False])
async def test_the_dialog_of_a_limit_is_no_question_and_is_closed_before_it_goes_on(
    tmp_path: Path, dialog_first: bool
) -> None:
    async with claude_run(tmp_path) as run:
        await run.hook("UserPromptSubmit", session_id="s", prompt_id="p", prompt="hello")
        open_dialog = {**STATUS, "sessionId": "s", "status": "waiting", "waitingFor": "dialog open"}
        if dialog_first:
            run.status({**open_dialog, "statusUpdatedAt": run.now() + 5})
            await until(lambda: run.activity == "waiting_input")
        await run.hook("StopFailure", prompt_id="p", error="rate_limit", last_assistant_message=LIMIT)
        if not dialog_first:
            run.status({**open_dialog, "statusUpdatedAt": run.now() + 5})
        await until(lambda: run.activity == "usage_limit")
        assert run.watch.limits.hit is not None
        assert run.watch.limits.hit.resets_at is not None
        run.terminal.shown = DIALOG.read_text()
        going = asyncio.create_task(run.watch.go_on())
        await until(lambda: run.terminal.pressed == ["Escape"])
        run.terminal.shown = ""
        # A message tells it then.
        assert await going is False


async def test_a_turn_after_a_limit_is_at_no_limit_also_when_its_end_is_told_late(tmp_path: Path) -> None:
    async with claude_run(tmp_path) as run:
        await run.hook("UserPromptSubmit", session_id="s", prompt_id="p", prompt="hello")
        await run.hook("StopFailure", prompt_id="p", error="rate_limit", last_assistant_message=LIMIT)
        assert run.activity == "usage_limit"
        await run.hook("UserPromptSubmit", session_id="s", prompt_id="q", prompt="continue")
        assert run.activity == "working"
        run.status({**STATUS, "sessionId": "s", "status": "idle", "statusUpdatedAt": run.now() + 5})
        await until(lambda: run.activity != "working")
        assert run.activity == "idle"
        assert run.watch.limits.hit is None


async def test_usage_that_is_written_after_the_end_counts_to_its_turn_though_the_next_begins(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.touch()
    common = {"session_id": "s", "transcript_path": str(path)}
    async with claude_run(tmp_path) as run:
        await run.hook("UserPromptSubmit", prompt="one", prompt_id="p1", **common)
        await run.hook("Stop", last_assistant_message="done", **common)
        usage = {"input_tokens": 10, "output_tokens": 5}
        message = {"id": "msg_1", "model": "m", "content": [{"type": "text", "text": "done"}], "usage": usage}
        path.write_text(json.dumps({"type": "assistant", "message": message}) + "\n")
        await run.hook("UserPromptSubmit", prompt="two", prompt_id="p2", **common)
        first, second = run.watch.conversation.last, run.watch.conversation.turn
        assert first is not None
        assert second is not None
        assert (first.usage.output_tokens, second.usage.output_tokens) == (5, 0)
        await run.hook("Stop", last_assistant_message="done", **common)
        assert [data["turn"] for kind, _, data in run.outlet.events if kind == "turn_usage"] == ["p1"]


async def test_text_comes_by_the_line_from_hooks_and_by_the_message_from_the_session_file(tmp_path: Path) -> None:
    async with claude_run(tmp_path) as run:
        told = [run.watch.granularity]
        await run.hook("UserPromptSubmit", prompt="one", prompt_id="p1")
        assert [*told, run.watch.granularity] == [Granularity.MESSAGE, Granularity.LINE]
    async with claude_run(tmp_path, memo={launch.HOOKED: "yes"}) as run:
        assert run.watch.granularity is Granularity.LINE


async def test_the_cost_that_the_status_line_tells_is_of_the_turn(tmp_path: Path) -> None:
    async with claude_run(tmp_path) as run:

        async def shown(total: float) -> None:
            await run.hook("StatusLine", cost={"total_cost_usd": total})

        await shown(0.5)  # resumed
        await run.hook("UserPromptSubmit", session_id="s", prompt_id="p1", prompt="hello")
        await shown(0.75)
        await run.hook("Stop", session_id="s", prompt_id="p1", last_assistant_message="hi")
        await shown(0.875)
        last = run.watch.conversation.last
        assert last is not None
        assert last.usage.cost_usd == 0.375


async def test_the_first_cost_that_is_told_is_of_a_run_that_is_new(tmp_path: Path) -> None:
    facts = LaunchFacts("a", "run-1", "claude-code", ("claude",), {}, tmp_path, tmp_path, True, tmp_path, tmp_path)
    new = launch.additions(facts).memo
    resumed = launch.additions(replace(facts, resume="i")).memo
    for memo, seen, told in ((new, None, 0.5), (resumed, None, None), (new, "i", None)):
        async with claude_run(tmp_path, memo=dict(memo), conversation=seen) as run:
            await run.hook("UserPromptSubmit", session_id="s", prompt_id="p1", prompt="hello")
            await run.hook("StatusLine", cost={"total_cost_usd": 0.5})
            turn = run.watch.conversation.turn
            assert turn is not None
            assert turn.usage.cost_usd == told
