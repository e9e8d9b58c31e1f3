"""That the real CLIs take what agentctl sends, however it ends."""

from __future__ import annotations

from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl, asked
from tests.harness.stub_model import StubModel
from tests.support.waiting import wait_for

pytestmark = REAL


def test_the_end_of_a_sent_text_does_not_change_what_enter_means(driven: DrivenCli, model: StubModel) -> None:
    (driven.daemon.workdir / "word.txt").touch()
    driven.declare()
    skill = ("use $skill",) if driven.cli.harness == "codex" else ()
    for text in ("a plain line", "a line \\", "see /comp", "a #wor", *skill, "look at @word"):
        agentctl(driven, "send", "agent", text)
        if text != "look at @word" or driven.cli.harness != "gemini-cli":
            # gemini puts the file in its place.
            wait_for(lambda text=text: asked(model, text), DEADLINE, what=f"the model is asked {text!r}")  # type: ignore[misc]
    assert not asked(model, "word.txt") or driven.cli.harness == "gemini-cli"


def test_a_text_that_opens_a_menu_was_taken(driven: DrivenCli) -> None:
    command = {"opencode": "/models"}.get(driven.cli.harness, "/model")
    driven.declare()
    agentctl(driven, "send", "agent", command)
