"""The reducer of conversations: what an event makes of one, whatever came before, late, twice or never."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.turns.conversation import (
    LONGEST_TEXT,
    UNNAMED,
    Conversation,
    decide,
    expired,
    take,
)
from agentd.turns.events import (
    Decision,
    Ended,
    Failure,
    Outcome,
    PermissionAsked,
    PermissionResolved,
    QuestionAsked,
    Started,
    Text,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    TurnEvent,
    Usage,
)

DONE = Ended(Outcome.COMPLETED, "the answer")
ASKED = PermissionAsked("r", "Bash", "rm x", tool="t")


def after(*events: TurnEvent, before: Conversation | None = None) -> Conversation:
    """Reduce events that come a second apart."""
    conversation = before or Conversation()
    for at, event in enumerate(events):
        conversation = take(conversation, event, float(at))
    return conversation


def test_a_turn_from_its_message_to_its_answer() -> None:
    conversation = after(Started("1", "hello"), TextDelta("the "), TextDelta("answer"))
    assert not conversation.idle
    assert conversation.turn is not None
    assert (conversation.turn.prompt, conversation.turn.text, conversation.turn.started) == ("hello", "the answer", 0.0)
    conversation = take(conversation, DONE, 9.0)
    assert conversation.idle
    assert conversation.last is not None
    assert (conversation.last.end, conversation.last.ended) == (DONE, 9.0)


def test_a_whole_message_replaces_its_pieces_and_the_next_piece_begins_another() -> None:
    conversation = after(Started("1"), TextDelta("par"), Text("part"), TextDelta("next"))
    assert conversation.turn is not None
    assert conversation.turn.text == "next"


def test_a_beginning_and_an_end_that_are_told_twice_count_once() -> None:
    assert after(Started("1", "hello"), Started("1", "hello")) == after(Started("1", "hello"))
    assert after(Started("1"), DONE, DONE) == after(Started("1"), DONE)


def test_a_beginning_that_is_told_after_the_end_begins_nothing() -> None:
    assert after(Started("1"), DONE, Started("1")).idle


def test_what_comes_before_word_of_the_beginning_belongs_to_that_turn() -> None:
    conversation = after(TextDelta("early"), Started("1", "hello"))
    assert conversation.turn is not None
    assert (conversation.turn.id, conversation.turn.text) == ("1", "early")
    assert after(TextDelta("early")).turn == replace(conversation.turn, id=UNNAMED, prompt=None)


def test_a_turn_whose_end_was_not_told_is_lost_when_the_next_begins() -> None:
    conversation = after(Started("1"), ASKED, Started("2"))
    assert conversation.last is not None
    assert conversation.last.end is not None
    assert conversation.last.end.outcome is Outcome.LOST
    assert conversation.turn is not None
    assert conversation.turn.id == "2"
    assert not conversation.requests


@pytest.mark.parametrize(
    "event",
    [
        PermissionResolved("r", Decision.DENY),
        ToolCompleted("t", ok=False),
        DONE,
        Ended(Outcome.INTERRUPTED),
        Ended(Outcome.FAILED, failure=Failure.OTHER),
        Ended(Outcome.LOST),
        Started("2"),
    ],
)
def test_a_request_expires_on_its_resolution_the_tools_run_and_the_turns_end(event: TurnEvent) -> None:
    before = after(Started("1"), ToolStarted("t", "Bash"), ASKED)
    assert [request.id for request in before.requests] == ["r"]
    conversation = take(before, event, 5.0)
    assert not conversation.requests
    told = [] if isinstance(event, PermissionResolved) else [PermissionResolved("r", Decision.EXPIRED)]
    assert list(expired(before, conversation, event)) == told


@pytest.mark.parametrize("event", [ToolCompleted("other"), TextDelta("x"), ToolStarted("u", "Read"), Usage(1)])
def test_nothing_else_touches_a_request(event: TurnEvent) -> None:
    before = after(Started("1"), ASKED)
    conversation = take(before, event, 5.0)
    assert conversation.requests == before.requests
    assert not expired(before, conversation, event)


def test_the_first_answer_wins() -> None:
    conversation, first = decide(after(Started("1"), ASKED), "r")
    _, second = decide(conversation, "r")
    assert (first, second) == (True, False)


def test_a_question_and_a_permission_can_wait_at_once() -> None:
    conversation = after(Started("1"), ASKED, QuestionAsked("q", "Which?", ("Red", "Blue")))
    assert [(each.id, each.question, each.choices) for each in conversation.requests] == [
        ("r", False, ()),
        ("q", True, ("Red", "Blue")),
    ]


def test_usage_counts_to_the_turn_also_when_it_is_told_after_the_end() -> None:
    conversation = after(Started("1"), Usage(1, 2), DONE, Usage(3, 4, cost_usd=0.5))
    assert conversation.last is not None
    assert conversation.last.usage == conversation.usage == Usage(4, 6, cost_usd=0.5)


def test_tools_under_way_are_known() -> None:
    conversation = after(Started("1"), ToolStarted("a", "Bash", "ls"), ToolStarted("b", "Read"), ToolCompleted("a"))
    assert conversation.turn is not None
    assert [tool.tool for tool in conversation.turn.tools] == ["b"]


def test_a_long_answer_takes_bounded_memory() -> None:
    conversation = after(Started("1"), *[TextDelta("x" * LONGEST_TEXT)] * 3)
    assert conversation.turn is not None
    assert len(conversation.turn.text) == LONGEST_TEXT
    conversation = take(conversation, Ended(Outcome.COMPLETED, "x" * (LONGEST_TEXT + 1)), 9.0)
    assert conversation.last is not None
    assert conversation.last.end is not None
    assert conversation.last.end.final_text == "x" * LONGEST_TEXT


# -- whatever comes

ids = st.sampled_from(["1", "2", "3", UNNAMED])
texts = st.sampled_from(["", "a", "ab\n"])
events: st.SearchStrategy[TurnEvent] = st.one_of(
    st.builds(Started, ids, st.none() | texts),
    st.builds(TextDelta, texts),
    st.builds(Text, texts),
    st.builds(ToolStarted, ids, texts),
    st.builds(ToolCompleted, ids, st.booleans()),
    st.builds(PermissionAsked, ids, texts, texts, st.none() | ids),
    st.builds(PermissionResolved, ids, st.sampled_from(Decision)),
    st.builds(QuestionAsked, ids, texts),
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
    st.builds(Ended, st.sampled_from(Outcome), st.none() | texts),
)


@given(st.lists(events, max_size=30))
def test_whatever_comes_no_request_outlives_its_turn_and_usage_adds_up(happened: list[TurnEvent]) -> None:
    conversation, total, asked, resolved = Conversation(), Usage(), 0, 0
    for at, event in enumerate(happened):
        before, conversation = conversation, take(conversation, event, float(at))
        if isinstance(event, Usage):
            total += event
        asked += len(conversation.requests) > len(before.requests)
        resolved += len(expired(before, conversation, event))
        resolved += isinstance(event, PermissionResolved) and len(conversation.requests) < len(before.requests)
        assert conversation.turn is not None or not conversation.requests
        assert len({request.id for request in conversation.requests}) == len(conversation.requests)
        if isinstance(event, Ended):
            assert conversation.idle
        if isinstance(event, Started) and (before.last is None or before.last.id != event.turn):
            assert not conversation.idle
    assert conversation.usage == total
    assert asked == resolved + len(conversation.requests)
