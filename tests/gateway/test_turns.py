"""Messages, runs and turns, by real processes."""

from __future__ import annotations

import pytest

from tests.gateway.stand_in import declare, events, kinds, send, session, wait
from tests.support.gateway import Gateway


@pytest.fixture(autouse=True)
def _running(gateway: Gateway) -> None:
    declare(gateway)
    gateway.daemon.start()
    gateway.start("--max-concurrency=2")


def status(gateway: Gateway, run_id: str) -> str:
    return str(gateway.ask("GET", f"/runs/{run_id}")["run"]["status"])


def wait_status(gateway: Gateway, run_id: str, wanted: str) -> None:
    gateway.daemon.wait_for(lambda: status(gateway, run_id) == wanted, what=f"the run is {wanted}")


def of_kind(gateway: Gateway, session_id: str, kind: str) -> list[dict[str, object]]:
    return [event["data"] for event in events(gateway, session_id) if event["event_type"] == kind]


def test_a_message_is_answered_in_a_turn_of_an_agent_of_its_own(gateway: Gateway) -> None:
    made = session(gateway)
    run = wait(gateway, send(gateway, made, "hello there\nand here"))
    assert (run["status"], run["result_text"]) == ("succeeded", "You said: hello there\nand here")
    assert run["usage"]["input_tokens"] == len("hello there\nand here")
    assert kinds(gateway, made) == [
        "session.created",
        "run.queued",
        "message.created",
        "run.started",
        "run.output",
        "message.created",
        "run.succeeded",
    ]
    output = [str(data["text"]) for data in of_kind(gateway, made, "run.output")]
    assert len(output) > 1
    assert "".join(output) == run["result_text"]
    shown = gateway.ask("GET", f"/sessions/{made}")["session"]
    assert shown["tmux_session"].startswith("helper--s-")
    assert shown["provider_thread_id"]
    assert gateway.daemon.agents()[shown["tmux_session"]]["owner"] == "gateway"


def test_the_conversation_of_the_declared_agent_itself_needs_no_other(gateway: Gateway) -> None:
    made = session(gateway, agent="helper", main=True)
    assert wait(gateway, send(gateway, made, "hello"))["result_text"] == "You said: hello"
    assert gateway.ask("GET", f"/sessions/{made}")["session"]["tmux_session"] == "helper"
    assert [*gateway.daemon.agents()] == ["helper"]


def test_runs_of_one_conversation_wait_for_each_other_and_no_more_work_than_may(gateway: Gateway) -> None:
    one, two, three = (session(gateway) for _ in range(3))
    gate = gateway.daemon.folder / "gate"
    first = send(gateway, one, f"STUB-UNTIL:{gate} first")
    second = send(gateway, one, "second")
    other = send(gateway, two, f"STUB-UNTIL:{gate} other")
    last = send(gateway, three, "last")
    wait_status(gateway, other, "running")
    assert [status(gateway, each) for each in (first, second, last)] == ["running", "queued", "queued"]
    diagnosed = gateway.ask("GET", f"/runs/{second}/diagnose")["diagnostics"]
    assert (diagnosed["likely_issue"], diagnosed["queue_position"]) == ("waiting_for_session", 1)
    diagnosed = gateway.ask("GET", f"/runs/{last}/diagnose")["diagnostics"]
    assert (diagnosed["likely_issue"], diagnosed["queue_position"]) == ("waiting_for_worker", 2)
    counts = gateway.ask("GET", "/daemon/status")
    assert counts["queue_counts"] == {"queued_count": 2, "running_count": 2}
    gate.touch()
    runs = [wait(gateway, each) for each in (first, second, other, last)]
    assert [run["status"] for run in runs] == ["succeeded"] * 4
    assert runs[0]["ended_at"] <= runs[1]["started_at"]


