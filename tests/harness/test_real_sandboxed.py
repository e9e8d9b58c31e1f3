"""The real agent CLIs in a sandbox, against a model server on loopback, with an operator in front of their terminal."""

from __future__ import annotations

import shutil

import pytest

from tests.harness.driven import DEADLINE, KEY, REAL, DrivenCli, asked
from tests.harness.real_clis import Place, RealCli
from tests.harness.stub_model import REPLY, StubModel
from tests.harness.test_real_clis import NASTY, see_that_nothing_is_left, stop_and_look_for_what_is_left
from tests.harness.test_real_turns import turns
from tests.sandbox.conftest import KINDS, RUNSC, Sandboxed
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

pytestmark = [*REAL, pytest.mark.skipif(shutil.which("bwrap") is None, reason="there is no sandbox without bubblewrap")]

WIDER = 240
"""Columns; a window has 200 before anybody attaches."""


@pytest.fixture
def driven(daemon: Daemon, cli: RealCli, model: StubModel) -> DrivenCli:
    """Install the CLI's program for one agentd, and its files in the home that the agent has in its sandbox."""
    sandboxed = Sandboxed(daemon)
    (daemon.bin / cli.package.binary).symlink_to(cli.package.program)
    daemon.write_secret(cli.secret, KEY)
    daemon.data.mkdir(mode=0o755)
    kept_in = daemon.data / "sandboxes" / "agent"
    kept_in.mkdir(mode=0o700, parents=True)
    env = cli.prepare(Place(kept_in, daemon.workdir, model.url, KEY))
    for path in (kept_in, *kept_in.rglob("*")):
        sandboxed.give(path)
    daemon.start(*sandboxed.flags, f"--runsc-path={RUNSC}")
    # Each finds its files where its home is: these are no paths in the sandbox.
    env = {name: value for name, value in env.items() if str(kept_in) not in value}
    # The shell of a user that nobody logs in as executes nothing.
    return DrivenCli(daemon, cli, {"SHELL": "/bin/bash", **env}, {"type": "sandboxed"})


def declare(driven: DrivenCli, kind: str, **fields: object) -> None:
    """Write the jcard for a sandbox of a kind."""
    if kind == "gvisor" and not RUNSC.exists():
        pytest.skip("there is no runsc; run tests/sandbox/fetch-runsc")
    driven.declare(sandbox=kind, **fields)


@KINDS
def test_a_one_shot_run_answers_its_prompt_and_exits_with_0(driven: DrivenCli, model: StubModel, kind: str) -> None:
    declare(driven, kind, mode="oneshot", prompt=NASTY)
    agent = driven.daemon.wait_state("agent", "exited", "failed", timeout=DEADLINE)
    screen = driven.daemon.screen("agent", history=True)
    assert (agent["state"], agent["exit_code"], agent["exit_signal"]) == ("exited", 0, None), (agent["error"], screen)
    assert REPLY in screen
    assert any(driven.cli.received(NASTY) in turn.texts for turn in model.turns)
    driven.daemon.wait_for(lambda: turns(driven, "turn_ended") == 1, DEADLINE, what="the turn has ended")
    # OpenCode's database was not looked for in a sandbox's home yet.
    if driven.cli.harness != "opencode":
        events = driven.daemon.get("/v1/events")
        assert isinstance(events, list)
        told = next(event["data"] for event in events if event["kind"] == "turn_ended")
        assert told["text"] == f"{REPLY}{driven.cli.received(NASTY)}"


@KINDS
def test_an_interactive_run_follows_the_size_of_its_terminal_and_is_stopped_by_its_keys(
    driven: DrivenCli, kind: str
) -> None:
    declare(driven, kind, mode="interactive", prompt="hello there")
    driven.wait_on_screen(f"{REPLY}hello there")
    driven.daemon.tmux("resize-window", "-t", "=agent:", "-x", str(WIDER), "-y", "40")

    def drawn_anew() -> bool:
        lines = driven.daemon.tmux("capture-pane", "-p", "-t", "=agent:0").splitlines()
        return WIDER - 10 < max(len(line.rstrip()) for line in lines) <= WIDER

    wait_for(drawn_anew, DEADLINE, what="its whole width is used", explain=lambda: driven.daemon.screen("agent"))
    stop_and_look_for_what_is_left(driven, sandbox=kind)


def test_an_interrupt_from_the_terminal_ends_a_run_that_waits_for_the_model(
    driven: DrivenCli, model: StubModel
) -> None:
    driven.declare(mode="oneshot", prompt=f"STUB-SLEEP:{10 * DEADLINE:g}")
    wait_for(lambda: asked(model, "STUB-SLEEP"), DEADLINE, what="the model is asked")
    run_id = driven.run_id()
    driven.daemon.tmux("send-keys", "-t", "=agent:0", "C-c")
    driven.daemon.wait_state("agent", "exited", "failed", timeout=DEADLINE)
    driven.declare(enabled=False)
    driven.daemon.wait_state("agent", "disabled", timeout=DEADLINE)
    see_that_nothing_is_left(run_id)


def test_its_tools_work_in_its_workdir_and_nowhere_else(driven: DrivenCli) -> None:
    """Those of codex in its own sandbox, inside of this one."""
    made, outside = driven.daemon.workdir / "made", driven.daemon.data / "outside"
    # The line break keeps the quotes of `opencode run` out of the command.
    args = ("--sandbox", "workspace-write") if driven.cli.harness == "codex" else driven.cli.unasked
    driven.declare(mode="oneshot", prompt=f"STUB-BASH:touch {outside} ~/inside; touch {made}\n", args=args)
    driven.daemon.wait_state("agent", "exited", "failed", timeout=DEADLINE)
    screen = driven.daemon.screen("agent", history=True)
    assert made.exists(), screen
    assert not outside.exists(), screen
    # Outside of its workdir codex has its tools write nothing, not even into its home.
    kept_in = driven.daemon.data / "sandboxes" / "agent"
    assert (kept_in / "inside").exists() is not (driven.cli.harness == "codex"), screen
