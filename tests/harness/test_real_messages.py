"""Messages to the real CLIs by the turns socket: each waits for its turn, is taken once, and is followed to its end."""

from __future__ import annotations

from typing import cast

from tests.daemon.test_turns import post
from tests.harness.driven import DAYS, DEADLINE, DrivenCli, agentctl, asked
from tests.harness.stub_model import REPLY, StubModel
from tests.harness.test_real_turns import wait_activity
from tests.support.waiting import wait_for

pytestmark = DAYS

Json = dict[str, object]


def send(driven: DrivenCli, message: str, text: str) -> None:
    def accepted() -> bool:
        status, found = post(driven.daemon, "/v1/turns/agent/messages", {"id": message, "text": text})
        assert status in (202, 404, 503), found
        return status == 202

    wait_for(accepted, DEADLINE, what=f"{message} is accepted")


def message_of(driven: DrivenCli, message: str) -> Json:
    status, found = post(driven.daemon, f"/v1/turns/agent/messages/{message}", method="GET")
    assert status == 200, found
    return cast("Json", cast("Json", found)["message"])


def wait_status(driven: DrivenCli, message: str, *statuses: str) -> Json:
    def reached() -> Json | None:
        found = message_of(driven, message)
        assert found["status"] != "failed" or "failed" in statuses, f"{found}\n{driven._shown()}"
        return found if found["status"] in statuses else None

    return wait_for(
        reached,
        DEADLINE,
        what=f"{message} is {' or '.join(statuses)}",
        explain=lambda: f"{message_of(driven, message)}\n{driven._shown()}\n{driven.daemon.explain()}",
    )


def times(model: StubModel, text: str) -> int:
    """How many turns the model had to answer whose last message is this one."""
    return sum(turn.texts[-1].strip() == text for turn in model.turns if turn.texts)


def test_messages_wait_for_the_first_prompt_and_for_each_other(driven: DrivenCli, model: StubModel) -> None:
    driven.declare()
    send(driven, "m1", "hello there")
    first = wait_status(driven, "m1", "ended")
    assert (first["outcome"], first["final_text"]) == ("completed", f"{REPLY}hello there")

    send(driven, "m2", "STUB-SLEEP:3")
    wait_status(driven, "m2", "started")
    long = "\n".join(f"line {number} isn't $(touch pwned)" for number in range(40))
    send(driven, "m3", long)
    send(driven, "m4", "the last")
    assert message_of(driven, "m3")["status"] == "queued"
    assert wait_status(driven, "m4", "ended")["final_text"] == f"{REPLY}the last"
    assert message_of(driven, "m2")["outcome"] == "completed"
    assert str(message_of(driven, "m3")["final_text"]).split() == f"{REPLY}{long}".split()
    assert asked(model, long)


def test_a_persons_draft_holds_a_message_back_and_an_interrupted_one_does_not(
    driven: DrivenCli, model: StubModel
) -> None:
    driven.declare()
    send(driven, "m1", "hello there")
    wait_status(driven, "m1", "ended")
    # The servers of the others take messages beside what stands at the terminal.
    if driven.cli.harness not in ("opencode", "codex"):
        wait_activity(driven, "idle")
        agentctl(driven, "send", "agent", "half a thought", "--no-enter")
        send(driven, "m2", "after the draft")
        held = wait_for(lambda: message_of(driven, "m2")["error"], DEADLINE, what="it is held back")
        assert "half a thought" in str(held)
        assert not asked(model, "after the draft")
        agentctl(driven, "keys", "agent", "C-u")
        assert wait_status(driven, "m2", "ended")["outcome"] == "completed"
        assert not asked(model, "half a thought")
    send(driven, "m3", "STUB-SLEEP:60")
    wait_status(driven, "m3", "started")
    wait_activity(driven, "working")
    assert post(driven.daemon, "/v1/turns/agent/interrupt")[0] == 200
    assert wait_status(driven, "m3", "ended")["outcome"] == "interrupted"
    send(driven, "m4", "go on")
    assert wait_status(driven, "m4", "ended")["final_text"] == f"{REPLY}go on"


def test_a_turn_that_ends_while_agentd_is_away_is_settled_by_the_record(driven: DrivenCli, model: StubModel) -> None:
    daemon = driven.daemon
    driven.declare()
    send(driven, "m1", "hello there")
    wait_status(driven, "m1", "ended")
    send(driven, "m2", "STUB-SLEEP:2")
    send(driven, "m3", "and then")
    wait_status(driven, "m2", "started")
    daemon.kill()
    driven.wait_on_screen(f"{REPLY}STUB-SLEEP:2")
    daemon.start()
    done = wait_status(driven, "m2", "ended")
    assert (done["outcome"], done["final_text"]) == ("completed", f"{REPLY}STUB-SLEEP:2")
    assert wait_status(driven, "m3", "ended")["final_text"] == f"{REPLY}and then"
    assert times(model, "STUB-SLEEP:2") == 1


def test_a_kill_while_a_message_is_handed_over_sends_it_at_most_once(driven: DrivenCli, model: StubModel) -> None:
    daemon = driven.daemon
    driven.declare()
    send(driven, "m1", "hello there")
    wait_status(driven, "m1", "ended")
    send(driven, "m2", "only once")
    wait_status(driven, "m2", "delivering", "delivered", "started", "ended")
    daemon.kill()
    daemon.start()
    done = wait_status(driven, "m2", "failed", "ended")
    assert done["status"] == "ended" or "may or may not have arrived" in str(done["error"])
    send(driven, "m3", "and then")
    assert wait_status(driven, "m3", "ended")["final_text"] == f"{REPLY}and then"
    assert times(model, "only once") <= 1
    assert done["status"] != "ended" or times(model, "only once") == 1