@pytest.mark.parametrize(("decision", "said"), [("allow", "(allowed)"), ("deny", "(denied: not now)")])
def test_a_permission_is_answered(gateway: Gateway, decision: str, said: str) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "ASK-PERMISSION please")
    wait_status(gateway, run_id, "awaiting_input")
    (asked,) = of_kind(gateway, made, "run.awaiting_input")
    assert (asked["kind"], asked["name"], asked["text"]) == ("permission", "Bash", "ls")
    answer = {"request_id": asked["request_id"], "decision": decision, "text": "not now"}
    assert gateway.ask("POST", f"/runs/{run_id}/answer", answer)["run"]["status"] == "running"
    assert wait(gateway, run_id)["result_text"].endswith(said)
    assert gateway.request("POST", f"/runs/{run_id}/answer", answer).status == 422
    assert gateway.request("POST", f"/runs/{run_id}/answer", {**answer, "request_id": "other"}).status == 404


def test_what_is_allowed_always_is_not_asked_again_in_this_conversation(gateway: Gateway) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "ASK-PERMISSION")
    wait_status(gateway, run_id, "awaiting_input")
    (asked,) = of_kind(gateway, made, "run.awaiting_input")
    gateway.ask("POST", f"/runs/{run_id}/answer", {"request_id": asked["request_id"], "decision": "allow_always"})
    wait(gateway, run_id)
    assert wait(gateway, send(gateway, made, "ASK-PERMISSION"))["result_text"].endswith("(allowed)")
    assert len(of_kind(gateway, made, "run.awaiting_input")) == 1


def test_a_question_is_answered_in_words(gateway: Gateway) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "ASK-QUESTION")
    wait_status(gateway, run_id, "awaiting_input")
    (asked,) = of_kind(gateway, made, "run.awaiting_input")
    assert asked["choices"] == ["Blue", "Red"]
    answer = {"request_id": asked["request_id"], "decision": "allow", "text": "Blue"}
    gateway.ask("POST", f"/runs/{run_id}/answer", answer)
    assert wait(gateway, run_id)["result_text"].endswith("(Blue)")


def test_a_canceled_run_leaves_its_agent_free_for_the_next(gateway: Gateway) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "STUB-SLEEP:60")
    waiting = send(gateway, made, "waiting")
    gateway.daemon.wait_for(
        lambda: gateway.ask("GET", f"/runs/{run_id}/diagnose")["diagnostics"]["activity"] == "working"
    )
    assert gateway.ask("POST", f"/runs/{run_id}/cancel")["run"]["status"] == "canceled"
    assert wait(gateway, waiting)["result_text"] == "You said: waiting"
    assert gateway.ask("POST", f"/runs/{run_id}/cancel")["run"]["status"] == "canceled"
    assert gateway.request("POST", f"/runs/{waiting}/cancel").status == 422


def test_a_turn_that_takes_too_long_is_timed_out_and_interrupted(gateway: Gateway) -> None:
    made = session(gateway)
    body = {"session_id": made, "prompt": "STUB-SLEEP:60", "timeout_s": 1}
    run = wait(gateway, gateway.ask("POST", "/runs", body)["run"]["id"])
    assert (run["status"], run["error"]["code"]) == ("timed_out", "timeout")
    assert wait(gateway, send(gateway, made, "next"))["result_text"] == "You said: next"


@pytest.mark.parametrize("failure", ["usage_limit", "auth_error"])
def test_a_turn_that_fails_says_why(gateway: Gateway, failure: str) -> None:
    run_id = send(gateway, session(gateway), f"STUB-FAIL:{failure}")
    assert wait(gateway, run_id)["error"] == {"code": failure, "message": f"failed as told: {failure}"}
    assert gateway.ask("GET", f"/runs/{run_id}/diagnose")["diagnostics"]["likely_issue"] == failure


def test_a_run_whose_agent_ends_fails_with_its_exit_code_and_the_next_finds_it_again(gateway: Gateway) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "STUB-EXIT:7")
    run = wait(gateway, run_id)
    assert (run["status"], run["exit_code"], run["exit_signal"]) == ("failed", 7, None)
    assert gateway.ask("GET", f"/runs/{run_id}/diagnose")["diagnostics"]["likely_issue"] == "worker_lost"
    assert wait(gateway, send(gateway, made, "again"))["result_text"] == "You said: again"


