"""A day of thirty turns with each real CLI, every one of them told exactly: message, answer, end, usage.

Turns are given by the API and typed by a person, with tools and without, allowed and denied here and there, with
questions, interrupts, errors, another conversation, and a SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

import pytest

from agentd.model.states import Activity
from tests.daemon.test_messages import Following
from tests.harness.day import Day
from tests.harness.driven import DAYS, DEADLINE, DrivenCli, agentctl
from tests.harness.real_clis import REAL_CLIS, RealCli, write_json
from tests.harness.stub_model import REPLY, StubModel
from tests.harness.test_real_messages import wait_status
from tests.harness.test_real_turns import ASK, wait_activity

pytestmark = DAYS

TURNS = 30

PROSE = (
    "# Na\u00efve\n\n1. \u6f22\u5b57 and `code`, *stars*\n\n```py\nx = {'a': \"b\"}  # \\n \U0001f389\n```\n\n"
    "| a | b |\n|---|---|\n| <b> | $(x) |\n\n\tthe end"
)
LONG = "\n".join(f"line {number} of a long answer" for number in range(300))


def says(text: str) -> str:
    """Give the message that the model answers with this text."""
    return f"STUB-SAY:{json.dumps(text)}"


@pytest.fixture
def cli(request: pytest.FixtureRequest) -> RealCli:
    cli = next(cli for cli in REAL_CLIS if request.node.name.endswith(cli.harness.partition("-")[0]))
    if not cli.package.installed:
        pytest.skip(f"{cli.harness} is not installed; run tests/harness/install-clis {cli.harness}")
    return cli


@pytest.fixture
def begin(driven: DrivenCli) -> Callable[..., Day]:
    """Declares the agent, and gives its day once it is idle."""

    def begun(**fields: object) -> Day:
        driven.declare(restart="always", resume=True, **fields)
        wait_activity(driven, "idle")
        return Day(driven, Following(driven.daemon, "agent"))

    return begun


CHOICES = '"options":[{"label":"Red","description":"warm"},{"label":"Blue","description":"cold"}]}]}'
HANGS = "STUB-BASH:tail -f /dev/null"


def over(day: Day) -> None:
    """Hold what was told of the day against what it was."""
    day.exactly()
    assert len(day.turns) == TURNS


def plain(day: Day) -> None:
    """Four turns without tools."""
    day.say("hello there")
    day.say(says(PROSE), text=PROSE)
    day.say(says(LONG), text=LONG)
    day.say("- several\n- lines, isn't it")


def next_run_of(day: Day, killed: int) -> None:
    """Wait until the agent runs again."""
    agents = day.driven.daemon.agents
    day.driven.daemon.wait_for(lambda: agents()["agent"]["pid"] not in (killed, None), DEADLINE, what="the next run")


def killed(day: Day) -> None:
    """Two turns: one that the agent's death ends, and one after it in the same conversation."""
    daemon = day.driven.daemon
    before = daemon.agents()["agent"]
    assert before["pid"] is not None
    day.send("STUB-SLEEP:300 until killed")
    day.was("STUB-SLEEP:300 until killed", outcome="lost")
    daemon.wait_for(lambda: day.count("started") == len(day.turns), DEADLINE, what="its turn has begun")
    os.kill(before["pid"], signal.SIGKILL)
    day.wait_ends()
    next_run_of(day, before["pid"])
    day.say("and now?")
    assert daemon.agents()["agent"]["conversation"] == before["conversation"]


def another_conversation(day: Day, command: str) -> None:
    """A turn in another conversation, which is begun by a command of the harness's."""
    daemon = day.driven.daemon
    before = daemon.agents()["agent"]["conversation"]
    agentctl(day.driven, "send", "agent", command)
    daemon.wait_for(
        lambda: daemon.agents()["agent"]["conversation"] != before, DEADLINE, what="it is another conversation"
    )
    day.say("after it")


def typed(day: Day) -> None:
    """Three turns: of a person, and of messages before and after that."""
    day.type("STUB-SLEEP:2 typed by a person")
    day.was("STUB-SLEEP:2 typed by a person")
    waiting = day.send("queued behind it")
    assert day.status(waiting) == "queued"
    day.ended(waiting)
    day.was("queued behind it")
    day.type("typed again")
    day.was("typed again")
    day.wait_ends()


