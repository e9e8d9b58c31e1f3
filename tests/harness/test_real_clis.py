"""The real agent CLIs, each driven by agentd from a jcard, against a model server on loopback."""

from __future__ import annotations

import signal
import time

import pytest

from agentd.harness.builtin import BUILT_IN
from tests.harness.driven import DEADLINE, GRACE, KEY, REAL, DrivenCli, agentctl, asked
from tests.harness.stub_model import REPLY, StubModel
from tests.support.processes import command_lines, marked
from tests.support.waiting import wait_for
from tests.worktrees.repositories import make_repository

pytestmark = REAL

NASTY = """-v isn't "an option"; $(touch pwned) `touch pwned` $HOME ${HOME} \\n %s !!
\tthe 2nd line: 'single' "double" | & > < * ? # ~ {a,b} \\
-last line, with é and ☃ and {prompt}"""

PROMPTS = [
    pytest.param("hello there", id="one line"),
    pytest.param(NASTY, id="all that a shell or an option parser would read"),
    pytest.param("  indented, twice  spaced\n\n", id="white space around it"),
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_one_shot_run_sends_its_prompt_byte_for_byte_prints_the_answer_and_exits_with_0(
    driven: DrivenCli, model: StubModel, prompt: str
) -> None:
    driven.declare(mode="oneshot", prompt=prompt)
    agent = driven.daemon.wait_state("agent", "exited", "failed", timeout=DEADLINE)
    screen = driven.daemon.screen("agent", history=True)
    assert (agent["state"], agent["exit_code"], agent["exit_signal"]) == ("exited", 0, None), screen
    assert REPLY in screen
    expected = driven.cli.received(prompt)
    assert any(expected in turn.texts for turn in model.turns), [turn.texts for turn in model.turns]
    assert {turn.key for turn in model.turns} == {KEY}
    assert not (driven.daemon.workdir / "pwned").exists()
    assert KEY not in driven.daemon.log_text()


def test_an_interactive_run_answers_stays_and_is_stopped_by_its_keys(driven: DrivenCli, model: StubModel) -> None:
    driven.declare(mode="interactive", prompt="-hello there")
    driven.wait_on_screen(f"{REPLY}-hello there")
    assert any("-hello there" in turn.texts for turn in model.turns)
    assert not [line for line in command_lines() if KEY.encode() in line]
    stop_and_look_for_what_is_left(driven)


def test_an_interactive_run_without_a_prompt_gets_ready_and_is_stopped_by_its_keys(driven: DrivenCli) -> None:
    marker = BUILT_IN[driven.cli.harness].facts.ready_marker
    assert marker is not None
    driven.declare()
    driven.wait_on_screen(marker)
    stop_and_look_for_what_is_left(driven)


def test_an_interactive_run_that_waits_for_the_model_is_stopped_by_its_keys(
    driven: DrivenCli, model: StubModel
) -> None:
    prompt = f"STUB-SLEEP:{10 * DEADLINE:g}"
    driven.declare(mode="interactive", prompt=prompt)
    wait_for(lambda: any(prompt in turn.texts for turn in model.turns), DEADLINE, what="the model is asked")
    stop_and_look_for_what_is_left(driven)


def test_what_agentctl_sends_is_taken_as_one_message_also_while_it_works_and_it_can_be_interrupted(
    driven: DrivenCli, model: StubModel
) -> None:
    driven.declare()
    agentctl(driven, "send", "agent", "hello there")
    driven.wait_on_screen(f"{REPLY}hello there")
    long = "\n".join(f"line {number} isn't $(touch pwned)" for number in range(200))
    agentctl(driven, "send", "agent", long)
    wait_for(lambda: asked(model, long), DEADLINE, what="the model is asked with all lines at once")

    slow = f"STUB-SLEEP:{10 * DEADLINE:g}"
    agentctl(driven, "send", "agent", slow)
    wait_for(lambda: asked(model, slow), DEADLINE, what="the model is asked")
    agentctl(driven, "send", "agent", "while it works")
    agentctl(driven, "interrupt", "agent")
    # Each of them goes on with what was queued, or has forgotten it and takes the next text.
    agentctl(driven, "send", "agent", "after it")
    wait_for(lambda: asked(model, "after it"), DEADLINE, what="it goes on", explain=driven.daemon.explain)
    assert driven.daemon.wait_state("agent", "running")["restarts"] == 0
    assert not (driven.daemon.workdir / "pwned").exists()


def test_the_tool_of_a_one_shot_run_ends_with_the_run(driven: DrivenCli) -> None:
    """The tools of codex and opencode run in sessions of their own and survive signals to the CLI."""
    started = driven.daemon.workdir / "started"
    # The line break keeps the quotes of `opencode run` out of the command.
    prompt = f"STUB-BASH:touch {started}; tail -f /dev/null\n"
    driven.declare(mode="oneshot", prompt=prompt, args=driven.cli.unasked)
    driven.daemon.wait_for(started.exists, DEADLINE, what="the tool runs")
    run_id = driven.run_id()
    wait_for(
        lambda: any("tail" in process.argv for process in marked(run_id)), DEADLINE, what="the tool carries the mark"
    )
    driven.declare(enabled=False)
    driven.daemon.wait_state("agent", "disabled", timeout=DEADLINE)
    see_that_nothing_is_left(run_id)


def stop_and_look_for_what_is_left(driven: DrivenCli, **fields: object) -> None:
    """Stop the agent by its jcard and see that its keys did it.

    A key too many, pressed while the program was on its way out, ends it by SIGINT.
    """
    run_id = driven.run_id()
    assert marked(run_id)
    began = time.monotonic()
    driven.declare(enabled=False, **fields)
    agent = driven.daemon.wait_state("agent", "disabled", timeout=GRACE)
    assert time.monotonic() - began < GRACE / 2
    assert agent["exit_code"] == 0 or agent["exit_signal"] == signal.SIGINT, driven.daemon.explain()
    see_that_nothing_is_left(run_id)
    assert "agent" not in driven.daemon.sessions()


def see_that_nothing_is_left(run_id: str) -> None:
    """Look for what carries the mark; the shell that takes the agent's place ends a moment after its session."""
    wait_for(lambda: not marked(run_id), what="nothing is left", explain=lambda: "\n".join(map(str, marked(run_id))))


def test_a_read_only_run_changes_nothing_although_the_model_asks_for_it(driven: DrivenCli) -> None:
    repo = make_repository(driven.daemon.folder / "shop")
    made = driven.daemon.folder / "made"
    tool = f"STUB-BASH:touch {made} made-in-the-checkout"
    driven.declare(mode="oneshot", prompt=tool, repo=str(repo), isolation="read_only", workdir=".")
    driven.daemon.wait_state("agent", "exited", "failed", timeout=DEADLINE)
    screen = driven.daemon.screen("agent", history=True)
    assert not made.exists(), screen
    assert not (driven.daemon.data / "worktrees" / "agent" / "made-in-the-checkout").exists(), screen
