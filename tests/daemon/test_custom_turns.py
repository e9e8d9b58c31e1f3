"""Programs of one's own that tell of their turns by AGENTD_HOOK: the examples, and wrong posts."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from agentd.turns.adapter import Hook
from agentd.turns.custom.events import EVENTS, event_of
from agentd.turns.events import Ended, Failure, Outcome, Started, TurnEvent, Usage
from tests.cli.support import Client
from tests.daemon.test_turns import kinds
from tests.support.agents import jcard
from tests.support.daemon import Daemon

EXAMPLES = Path(__file__).parents[2] / "examples/turns"
LIMIT = ("--timeout", "30s")


@pytest.fixture
def client(daemon: Daemon) -> Client:
    """The client of a daemon that is not started yet."""
    return Client(daemon.folder, daemon.places)


def start(daemon: Daemon, *command: str, flags: tuple[str, ...] = ()) -> None:
    daemon.write_jcard(jcard({"name": "a", "command": list(command), "workdir": str(daemon.workdir)}))
    daemon.start(*flags)
    daemon.wait_for(lambda: ">" in daemon.screen("a"), what="it takes a line")


def activity(daemon: Daemon) -> object:
    agent = daemon.agent("a")
    return None if agent is None else agent["activity"]


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_example_in_sh_has_turns_and_asks_for_permission(daemon: Daemon, client: Client) -> None:
    start(daemon, "sh", str(EXAMPLES / "agent.sh"))
    daemon.wait_for(lambda: activity(daemon) == "idle", what="it is ready")
    said = json.loads(client("ask", "a", 'say "hi"', "--json", *LIMIT).out)
    # It does not say what it used: nothing is guessed.
    assert (said["text"], said["usage"]) == ('done: say "hi"', None)
    assert json.loads(client("last", "a", "--json").out)["usage"] is None
    assert client("send", "a", "delete all").status == 0
    daemon.wait_for(lambda: activity(daemon) == "waiting_permission", what="it asks")
    assert client("answer", "a", "deny").status == 0
    daemon.wait_for(lambda: '"deny"' in daemon.screen("a"), what="it was denied")
    daemon.wait_for(lambda: activity(daemon) == "idle")


def test_the_example_in_python_is_asked_and_answered(daemon: Daemon, client: Client) -> None:
    start(daemon, sys.executable, "-S", "-X", "utf8", str(EXAMPLES / "agent.py"))
    daemon.wait_for(lambda: activity(daemon) == "idle", what="it is ready")
    assert client("ask", "a", "hello", *LIMIT).out == "done: hello (nothing)\n"
    again = json.loads(client("ask", "a", "again", "--json", *LIMIT).out)
    assert again["usage"]["input_tokens"] == len("again")
    assert client("send", "a", "which colour?").status == 0
    daemon.wait_for(lambda: activity(daemon) == "waiting_input", what="it asks a question")
    assert client("answer", "a", "Blue").status == 0
    daemon.wait_for(lambda: activity(daemon) == "idle")
    assert client("last", "a").out == "done: which colour? (Blue)\n"
    daemon.wait_for(lambda: [kinds(daemon).count(each) for each in ("turn_usage", "turn_ended")] == [3, 3])
    (row,) = client("usage", "--agents").rows
    assert row[:4] == ["a", "3", str(len("hello" + "again" + "which colour?")), "15"]


@pytest.mark.thorough
@pytest.mark.parametrize("example", ["agent.py", "agent.sh"])
def test_the_examples_tell_a_turn_that_agentd_was_not_there_for(daemon: Daemon, client: Client, example: str) -> None:
    program = (sys.executable, "-S", "-X", "utf8") if example.endswith("py") else ("sh",)
    if program == ("sh",) and shutil.which("curl") is None:
        pytest.skip("there is no curl")
    start(daemon, *program, str(EXAMPLES / example), flags=("--on-shutdown=keep",))
    daemon.wait_for(lambda: activity(daemon) == "idle", what="it is ready")
    pid = daemon.agents()["a"]["pid"]
    daemon.kill()
    daemon.type("a", "meanwhile")
    daemon.wait_for(lambda: "meanwhile" in daemon.screen("a"), what="the line stands there")
    daemon.start("--on-shutdown=keep")
    daemon.wait_for(lambda: client("last", "a").out.startswith("done: meanwhile"), what="its turn is told")
    assert daemon.agents()["a"]["pid"] == pid


@pytest.mark.thorough
def test_an_agent_between_two_turns_is_not_interrupted_which_would_end_it(daemon: Daemon, client: Client) -> None:
    start(daemon, sys.executable, "-S", "-X", "utf8", str(EXAMPLES / "agent.py"))
    daemon.wait_for(lambda: activity(daemon) == "idle", what="it is ready")
    assert client("interrupt", "a").out == "a: no turn is under way, nothing was interrupted\n"
    assert client("interrupt", "a", "--json").document == {
        "name": "a",
        "session": "a",
        "keys": [],
        "interrupted": False,
    }
    assert client("ask", "a", "hello", *LIMIT).out == "done: hello (nothing)\n"
    assert client("send", "a", "which colour?").status == 0
    daemon.wait_for(lambda: activity(daemon) == "waiting_input", what="it asks a question")
    assert client("interrupt", "a").out == "a: interrupted\n"
    daemon.wait_state("a", "failed", "exited", "backoff")


@pytest.mark.thorough
def test_an_answer_is_printed_while_it_is_written(daemon: Daemon, client: Client) -> None:
    program = EXAMPLES.parents[1] / "tests/support/listening_agent.py"
    start(daemon, sys.executable, "-I", "-S", "-X", "utf8", str(program))
    daemon.wait_for(lambda: activity(daemon) == "idle", what="it is ready")
    asking = client.start("ask", "a", "--stream", "slowly, in pieces", *LIMIT)
    assert asking.stdout is not None
    try:
        daemon.wait_for((daemon.workdir / "said").exists, what="it has said the first piece")
        assert asking.stdout.read(len("I hear: ")) == "I hear: "
        (daemon.workdir / "go").touch()
        assert asking.communicate(timeout=30)[0] == "slowly, in pieces\n"
    finally:
        asking.kill()
        asking.communicate()


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("body", [None, {}, {"text": 5, "turn": [], "choices": "x", "ok": "no", "cost_usd": -1}])
def test_what_is_missing_or_wrong_is_as_if_it_were_empty(name: str, body: dict[str, object] | None) -> None:
    assert event_of(Hook(name, body), "n1") is not None


@pytest.mark.parametrize(
    ("name", "body", "event"),
    [
        ("started", {"turn": "t", "prompt": "p"}, Started("t", "p")),
        ("started", {}, Started("n1")),
        ("ended", {"final_text": "x"}, Ended(Outcome.COMPLETED, "x")),
        ("ended", {"outcome": "failed", "failure": "usage_limit"}, Ended(Outcome.FAILED, None, Failure.USAGE_LIMIT)),
        ("ended", {"outcome": "exploded"}, Ended(Outcome.COMPLETED)),
        ("usage", {"input_tokens": 3, "output_tokens": True, "cost_usd": 0.5}, Usage(3, 0, cost_usd=0.5)),
        ("Stop", {}, None),
    ],
)
def test_posts_are_read(name: str, body: dict[str, object], event: TurnEvent | None) -> None:
    assert event_of(Hook(name, body), "n1") == event