def test_claude(begin: Callable[..., Day]) -> None:
    day = begin()
    work = day.driven.daemon.workdir
    plain(day)
    day.say("STUB-BASH:ls", answers=2)

    def writes(name: str) -> str:
        return f"STUB-BASH:echo yes > {work}/{name}"

    day.say(writes("a"), lambda: day.answer("allow"), answers=2)
    day.say(writes("b"), lambda: day.answer("deny", "not now"), answers=2)
    day.say(writes("c"), lambda: day.at_dialog(Activity.WAITING_PERMISSION, "Enter"), answers=2)
    day.say(writes("d"), lambda: day.at_dialog(Activity.WAITING_PERMISSION, "Escape"), outcome="interrupted", answers=1)
    assert sorted(each.name for each in work.iterdir()) == ["a", "c"]
    day.say(f"STUB-BASH:false > {work}/e", lambda: day.answer("allow"), answers=2)
    day.say(ASK, lambda: day.answer("answer", "Blue"), answers=2)
    day.say(f"again {ASK}", lambda: day.at_dialog(Activity.WAITING_INPUT, "Enter"), answers=2)
    typed(day)
    day.say("STUB-SLEEP:300", day.interrupt, outcome="interrupted")
    day.say("go on")
    day.say("STUB-SLEEP:301", day.escape, outcome="interrupted")
    day.say("and on")
    day.say("STUB-STATUS:401", outcome="failed", failure="auth_error")
    day.say("let in again")
    day.say("STUB-STATUS:429", outcome="failed", failure="usage_limit")
    day.say("STUB-STATUS:500", outcome="failed", failure="other")
    day.say("well again")
    another_conversation(day, "/clear")
    killed(day)
    day.say(HANGS, day.allow_and_interrupt, outcome="interrupted", answers=1)
    day.say(writes("f"), lambda: day.answer("allow"), answers=2)
    day.say(f"{REPLY}good night")
    over(day)


def test_codex(begin: Callable[..., Day]) -> None:
    day = begin(args=["-a", "on-request"])
    work = day.driven.daemon.workdir
    plain(day)
    day.say("STUB-BASH:ls", answers=2)

    def writes(name: str) -> str:
        call = {"cmd": f"touch {work}/{name}", "sandbox_permissions": "require_escalated", "justification": "May I?"}
        return f"STUB-TOOL:exec_command {json.dumps(call)}"

    day.say(writes("a"), lambda: day.answer("allow"), answers=2)
    day.say(writes("b"), lambda: day.answer("deny"), answers=2)
    day.say(writes("c"), lambda: day.at_dialog(Activity.WAITING_PERMISSION, "y"), answers=2)
    day.say(writes("d"), lambda: day.at_dialog(Activity.WAITING_PERMISSION, "Escape"), outcome="interrupted", answers=1)
    assert sorted(each.name for each in work.iterdir()) == ["a", "c"]
    day.say("STUB-BASH:false", answers=2)
    typed(day)
    day.say("STUB-SLEEP:300", day.interrupt, outcome="interrupted")
    day.say("go on")
    day.say("STUB-SLEEP:301", day.escape, outcome="interrupted")
    day.say("and on")
    day.say("STUB-STATUS:401", outcome="failed", failure="auth_error")
    day.say("let in again")
    day.say("STUB-STATUS:429", outcome="failed", failure="usage_limit")
    day.say("STUB-STATUS:500", outcome="failed", failure="other")
    day.say("well again")
    another_conversation(day, "/new")
    killed(day)
    hangs = writes("f; tail -f /dev/null")
    day.say(hangs, day.allow_and_interrupt, outcome="interrupted", answers=1)
    day.say(f"STUB-BASH:ls {work}", answers=2)
    day.say(writes("e"), lambda: day.answer("allow"), answers=2)
    day.say("STUB-STATUS:403", outcome="failed", failure="auth_error")
    day.say(f"{REPLY}good night")
    over(day)


