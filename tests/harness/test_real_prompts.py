"""That the real CLIs hand the prompt to the model, whatever it could be taken for."""

from __future__ import annotations

import re
import subprocess

import pytest

from agentd.harness.builtin import CLAUDE_CODE
from tests.harness.driven import DEADLINE, REAL, DrivenCli, asked
from tests.harness.stub_model import StubModel
from tests.support.waiting import wait_for

pytestmark = REAL

SUBCOMMANDS = {"claude-code": "update", "codex": "review", "gemini-cli": "mcp", "opencode": "help"}
"""A prompt that, by itself, each of them would run."""


def several(driven: DrivenCli, mode: str) -> tuple[str, ...]:
    """Give an option that takes several values, with one."""
    match driven.cli.harness, mode:
        case "claude-code", _:
            return ("--add-dir", str(driven.daemon.home))
        case "codex", _:
            picture = driven.daemon.folder / "x.png"
            picture.write_bytes(_PNG)
            return ("-i", str(picture))
        case "gemini-cli", _:
            return ("--include-directories", str(driven.daemon.home))
        case "opencode", "oneshot":
            note = driven.daemon.folder / "note.txt"
            note.write_text("a note\n")
            return ("-f", str(note))
        case _:
            return ("--cors", "http://localhost")


_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000"
    "02000148afa4710000000049454e44ae426082"
)


@pytest.mark.parametrize("mode", ["auto", "oneshot", "interactive"])
def test_the_prompt_is_no_value_of_the_last_option_and_no_subcommand(
    driven: DrivenCli, model: StubModel, mode: str
) -> None:
    refused = driven.cli.harness == "claude-code" and mode == "interactive"
    prompt = "do" if refused else SUBCOMMANDS[driven.cli.harness]
    driven.declare(mode=mode, prompt=prompt, args=several(driven, mode))
    wait_for(lambda: asked(model, prompt), DEADLINE, what="the model is asked", explain=driven.daemon.explain)
    assert any(prompt == text for turn in model.turns for text in turn.texts)
    driven.declare(mode=mode, prompt=SUBCOMMANDS[driven.cli.harness])
    if refused:
        agent = driven.daemon.wait_state("agent", "failed", timeout=DEADLINE)
        assert "is a subcommand" in str(agent["error"])
        return
    before = len(model.turns)
    wait_for(
        lambda: any(prompt == text for turn in model.turns[before:] for text in turn.texts),
        DEADLINE,
        what="the model is asked without the option too",
        explain=driven.daemon.explain,
    )


def test_every_subcommand_of_claude_is_known(driven: DrivenCli) -> None:
    if driven.cli.harness != "claude-code":
        pytest.skip("the others have a form that runs no subcommand")
    help_text = subprocess.run(
        [driven.cli.package.program, "--help"],
        env={"PATH": driven.daemon.environment()["PATH"], **driven.env},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    named = re.findall(r"^  ([a-z][a-z|-]*)", help_text.partition("Commands:")[2], re.MULTILINE)
    assert {each for names in named for each in names.split("|")} <= CLAUDE_CODE.interactive.commands
    assert "update" in CLAUDE_CODE.interactive.commands
