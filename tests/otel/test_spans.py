"""Spans made of events: what is told, what is not, and how they hang together over a restart of agentd."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from agentd.model.events import Detail, Event, EventKind
from agentd.otel import names
from agentd.otel.ids import run_span_id, trace_id
from agentd.otel.spans import MOST_TOOLS, USAGE_AFTER, Tracing, next_due, settle, step
from agentd.otel.values import AgentFacts, Span

FACTS = AgentFacts("claude-code", "opus")


def event(kind: EventKind, reason: str | None = None, /, **data: Detail) -> Event:
    return Event(kind, "a", reason, data)


LAUNCHED = event(EventKind.LAUNCHED, state="starting", was="pending", run="r1", restarts=2)
STARTED = event(EventKind.STARTED, state="running", was="starting", run="r1", pid=7, restarts=2)
PROMPT = event(EventKind.TURN_STARTED, turn="t1", prompt="say it", characters=6, conversation="c")
TOOL = event(EventKind.TURN_TOOL_STARTED, "rm -rf build", turn="t1", tool="u1", name="Bash", conversation="c")
TOOL_DONE = event(EventKind.TURN_TOOL_COMPLETED, turn="t1", tool="u1", ok=True, conversation="c")
ANSWER = event(EventKind.TURN_ENDED, turn="t1", outcome="completed", text="done", characters=4, conversation="c")
USED = event(
    EventKind.TURN_USAGE,
    turn="t1",
    run="r1",
    input_tokens=10,
    output_tokens=5,
    cache_read_tokens=100,
    cache_write_tokens=20,
    cost_usd=0.25,
)


def told(
    events: Iterable[tuple[float, Event]], tracing: Tracing | None = None, facts: AgentFacts | None = FACTS
) -> list[Span]:
    """All spans of events, each at a time."""
    state, spans = tracing or Tracing(), list[Span]()
    for at, each in events:
        state, ended = step(state, each, at, facts)
        spans += ended
    return [*spans, *settle(state, float("inf"))[1]]


def exited(**data: Detail) -> Event:
    return event(EventKind.EXITED, "exit status", state="exited", run="r1", pid=7, ran_seconds=9.0, **data)


WHOLE = [(1.0, LAUNCHED), (1.5, STARTED), (2.0, PROMPT), (3.0, TOOL), (4.0, TOOL_DONE), (5.0, ANSWER), (6.0, USED)]


def test_a_run_its_turn_and_the_tool_are_one_trace() -> None:
    tool, run, turn = told([*WHOLE, (10.5, exited(exit_code=0))])
    assert {span.trace for span in (run, turn, tool)} == {trace_id("r1")}
    assert (run.parent, turn.parent, tool.parent) == (None, run.id, turn.id)
    assert (run.name, turn.name, tool.name) == ("run a", "invoke_agent a", "execute_tool Bash")
    assert (run.start, run.end) == (1.5, 10.5)
    assert (turn.start, turn.end) == (2.0, 5.0)
    assert (tool.start, tool.end) == (3.0, 4.0)
    assert not any(span.error for span in (run, turn, tool))


def test_a_run_says_what_ran_and_how_it_ended() -> None:
    (run,) = told([(1.0, LAUNCHED), (1.5, STARTED), (10.5, exited(exit_code=3))])
    assert run.attributes == {
        "gen_ai.agent.name": "a",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "opus",
        "agentd.harness": "claude-code",
        "agentd.run.id": "r1",
        "agentd.run.restarts": 2,
        "agentd.run.reason": "exit status",
        "process.pid": 7,
        "process.exit.code": 3,
        "error.type": "exit_status",
    }
    assert run.error
    assert run.message == "exit status"


@pytest.mark.parametrize(
    ("cause", "data", "error"),
    [
        (None, {"exit_code": 0}, None),
        (None, {"exit_signal": 9}, "signal_9"),
        (None, {"exit_signal": 9, "exit_reason": "oom"}, "oom"),
        ("changed", {"exit_signal": 15}, None),
        ("timeout", {"exit_code": 0}, "timeout"),
    ],
)
def test_what_agentd_stops_has_not_failed(cause: str | None, data: dict[str, Detail], error: str | None) -> None:
    stopping = [] if cause is None else [(2.0, event(EventKind.STOPPING, state="stopping", cause=cause))]
    (run,) = told([(1.0, LAUNCHED), *stopping, (3.0, exited(**data))])
    assert run.attributes.get(names.ERROR) == error
    assert run.attributes.get(names.STOPPED) == cause
    assert run.error is (error is not None)


def test_a_launch_that_failed_is_a_run() -> None:
    (run,) = told([(1.0, LAUNCHED), (1.2, event(EventKind.LAUNCH_FAILED, "no such program", run="r1"))])
    assert (run.start, run.end, run.message) == (1.0, 1.2, "no such program")
    assert run.attributes[names.ERROR] == "launch_failed"


def test_a_turn_says_what_the_model_used_and_counts_the_cache_among_the_input() -> None:
    turn = told(WHOLE)[-1]
    assert turn.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "a",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "opus",
        "gen_ai.conversation.id": "c",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 130,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.cache_creation.input_tokens": 20,
        "agentd.harness": "claude-code",
        "agentd.run.id": "r1",
        "agentd.turn.id": "t1",
        "agentd.turn.outcome": "completed",
        "agentd.turn.cost_usd": 0.25,
    }


def test_what_agents_are_told_and_say_is_told_only_where_that_is_declared() -> None:
    secret = ("say it", "rm -rf", "done", "may I", "it broke")
    asked = event(EventKind.TURN_PERMISSION_ASKED, "may I rm", turn="t1", request="q", name="Bash")
    failed = event(EventKind.TURN_ENDED, "it broke", turn="t1", outcome="failed", failure="other", text="done")
    events = [*WHOLE[:4], (3.5, asked), (5.0, failed)]
    assert not any(text in str(told(events)) for text in secret)
    tool, turn = told(events, Tracing(content=True))
    assert json.loads(str(turn.attributes["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "say it"}]}
    ]
    assert json.loads(str(turn.attributes["gen_ai.output.messages"])) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "done"}], "finish_reason": "error"}
    ]
    assert tool.attributes["gen_ai.tool.call.arguments"] == "rm -rf build"
    assert turn.message == "it broke"
    assert turn.events[0].attributes["agentd.request.text"] == "may I rm"


def test_what_is_asked_and_decided_is_told_in_the_turn() -> None:
    asked = event(EventKind.TURN_PERMISSION_ASKED, "may I", turn="t1", request="q", name="Bash")
    decided = event(EventKind.TURN_PERMISSION_RESOLVED, turn="t1", request="q", decision="allow", by="uid:1")
    turn = told([(1.0, STARTED), (2.0, PROMPT), (3.0, asked), (4.0, decided), (5.0, ANSWER)])[-1]
    assert [(each.name, each.at) for each in turn.events] == [
        ("agentd.permission_asked", 3.0),
        ("agentd.permission_resolved", 4.0),
    ]
    assert turn.events[1].attributes == {
        "agentd.request.id": "q",
        "agentd.request.decision": "allow",
        "agentd.request.by": "uid:1",
    }


def test_a_turn_waits_for_what_it_used_and_no_longer() -> None:
    state = Tracing()
    for at, each in WHOLE[:-1]:
        state, _ = step(state, each, at, FACTS)
    assert next_due(state) == 5.0 + USAGE_AFTER
    assert settle(state, 5.0 + USAGE_AFTER - 0.1)[1] == ()
    state, (turn,) = settle(state, 5.0 + USAGE_AFTER)
    assert names.INPUT_TOKENS not in turn.attributes
    assert next_due(state) is None


def test_usage_that_comes_in_pieces_adds_up_and_another_runs_is_not_taken() -> None:
    other = Event(USED.kind, "a", None, {**USED.data, "run": "r0"})
    turn = told([*WHOLE, (6.5, USED), (6.6, other)])[-1]
    assert turn.attributes[names.INPUT_TOKENS] == 260
    assert turn.attributes[names.COST] == 0.5


def test_after_a_restart_of_agentd_everything_is_in_the_trace_it_was_in() -> None:
    before = told([(1.0, LAUNCHED), (1.5, STARTED), (2.0, PROMPT), (3.0, TOOL), (4.0, TOOL_DONE)])
    adopted = event(EventKind.ADOPTED, state="running", run="r1", restarts=2, pid=7)
    turn_two = [event(EventKind.TURN_STARTED, turn="t2"), event(EventKind.TURN_ENDED, turn="t2", outcome="completed")]
    run, first, second = told(
        [(20.0, adopted), (21.0, ANSWER), (22.0, turn_two[0]), (23.0, turn_two[1]), (30.0, exited(exit_code=0))]
    )
    assert (run.id, run.trace) == (run_span_id("r1"), trace_id("r1"))
    assert {span.trace for span in (*before, run, first, second)} == {trace_id("r1")}
    assert before[0].parent == first.id, "the tool of before is in the turn that ended after"
    assert first.attributes[names.NOT_SEEN] is True
    assert names.NOT_SEEN not in second.attributes
    assert run.start == 21.0, "as long as it ran, also before"


def test_turns_without_ids_are_told_apart() -> None:
    began = Event(EventKind.TURN_STARTED, "a")
    ended = Event(EventKind.TURN_ENDED, "a", None, {"outcome": "completed"})
    spans = told([(1.0, STARTED), (2.0, began), (3.0, ended), (4.0, began), (5.0, ended)])
    assert len({span.id for span in spans}) == 2


def test_a_turn_whose_end_was_not_told_ends_with_the_next() -> None:
    first, second = told(
        [(1.0, STARTED), (2.0, PROMPT), (7.0, event(EventKind.TURN_STARTED, turn="t2")), (9.0, ANSWER)]
    )
    assert (first.start, first.end) == (2.0, 7.0)
    assert (second.start, second.end) == (7.0, 9.0)


def test_a_tool_that_the_end_of_the_turn_cut_off_is_told() -> None:
    tool, turn = told([(1.0, STARTED), (2.0, PROMPT), (3.0, TOOL), (5.0, ANSWER)])
    assert (tool.end, tool.parent, tool.attributes[names.ERROR]) == (5.0, turn.id, "cut_off")


def test_what_is_open_is_bounded() -> None:
    state = Tracing()
    state, _ = step(state, STARTED, 1.0, FACTS)
    state, _ = step(state, PROMPT, 1.0, FACTS)
    for number in range(MOST_TOOLS + 50):
        more = event(EventKind.TURN_TOOL_STARTED, turn="t1", tool=str(number), name="Bash")
        state, _ = step(state, more, 2.0, FACTS)
    _, spans = step(state, ANSWER, 3.0, FACTS)
    assert len(spans) == MOST_TOOLS
    for number in range(100):
        state, _ = step(state, event(EventKind.TURN_STARTED, turn=str(number)), 4.0, FACTS)
        state, _ = step(state, event(EventKind.TURN_ENDED, turn=str(number), outcome="completed"), 4.0, FACTS)
    assert len(settle(state, float("inf"))[1]) <= 32


def test_many_turns_are_told_in_several_steps() -> None:
    state = Tracing()
    for name in "abcde":
        for each in (STARTED, PROMPT, ANSWER):
            state, _ = step(state, Event(each.kind, name, None, each.data), 1.0, FACTS)
    state, first = settle(state, 9.0, 2)
    state, second = settle(state, 9.0, 2)
    state, third = settle(state, 9.0, 2)
    assert [len(each) for each in (first, second, third)] == [2, 2, 1]
    assert next_due(state) is None


def test_of_an_agent_that_is_gone_nothing_is_kept() -> None:
    state = Tracing()
    for at, each in [*WHOLE, (9.0, event(EventKind.REMOVED))]:
        state, _ = step(state, each, at, FACTS)
    assert state == Tracing()


def test_what_concerns_no_agent_and_what_is_not_known_is_passed_over() -> None:
    assert told([(1.0, Event(EventKind.DAEMON_STARTED)), (2.0, event(EventKind.EXITED)), (3.0, ANSWER)]) == []
    (run,) = told([(1.0, exited(exit_code=0))], facts=None)
    assert run.attributes[names.AGENT] == "a"
    assert names.PROVIDER not in run.attributes
