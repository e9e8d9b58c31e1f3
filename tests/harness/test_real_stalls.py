"""The real CLIs with a model that never answers, a tool that hangs, and a tool that works for long."""

from __future__ import annotations

from typing import cast

from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl, asked
from tests.harness.real_clis import RealCli
from tests.harness.stub_model import StubModel
from tests.harness.test_real_background import with_server
from tests.harness.test_real_turns import turns, view, wait_activity
from tests.support.daemon import StalledJson

pytestmark = REAL

NEVER = "STUB-SLEEP:600"
HANGS = "STUB-BASH:sleep 301"
WORKS = 'STUB-BASH:timeout 8 sh -c "while :; do :; done"'
MODEL, TOOL = "8s", "4s"


def stalled(driven: DrivenCli) -> StalledJson:
    def found() -> StalledJson | None:
        return driven.daemon.agents()["agent"]["stalled"]

    return driven.daemon.wait_for(found, DEADLINE, what="it is seen not to go on")


def told(driven: DrivenCli, name: str) -> list[str]:
    found = cast("list[dict[str, dict[str, str]]]", driven.daemon.get("/v1/events?kind=stalled"))
    return [each["data"][name] for each in found]


def tried(driven: DrivenCli) -> list[str]:
    return told(driven, "stall_action")


def phases(driven: DrivenCli) -> list[str]:
    return told(driven, "phase")


def outcome(driven: DrivenCli) -> object:
    last = view(driven)["last"]
    return last["outcome"] if isinstance(last, dict) else None


def told_to_go_on(driven: DrivenCli) -> set[object]:
    """How far messages of agentd itself are."""
    _, found = post(driven.daemon, "/v1/messages?agent=agent&limit=50&undelivered=0", method="GET")
    messages = cast("dict[str, list[dict[str, object]]]", found)["messages"]
    return {each["status"] for each in messages if each["sender"] == "agentd"}


def conversation(driven: DrivenCli) -> str | None:
    return driven.daemon.agents()["agent"]["conversation"]


def test_a_model_that_never_answers_is_interrupted(driven: DrivenCli, cli: RealCli) -> None:
    driven.declare(stall={"model": MODEL, "tool": MODEL, "action": ["interrupt", "notify"]})
    wait_activity(driven, "idle")
    agentctl(driven, "send", "agent", NEVER)
    driven.daemon.wait_for(lambda: tried(driven), DEADLINE, what="it is seen not to go on, whatever it shows")
    driven.daemon.wait_for(lambda: outcome(driven) == "interrupted", DEADLINE, what="its turn was interrupted")
    driven.daemon.wait_for(lambda: driven.daemon.agents()["agent"]["stalled"] is None, DEADLINE, what="it goes on")
    agentctl(driven, "send", "agent", "hello")
    driven.daemon.wait_for(lambda: outcome(driven) == "completed", DEADLINE, what="it takes the next message")
    # On a loaded machine its answers take as long as that.
    assert tried(driven)[0] == "interrupt"
    assert phases(driven)[0] == ("tool" if cli.harness == "gemini-cli" else "model")


def test_it_is_launched_again_with_its_conversation(driven: DrivenCli, model: StubModel) -> None:
    driven.declare(stall={"model": MODEL, "tool": MODEL, "action": ["resume"]})
    wait_activity(driven, "idle")
    agentctl(driven, "send", "agent", "hello")
    driven.daemon.wait_for(lambda: outcome(driven) == "completed", DEADLINE, what="it has a conversation")
    before = driven.daemon.agents()["agent"]
    agentctl(driven, "send", "agent", NEVER)
    driven.daemon.wait_for(lambda: tried(driven) == ["resume"], DEADLINE, what="it is seen not to go on")
    driven.daemon.wait_for(lambda: driven.daemon.agents()["agent"]["restarts"] > 0, DEADLINE, what="it was restarted")
    wait_activity(driven, "idle")
    driven.daemon.wait_for(
        lambda: driven.daemon.agents()["agent"]["conversation"] == before["conversation"],
        DEADLINE,
        what="it is the same",
    )
    assert driven.daemon.agents()["agent"]["pid"] != before["pid"]
    driven.daemon.wait_for(lambda: asked(model, "continue"), DEADLINE, what="it is told to go on")
    driven.daemon.wait_for(lambda: told_to_go_on(driven) & {"started", "ended"}, DEADLINE, what="it says so itself")
    (turn, *_) = [turn for turn in model.turns if "continue" in turn.prompt]
    assert any("hello" in text for text in turn.texts)


def test_a_tool_at_work_is_left_alone_and_one_that_hangs_is_not(driven: DrivenCli, cli: RealCli) -> None:
    driven.declare(**with_server(driven, cli), stall={"model": "1h", "tool": TOOL})
    wait_activity(driven, "idle")
    agentctl(driven, "send", "agent", WORKS)
    driven.daemon.wait_for(lambda: turns(driven, "turn_ended") == 1, DEADLINE, what="its tool has worked for long")
    assert tried(driven) == []
    wait_activity(driven, "idle")
    agentctl(driven, "send", "agent", HANGS)
    found = stalled(driven)
    assert (found["phase"], found["action"]) == ("tool", "notify")
    assert found["reason"].endswith("nothing in its program's record, no CPU")