def test_a_closed_session_withdraws_its_agent_and_takes_no_messages(gateway: Gateway) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "STUB-SLEEP:60")
    wait_status(gateway, run_id, "running")
    assert gateway.ask("DELETE", f"/sessions/{made}")["session"]["status"] == "closed"
    assert wait(gateway, run_id)["status"] == "canceled"
    gateway.daemon.wait_for(lambda: [*gateway.daemon.agents()] == ["helper"])
    assert gateway.request("POST", f"/sessions/{made}/messages", {"text": "hello"}).status == 422
    assert kinds(gateway, made)[-1] == "session.closed"


def test_a_child_asks_its_parent_and_goes_on_with_the_answer(gateway: Gateway) -> None:
    parent = session(gateway)
    parent_run = send(gateway, parent, "STUB-SLEEP:60")
    wait_status(gateway, parent_run, "running")
    spawned = gateway.ask("POST", f"/runs/{parent_run}/spawn", {"task": "do it"})
    child, child_run = spawned["session"], spawned["run"]
    assert (child["parent_session_id"], child["parent_run_id"]) == (parent, parent_run)
    assert wait(gateway, child_run["id"])["result_text"] == "You said: do it"
    grandchild = gateway.ask("POST", f"/runs/{child_run['id']}/spawn", {"task": "more"})
    assert grandchild["run"]["parent_run_id"] == child_run["id"], "after its end, too"

    gate = gateway.daemon.folder / "gate"
    asking = send(gateway, child["id"], f"STUB-UNTIL:{gate} ask")
    wait_status(gateway, asking, "running")
    body = {"text": "May I?", "request_kind": "question"}
    reply = gateway.ask("POST", f"/runs/{asking}/reply-parent", body)
    assert reply["parent_session_id"] == parent
    assert reply["event"]["event_type"] == "parent.request"
    assert status(gateway, asking) == "awaiting_parent"
    # Its turn ends, and it waits.
    gate.touch()
    gateway.daemon.wait_for(
        lambda: not gateway.ask("GET", f"/runs/{asking}/diagnose")["diagnostics"]["worker_alive"],
        what="its turn is over",
    )
    waits = gateway.ask("GET", f"/runs/{asking}")["run"]
    assert (waits["status"], waits["result_text"]) == ("awaiting_parent", f"You said: STUB-UNTIL:{gate} ask")
    sent = gateway.ask("POST", f"/sessions/{child['id']}/send", {"text": "You may.", "from_run_id": parent_run})
    assert (sent["run"]["id"], sent["message"]["role"]) == (asking, "parent")
    assert wait(gateway, asking)["result_text"] == "You said: You may."
    assert kinds(gateway, parent)[-2:] == ["message.created", "parent.request"]

    canceled = gateway.ask("POST", f"/sessions/{child['id']}/messages", {"text": "STUB-SLEEP:60"})["run"]["id"]
    assert gateway.ask("POST", f"/runs/{parent_run}/cancel")["canceled_children"] == [canceled]


def test_an_answer_that_comes_before_the_childs_turn_has_begun_is_heard_after_it(gateway: Gateway) -> None:
    parent = session(gateway)
    parent_run = send(gateway, parent, "STUB-SLEEP:60")
    wait_status(gateway, parent_run, "running")
    child = gateway.ask("POST", f"/runs/{parent_run}/spawn", {"task": "first"})
    session_id, asking = child["session"]["id"], child["run"]["id"]
    wait_status(gateway, asking, "running")
    gateway.ask("POST", f"/runs/{asking}/reply-parent", {"text": "May I?", "request_kind": "question"})
    gateway.ask("POST", f"/sessions/{session_id}/send", {"text": "You may.", "from_run_id": parent_run})
    assert wait(gateway, asking)["result_text"] == "You said: You may."
    output = [str(data["text"]) for data in of_kind(gateway, session_id, "run.output")]
    assert "".join(output) == "You said: firstYou said: You may."