def test_gemini(begin: Callable[..., Day]) -> None:
    day = begin()
    work = day.driven.daemon.workdir
    plain(day)
    listing = f'STUB-TOOL:list_directory {{"dir_path":"{work}"}}'
    day.say(listing, answers=2)

    def writes(name: str) -> str:
        return f"STUB-BASH:echo yes > {work}/{name}"

    day.say(writes("a"), lambda: day.answer("allow"), answers=2)
    day.say(writes("b"), lambda: day.answer("deny"), outcome="interrupted", answers=1)
    day.say(writes("c"), lambda: day.at_dialog(Activity.WAITING_PERMISSION, "Enter"), answers=2)
    day.say(writes("d"), lambda: day.at_dialog(Activity.WAITING_PERMISSION, "Escape"), outcome="interrupted", answers=1)
    assert sorted(each.name for each in work.iterdir()) == ["a", "c"]
    day.say(f"STUB-BASH:false > {work}/e", lambda: day.answer("allow"), answers=2)
    question = (
        'STUB-TOOL:ask_user {"questions":[{"question":"Which colour?","header":"Colour","type":"choice",' + CHOICES
    )
    day.say(question, lambda: day.at_dialog(Activity.WAITING_INPUT, "Enter"), answers=2)
    typed(day)
    day.say("STUB-SLEEP:300", day.interrupt, outcome="interrupted")
    day.say("go on")
    day.say("STUB-SLEEP:301", day.escape, outcome="interrupted")
    day.say("and on")
    day.say("STUB-STATUS:401", outcome="failed", failure="auth_error")
    day.say("let in again")
    day.say("STUB-ONCE:429")
    day.say("STUB-ONCE:500")
    day.say("well again")
    another_conversation(day, "/clear")
    killed(day)
    day.say(writes("f"), lambda: day.answer("allow"), answers=2)
    day.say("STUB-STATUS:403", outcome="failed", failure="auth_error")
    day.say("STUB-STATUS:400", outcome="failed", failure="other")
    day.say(f"{REPLY}good night")
    over(day)


def test_opencode(begin: Callable[..., Day], driven: DrivenCli) -> None:
    config = driven.daemon.home / ".config" / "opencode"
    config.mkdir(parents=True)
    write_json(config / "opencode.json", {"permission": {"bash": "ask"}})
    day = begin()
    work = day.driven.daemon.workdir
    plain(day)
    day.say(f'STUB-TOOL:glob {{"pattern":"*","path":"{work}"}}', answers=2)

    def writes(name: str) -> str:
        return f"STUB-BASH:echo yes > {work}/{name}"

    day.say(writes("a"), lambda: day.answer("allow"), answers=2)
    day.say(writes("b"), lambda: day.answer("deny", "not now"), answers=2)
    day.say(writes("c"), lambda: day.at_dialog(Activity.WAITING_PERMISSION, "Enter"), answers=2)
    day.say(writes("d"), lambda: day.at_dialog(Activity.WAITING_PERMISSION, "Escape"), outcome="interrupted", answers=1)
    assert sorted(each.name for each in work.iterdir()) == ["a", "c"]
    day.say(f"STUB-BASH:false > {work}/e", lambda: day.answer("allow"), answers=2)
    question = 'STUB-TOOL:question {"questions":[{"question":"Which colour?","header":"Colour",' + CHOICES
    day.say(question, lambda: day.answer("answer", "Blue"), answers=2)
    day.say(f"again {question}", lambda: day.at_dialog(Activity.WAITING_INPUT, "Enter"), answers=2)
    typed(day)
    day.say("STUB-SLEEP:300", day.interrupt, outcome="interrupted")
    day.say("go on")
    day.say("STUB-SLEEP:301", lambda: day.escape("again to interrupt"), outcome="interrupted")
    day.say("and on")
    day.say("STUB-STATUS:401", outcome="failed", failure="auth_error")
    day.say("let in again")
    day.say("STUB-ONCE:429")
    day.say("STUB-ONCE:500")
    day.say("well again")
    another_conversation(day, "/new")
    killed(day)
    # OpenCode does not count what a message used that is aborted at its tool.
    day.say(HANGS, day.allow_and_interrupt, outcome="interrupted", answers=0)
    day.say("STUB-STATUS:400", outcome="failed", failure="other")
    day.say(f"{REPLY}good night")
    over(day)


def test_messages_handed_over_at_a_kill_are_settled_by_opencode(
    begin: Callable[..., Day], driven: DrivenCli, model: StubModel
) -> None:
    day, daemon = begin(), driven.daemon
    day.say("hello there")
    sent = [f"only once, {number}" for number in range(3)]
    for text in sent:
        killed = daemon.agents()["agent"]["pid"]
        assert killed is not None
        name = day.send(text)
        wait_status(driven, name, "delivering", "delivered", "started", "ended")
        os.kill(killed, signal.SIGKILL)
        # It had arrived, and its turn was lost with the program, or the next run was given it.
        assert wait_status(driven, name, "ended")["outcome"] in ("lost", "completed")
        next_run_of(day, killed)
    day.say("good night")
    told = [text for text in model.turns[-1].texts if text.startswith("only once")]
    assert told == sent
