from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.harness.base import StopKey
from agentd.model.spec import AgentSpec, AgentType, Policy, RestartPolicy
from agentd.model.states import AgentState
from agentd.supervise.desired import DEFAULT_STOP_KEYS
from agentd.supervise.life import Life, Run
from agentd.supervise.policy import Exit
from agentd.supervise.record import VERSION, Description, Record, RecordError
from agentd.supervise.transitions import wake_at
from tests.supervise.lives import ALWAYS, Story, in_state, running

DESCRIBED = Description("claude-code", "native", "a", "/srv/überall ✓")

texts = st.text(max_size=20)
times = st.floats(0, 1e12, allow_nan=False)
runs = st.builds(
    Run,
    texts,
    launched=st.none() | times,
    started=st.none() | times,
    started_wall=st.none() | times,
    pid=st.none() | st.integers(1, 2**22),
    ended=st.none() | times,
    restart=st.booleans(),
)
exits = st.builds(Exit, st.none() | st.integers(0, 255), st.none() | st.integers(1, 64), st.none() | texts)
policies = st.builds(
    Policy,
    st.sampled_from(RestartPolicy),
    st.integers(0, 10**6),
    times,
    times,
    times,
    st.lists(st.integers(0, 255)).map(tuple),
    st.none() | times,
    times,
)
lives = st.builds(
    Life,
    name=texts,
    state=st.sampled_from(AgentState),
    policy=policies,
    fingerprint=st.none() | st.dictionaries(texts, texts, max_size=4),
    stop_keys=st.lists(st.builds(StopKey, texts, times), min_size=1, max_size=3).map(tuple),
    run=st.none() | runs,
    last_exit=st.none() | exits,
    outcome=st.none() | exits,
    error=st.none() | texts,
    restarts=st.integers(0, 10**9),
    counted=st.integers(0, 10**9),
    refusals=st.integers(0, 10**9),
    began=st.none() | times,
    began_wall=st.none() | times,
    due=st.none() | times,
    session_open=st.booleans(),
)


def test_refusals_are_read_by_their_former_name_too() -> None:
    record = Record.of(replace(in_state(AgentState.FAILED).life, refusals=3), DESCRIBED)
    assert '"refusals":3' in record.dump()
    assert Record.parse(record.dump().replace("refusals", "unbegun")) == record == Record.parse(record.dump())


def as_at_its_launch(life: Life) -> Life:
    """What is kept of a life: of a run under way only that it was launched, for the launcher tells the rest."""
    under_way = (AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING)
    if life.run is None or life.state not in under_way:
        return life
    if life.run.ended is not None and life.state is not AgentState.STOPPING:
        return life
    return replace(life, state=AgentState.STARTING, run=Run(life.run.id, restart=life.run.restart), error=None)


descriptions = st.builds(Description, texts, texts, texts, texts)


@given(lives, descriptions)
def test_a_life_comes_back_from_its_record_as_it_was(life: Life, described: Description) -> None:
    record = Record.parse(Record.of(life, described).dump())
    assert record == Record.of(life, described)
    assert record.described == described
    assert record.life(session_open=life.session_open) == as_at_its_launch(life)


@given(lives, descriptions)
def test_a_record_is_one_line_without_control_characters(life: Life, described: Description) -> None:
    assert Record.of(life, described).dump().isprintable()


@pytest.mark.parametrize("text", ["\x7f", "\x85", "\u2028", "\x1b[0m", "\n", '"', "\\u007f", "é ✓ 𝄞\x7f"])
def test_no_text_breaks_a_record(text: str) -> None:
    described = Description(text, text, text, text)
    dumped = Record.of(Life(text, error=text), described).dump()
    assert dumped.isprintable()
    assert Record.parse(dumped).described == described
    assert Record.parse(dumped).error == text


@pytest.mark.parametrize("state", AgentState)
def test_every_state_comes_back_with_what_matters(state: AgentState) -> None:
    life = in_state(state, ALWAYS).life if state is AgentState.BACKOFF else in_state(state).life
    back = Record.parse(Record.of(life, DESCRIBED).dump()).life(session_open=True)
    kept = as_at_its_launch(life)
    assert (back.state, back.restarts, back.counted) == (kept.state, kept.restarts, kept.counted)
    assert (back.due, back.began, back.policy, back.run) == (kept.due, kept.began, kept.policy, kept.run)
    assert (back.desired, back.stop, back.gone) == (None, None, False)