def test_a_permission_that_a_child_asks_for_is_its_parents_to_give(gateway: Gateway) -> None:
    parent = session(gateway)
    spawned = gateway.ask("POST", f"/sessions/{parent}/spawn", {"task": "ASK-PERMISSION"})
    child, run_id = spawned["session"]["id"], spawned["run"]["id"]
    wait_status(gateway, run_id, "awaiting_parent")
    (request,) = of_kind(gateway, parent, "parent.request")
    assert (request["request_kind"], request["child_run_id"]) == ("permission_request", run_id)
    gateway.ask("POST", f"/sessions/{child}/messages", {"text": "Yes, do it."})
    assert wait(gateway, run_id)["result_text"].endswith("(allowed)")


def test_canceling_a_parent_cancels_its_children(gateway: Gateway) -> None:
    parent = session(gateway)
    parent_run = send(gateway, parent, "STUB-SLEEP:60")
    wait_status(gateway, parent_run, "running")
    child = gateway.ask("POST", f"/runs/{parent_run}/spawn", {"task": "STUB-SLEEP:60"})["run"]["id"]
    grandchild = gateway.ask("POST", f"/runs/{child}/spawn", {"task": "STUB-SLEEP:60"})["run"]["id"]
    canceled = gateway.ask("POST", f"/runs/{parent_run}/transition", {"to_status": "canceled"})
    assert canceled["run"]["status"] == "canceled"
    assert [status(gateway, each) for each in (child, grandchild)] == ["canceled", "canceled"]
    refused = gateway.request("POST", f"/runs/{child}/spawn", {"task": "more"})
    assert (refused.status, b"invalid_transition" in refused.body) == (422, True)


def test_an_idle_agent_is_withdrawn_and_comes_back_with_the_next_message(gateway: Gateway) -> None:
    gateway.stop()
    declare(gateway, idle_timeout="1s")
    gateway.start()
    made = session(gateway)
    wait(gateway, send(gateway, made, "one"))
    gateway.daemon.wait_for(lambda: len(gateway.daemon.agents()) == 1, what="the agent is withdrawn")
    assert wait(gateway, send(gateway, made, "two"))["result_text"] == "You said: two"


def test_a_message_for_an_agent_that_cannot_start_fails_and_says_why(gateway: Gateway) -> None:
    declare(gateway, {"name": "broken", "command": ["/nowhere/program"]})
    run_id = send(gateway, session(gateway, agent="broken"), "hello")
    run = wait(gateway, run_id)
    assert (run["status"], run["error"]["code"]) == ("failed", "agent_not_ready")
    assert "/nowhere/program" in run["error"]["message"]
    assert gateway.ask("GET", f"/runs/{run_id}/diagnose")["diagnostics"]["likely_issue"] == "harness_missing"


def test_a_run_is_diagnosed(gateway: Gateway) -> None:
    made = session(gateway)
    run_id = send(gateway, made, "STUB-SLEEP:60")
    gateway.daemon.wait_for(
        lambda: gateway.ask("GET", f"/runs/{run_id}/diagnose")["diagnostics"]["activity"] == "working"
    )
    found = gateway.ask("GET", f"/runs/{run_id}/diagnose")["diagnostics"]
    assert found["worker_id"] == "worker-1"
    assert (found["worker_alive"], found["alive_workers"], found["max_concurrency"]) == (True, 2, 2)
    assert found["likely_issue"] == "none"
    assert found["argv"][-1].endswith("stand_in.py")
    assert found["active_pid"] in [agent["pid"] for agent in gateway.daemon.agents().values()]
    assert found["seconds_since_event"] < 30
    waited = gateway.ask("GET", f"/runs/{run_id}/wait?timeout_s=0.2")
    assert (waited["timed_out"], waited["run"]["status"]) == (True, "running")
    gateway.ask("POST", f"/runs/{run_id}/cancel")
