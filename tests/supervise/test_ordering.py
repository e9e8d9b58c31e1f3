"""What an agent waits for by its ``after``: a function of frozen values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.order import After, Outcome
from agentd.model.states import AgentState
from agentd.supervise.admission import Admission
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life
from agentd.supervise.ordering import unmet
from tests.supervise.lives import NO, declared, in_state


def agent(name: str, *after: After, launch: str = "first") -> DesiredAgent:
    plain = declared(NO, launch)
    return replace(plain, spec=replace(plain.spec, name=name, after=after))


def why(desired: list[DesiredAgent], **lives: Life) -> dict[str, str]:
    return dict(unmet({each.spec.name: each for each in desired}, lives))


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("state", AgentState)
def test_an_agent_waits_until_another_has_ended_so(state: AgentState, outcome: Outcome) -> None:
    means = {
        Outcome.SUCCESS: state is AgentState.EXITED,
        Outcome.FAILURE: state in (AgentState.FAILED, AgentState.TIMED_OUT),
        Outcome.END: state.ended,
    }
    found = why([agent("build"), agent("test", After("build", outcome))], build=in_state(state).life)
    how = "end" if outcome is Outcome.END else f"end with {outcome}"
    assert found == ({} if means[outcome] else {"test": f"build is to {how}, and is {state}"})


def test_what_has_ended_counts_no_more_once_it_is_declared_anew() -> None:
    ended = in_state(AgentState.EXITED).life
    assert why([agent("build", launch="second"), agent("test", After("build"))], build=ended) == {
        "test": "build is to end with success, and is pending"
    }


def test_a_name_is_of_all_its_replicas_and_without_regard_to_case() -> None:
    desired = [agent("build-0"), agent("build-1"), agent("test", After("Build"))]
    assert why(desired, **{"build-0": in_state(AgentState.EXITED).life}) == {
        "test": "build-1 is to end with success, and is pending"
    }
    assert why([agent("test", After("build"))]) == {"test": "build is not declared"}


def test_who_waits_for_another_has_no_place_and_takes_no_slot() -> None:
    desired = {each.spec.name: each for each in (agent("build"), agent("test", After("build")))}
    admission = Admission()
    admitted = admission.admit(desired, {}, 5.0)
    assert admitted["build"] is desired["build"]
    queued = admitted["test"].queued
    assert queued is not None
    assert (queued.place, queued.since) == (None, 5.0)
    assert str(queued) == "queued: build is to end with success, and is pending"
    # Nothing changes by asking again, and it is launched once the other has ended.
    assert admission.admit(desired, {}, 9.0)["test"] is admitted["test"]
    ended = {"build": in_state(AgentState.EXITED).life}
    assert admission.admit(desired, ended, 9.0)["test"] is desired["test"]
