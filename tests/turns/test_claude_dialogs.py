"""Dialogs of Claude Code that no hook tells of: told from the screen, and answered by keys, on real screens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentd.model.states import Activity
from agentd.turns.activity import SCREEN, Rank, Seen
from agentd.turns.adapter import Answer, TurnsError
from agentd.turns.claude.dialogs import key_for, options_of
from agentd.turns.claude.watch import ClaudeWatch
from agentd.turns.conversation import Request
from agentd.turns.events import Decision
from agentd.turns.screen.judging import judge_screen
from agentd.turns.screen.table import read_labels
from tests.turns.claude_run import STATUS, ClaudeRun, claude_run, until, wall

HERE = Path(__file__).parent
FOLDERS = (HERE / "screens", HERE / "unseen")
PERMISSIONS = [
    (folder / label.file).read_text(encoding="utf-8")
    for folder in FOLDERS
    for label in read_labels(folder)
    if label.harness == "claude-code" and label.expect is Activity.WAITING_PERMISSION and "trust" not in label.note
]
ASKED = Request("r", "", question=False, asked=0.0)
QUESTION = Request("r", "", question=True, asked=0.0)
ALLOW, DENY = Answer(Decision.ALLOW), Answer(Decision.DENY)


def shown(name: str) -> str:
    return (FOLDERS[0] / "claude-code" / f"{name}.ansi").read_text(encoding="utf-8")


BASH, EDIT, COLOUR = shown("s-permission-1"), shown("c2-04-edit"), shown("c31-13-question")


def test_every_real_dialog_is_allowed_once_and_denied_by_its_numbers() -> None:
    assert len(PERMISSIONS) > 20
    keys = {(key_for(ASKED, ALLOW, each), key_for(ASKED, DENY, each)) for each in PERMISSIONS}
    # Some dialogs offer nothing between.
    assert keys <= {("1", "3"), ("1", "2")}
    assert ("1", "3") in keys


def test_a_question_is_answered_by_the_number_of_a_choice() -> None:
    assert list(options_of(COLOUR)[0].values())[:3] == ["SQLite", "Postgres", "MySQL"]
    assert key_for(QUESTION, Answer(Decision.ANSWER, "Postgres"), COLOUR) == "2"
    assert key_for(QUESTION, DENY, COLOUR) == "Escape"
    long = shown("c8-22-long-question")
    assert key_for(QUESTION, Answer(Decision.ANSWER, "None"), long) == "4"


@pytest.mark.parametrize(
    ("request_", "answer", "screen", "why"),
    [
        (ASKED, Answer(Decision.ANSWER, "Yes"), BASH, "expected allow or deny"),
        (ASKED, Answer(Decision.DENY, "not now"), BASH, "send it afterwards"),
        (ASKED, ALLOW, shown("c1-01-trust-folder"), 'to offer "Yes"'),
        (ASKED, ALLOW, "Do you want 1. Yes", 'to offer "Yes"'),
        (QUESTION, ALLOW, COLOUR, "an answer in words, or deny"),
        (QUESTION, Answer(Decision.ANSWER, "Oracle"), COLOUR, 'its choices, "SQLite", "Postgres", "MySQL": without'),
        (QUESTION, Answer(Decision.ANSWER, "Type something."), COLOUR, "its choices"),
        (QUESTION, Answer(Decision.ANSWER, "Red"), shown("c2-09-the-second-of-two-questions"), "several things"),
        (QUESTION, Answer(Decision.ANSWER, "Login"), shown("c2-08-two-questions-several-answers"), "several things"),
    ],
)
def test_what_no_key_answers_is_said(request_: Request, answer: Answer, screen: str, why: str) -> None:
    with pytest.raises(TurnsError, match=why):
        key_for(request_, answer, screen)


def test_numbers_in_what_is_asked_about_are_no_choices() -> None:
    asks = "────────\n Edit file\n   1. Yes\n   2. No\n Do it?\n"
    screen = f"{asks} \u276f 1. Yes\n   2. Yes, and\n     more\n   3. No\n Esc to cancel"
    assert options_of(screen) == ({"1": "Yes", "2": "Yes, and", "3": "No"}, True)


@asynccontextmanager
async def asking(folder: Path, screen: str = BASH, *, hooked: bool = False) -> AsyncIterator[ClaudeRun]:
    """A run that waits at a dialog, which its status file and its screen tell."""
    async with claude_run(folder, memo={"hooked": "yes"} if hooked else {}) as run:
        wait(run, screen)
        if not hooked:
            await until(lambda: bool(run.watch.conversation.requests))
        yield run


def wait(run: ClaudeRun, screen: str, after: int = 0) -> None:
    """Have it wait at a dialog."""
    waiting: dict[str, object] = {"status": "waiting", "waitingFor": "permission prompt"}
    run.status({**STATUS, **waiting, "statusUpdatedAt": run.now() + after})
    show(run, screen, after)


def show(run: ClaudeRun, screen: str, after: int = 0) -> None:
    """Have the terminal show something, which is looked at a moment later."""
    run.terminal.shown = screen
    found = judge_screen("claude-code", screen, "")
    run.watch.seen(SCREEN, Seen(found.activity, wall() + after / 1000 + 1, found.text or "", Rank.SCREEN))


async def test_a_permission_is_allowed_by_its_key_and_the_dialog_seen_to_go(tmp_path: Path) -> None:
    async with asking(tmp_path) as run:
        (request,) = run.watch.conversation.requests
        assert not request.question
        assert "sleep 3; echo tool-out" in request.text
        assert run.activity == "waiting_permission"
        answering = asyncio.create_task(run.watch.answer(None, ALLOW))
        await until(lambda: run.terminal.pressed == ["1"])
        assert [each.id for each in run.watch.conversation.requests] == [request.id]
        run.terminal.shown = ""
        await answering
        assert not run.watch.conversation.requests
        decided = [data["decision"] for kind, _, data in run.outlet.events if kind == "turn_permission_resolved"]
        assert decided == ["allow"]


async def test_the_same_dialog_again_is_another_one(tmp_path: Path) -> None:
    async with asking(tmp_path) as run:
        (request,) = run.watch.conversation.requests
        answering = asyncio.create_task(run.watch.answer(None, DENY))
        await until(lambda: run.terminal.pressed == ["3"])
        wait(run, BASH, after=2000)
        await answering
        await until(lambda: any(each.id != request.id for each in run.watch.conversation.requests))


async def test_the_same_dialog_after_one_that_was_answered_at_the_terminal_is_another_one(tmp_path: Path) -> None:
    async with asking(tmp_path) as run:
        before = run.watch.conversation.requests[0].id
        wait(run, BASH, after=2000)
        await until(lambda: any(each.id != before for each in run.watch.conversation.requests))


async def test_a_dialog_that_stays_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.turns.claude.dialogs._GOES", 0.05)
    async with asking(tmp_path) as run:
        with pytest.raises(TurnsError, match="1 was pressed, and the terminal still shows"):
            await run.watch.answer(None, ALLOW)
        assert run.watch.conversation.requests


@pytest.mark.parametrize("screen", [EDIT, "", shown("s-idle-12")])
async def test_no_key_is_pressed_into_a_screen_that_has_changed(tmp_path: Path, screen: str) -> None:
    async with asking(tmp_path) as run:
        run.terminal.shown = screen
        with pytest.raises(TurnsError, match="no longer shows what was asked"):
            await run.watch.answer(None, ALLOW)
        assert run.terminal.pressed == []


async def test_no_key_is_pressed_into_a_later_dialog_that_asks_the_same(tmp_path: Path) -> None:
    async with asking(tmp_path) as run:
        request = run.watch.conversation.requests[0].id
        wait(run, BASH, after=3000)
        # Whichever of the two is noticed first.
        with pytest.raises(TurnsError, match=r"no longer shows what was asked|decided already"):
            await run.watch.answer(request, ALLOW)
        assert run.terminal.pressed == []


async def test_what_is_decided_at_the_terminal_is_over(tmp_path: Path) -> None:
    async with asking(tmp_path) as run:
        run.status({**STATUS, "status": "busy", "statusUpdatedAt": run.now() + 2000})
        await until(lambda: not run.watch.conversation.requests)
        show(run, EDIT)
        run.status({**STATUS, "status": "busy", "statusUpdatedAt": run.now() + 2500})
        await until(lambda: run.activity == "working")
        assert not run.watch.conversation.requests, "the screen of a moment ago is no request"


async def test_a_question_is_answered_too(tmp_path: Path) -> None:
    async with asking(tmp_path, COLOUR) as run:
        assert run.watch.conversation.requests[0].question
        answering = asyncio.create_task(run.watch.answer(None, Answer(Decision.ANSWER, "MySQL")))
        await until(lambda: run.terminal.pressed == ["3"])
        run.terminal.shown = ""
        await answering


async def test_hooks_have_time_to_tell_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(tmp_path, hooked=True) as run:
        adapter = run.watch._watched.watch
        assert isinstance(adapter, ClaudeWatch)
        await until(lambda: adapter._dialogs._unasked is not None)
        assert not run.watch.conversation.requests
        await run.hook(
            "PermissionRequest", session_id="s", prompt_id="p", tool_name="Bash", tool_input={"command": "ls"}
        )
        (request,) = run.watch.conversation.requests
        assert request.name == "Bash"
    monkeypatch.setattr("agentd.turns.claude.watch._FOUND", 0.0)
    async with asking(tmp_path, hooked=True) as run:
        await until(lambda: bool(run.watch.conversation.requests))
        assert run.watch.conversation.requests[0].name == "", "where none tells, the screen does"
