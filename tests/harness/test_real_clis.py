"""The real agent CLIs, each driven by agentd from a jcard, against a model server on loopback."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from agentd.harness.builtin import BUILT_IN
from tests.harness.loopback import loopback_only
from tests.harness.real_clis import REAL_CLIS, Place, RealCli
from tests.harness.stub_model import REPLY, StubModel, stub_model
from tests.support.agents import jcard
from tests.support.daemon import Daemon, program
from tests.support.processes import command_lines, marked
from tests.support.waiting import wait_for
from tests.workspaces.repositories import make_repository

# Each takes 2 to 10 s on an idle machine, and ten times that on a loaded one.
pytestmark = [pytest.mark.clis, pytest.mark.timeout(600)]
DEADLINE = 120.0
GRACE = 120.0
"""Seconds; so long that SIGTERM, at half of it, has no part in a stop that C-c should bring about."""

KEY = "sk-ant-api-0123456789abcdefghij"


@pytest.fixture(scope="module", autouse=True)
def _no_other_host() -> Iterator[None]:
    with loopback_only():
        yield


@pytest.fixture
def model() -> Iterator[StubModel]:
    with stub_model() as running:
        yield running


@pytest.fixture(
    params=[
        pytest.param(
            cli,
            id=cli.harness,
            marks=pytest.mark.skipif(
                not cli.package.installed, reason=f"{cli.harness} is not installed; run tests/harness/install-clis"
            ),
        )
        for cli in REAL_CLIS
    ]
)
def cli(request: pytest.FixtureRequest) -> RealCli:
    assert isinstance(request.param, RealCli)
    return request.param


@dataclass(frozen=True, slots=True)
class DrivenCli:
    """A running agentd whose jcard can be pointed at one CLI."""

    daemon: Daemon
    cli: RealCli
    env: dict[str, str]

    def declare(self, **fields: object) -> None:
        """Write the jcard: one agent, named ``agent``."""
        model = {} if self.cli.model is None else {"model": self.cli.model}
        common = {"name": "agent", "harness": self.cli.harness, "workdir": str(self.daemon.workdir), "env": self.env}
        self.daemon.write_jcard(jcard({**common, **model, "grace_period": f"{GRACE:g}s", **fields}))

    def wait_on_screen(self, text: str) -> None:
        """Wait until the agent's window shows a text."""
        wait_for(
            lambda: text in self._shown(),
            DEADLINE,
            what=f"{text!r} is on the screen",
            explain=lambda: f"{self._shown()}\n{self.daemon.explain()}",
        )

    def _shown(self) -> str:
        return self.daemon.screen("agent", history=True) if "agent" in self.daemon.sessions() else ""

    def run_id(self) -> str:
        """Give what marks every process of the running agent."""
        agent = self.daemon.wait_state("agent", "running", timeout=DEADLINE)
        assert agent["pid"] is not None
        return psutil.Process(agent["pid"]).environ()["AGENTD_RUN_ID"]


@pytest.fixture
def driven(daemon: Daemon, cli: RealCli, model: StubModel) -> DrivenCli:
    """Install the CLI's program and files for one agentd, which is started without a jcard."""
    (daemon.bin / cli.package.binary).symlink_to(cli.package.program)
    temporary = daemon.folder / "tmp"
    temporary.mkdir()
    daemon.write_secret(cli.secret, KEY)
    env = cli.prepare(Place(daemon.home, daemon.workdir, model.url, KEY))
    daemon.start()
    return DrivenCli(daemon, cli, {"HOME": str(daemon.home), "TMPDIR": str(temporary), **env})


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


def agentctl(driven: DrivenCli, *arguments: str) -> None:
    """Run it against the daemon."""
    timeout = [f"--timeout={DEADLINE:g}s"] if arguments[0] == "send" else []
    sockets = [f"--api-socket={driven.daemon.api_socket}", f"--tmux-socket={driven.daemon.tmux_socket}"]
    done = subprocess.run(
        [program("agentctl"), *sockets, *arguments, *timeout], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}\n{driven.daemon.screen('agent')}"


def asked(model: StubModel, text: str) -> bool:
    """Whether the model received the text, with what a CLI may put around it."""
    return any(text in each for turn in model.turns for each in turn.texts)


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


def stop_and_look_for_what_is_left(driven: DrivenCli) -> None:
    """Stop the agent by its jcard and see that its keys did it.

    A key too many, pressed while the program was on its way out, ends it by SIGINT.
    """
    run_id = driven.run_id()
    assert marked(run_id)
    began = time.monotonic()
    driven.declare(enabled=False)
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