def test_a_stop_that_is_not_complete_is_a_run_under_way_to_a_later_daemon() -> None:
    """Whose end it finds; with what it cannot know, why it was stopped, it could not go on."""
    life = replace(in_state(AgentState.EXITED).life, state=AgentState.STOPPING)
    assert life.run is not None
    back = Record.of(life, DESCRIBED).life(session_open=True)
    assert (back.state, back.run) == (AgentState.STARTING, Run(life.run.id))
    assert wake_at(back) is None


def test_restarts_back_off_and_deadline_survive() -> None:
    story = running(Policy(restart=RestartPolicy.ALWAYS, timeout=500.0)).exited(10)
    story.wait()
    story.opened(13).started(13).exited(14)
    back = Record.parse(Record.of(story.life, DESCRIBED).dump()).life(session_open=True)
    assert (back.restarts, back.due, back.deadline) == (1, 20.0, 500.0)


def test_a_fingerprint_of_any_mapping_is_kept() -> None:
    life = Life("a", fingerprint=MappingProxyType({"argv": "1"}))
    assert Record.parse(Record.of(life, DESCRIBED).dump()).fingerprint == {"argv": "1"}


def test_without_stop_keys_the_default_ones_are_typed() -> None:
    record = Record.of(Life("a", stop_keys=()), DESCRIBED)
    assert record.life(session_open=False).stop_keys == DEFAULT_STOP_KEYS


def test_a_description_is_taken_from_the_declaration() -> None:
    spec = AgentSpec("a", "codex", "b", Path("/srv"), type=AgentType.SANDBOXED, prompt="secret plans")
    assert Description.of(spec) == Description("codex", "sandboxed", "b", "/srv")


def test_a_record_does_not_carry_what_was_declared_for_the_launch() -> None:
    story = running()
    assert "first" not in Record.of(story.life, DESCRIBED).dump().replace('"argv":"first"', "")


# -- damage

WHOLE = Record.of(running(ALWAYS).exited(5).life, DESCRIBED).dump()


def test_the_record_that_is_damaged_below_is_whole() -> None:
    assert Record.parse(WHOLE).state is AgentState.BACKOFF


@given(st.integers(0, len(WHOLE) - 1))
def test_a_record_cut_short_is_refused(length: int) -> None:
    with pytest.raises(RecordError, match="expected agentd's record"):
        Record.parse(WHOLE[:length])


@given(st.integers(0, len(WHOLE) - 1), st.characters())
def test_a_record_with_another_character_is_read_or_refused(index: int, character: str) -> None:
    with contextlib.suppress(RecordError):
        Record.parse(WHOLE[:index] + character + WHOLE[index + 1 :])


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        Record.parse(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_other_json_is_refused(value: object) -> None:
    with pytest.raises(RecordError):
        Record.parse(json.dumps(value))


def test_a_run_under_way_has_one_record_from_its_launch_to_its_end() -> None:
    story = running()
    dumped = {Record.of(Story().define(0).life, DESCRIBED).dump(), Record.of(story.life, DESCRIBED).dump()}
    dumped.add(Record.of(story.define(1, launch="second").life, DESCRIBED).dump())
    assert len(dumped) == 1


@pytest.mark.parametrize("field", ["v", "agent", "described", "state"])
def test_a_record_without_one_of_its_parts_is_refused_and_named(field: str) -> None:
    document = json.loads(WHOLE)
    del document[field]
    with pytest.raises(RecordError, match=field):
        Record.parse(json.dumps(document))


@pytest.mark.parametrize("field", json.loads(WHOLE))
def test_a_record_with_a_part_of_another_kind_is_refused(field: str) -> None:
    document = json.loads(WHOLE)
    document[field] = [[]]
    with pytest.raises(RecordError, match=field):
        Record.parse(json.dumps(document))


@pytest.mark.parametrize("text", ["\udc80", WHOLE.replace("native", "\udcff"), WHOLE + "x", "[" * 10_000, "", "{}"])
def test_damage_of_every_kind_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(RecordError) as caught:
        Record.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [0, VERSION + 1])
def test_a_record_of_another_version_is_refused(version: int) -> None:
    document = json.loads(WHOLE)
    document["v"] = version
    with pytest.raises(RecordError, match=f"expected a record of version {VERSION}, found {version}"):
        Record.parse(json.dumps(document))
