"""The encoding of any value the supervisor may hold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from agentd.api.views import AGENT, AGENTS, PLAN, ListView
from agentd.model.plan_report import ObservedAgentView
from tests.api.memory_source import PLAN as SOME_PLAN
from tests.api.memory_source import RUNNING
from tests.support.effort import examples

TEXT = st.text(st.characters(codec="utf-8"))


@examples(10)
@given(name=TEXT, error=st.none() | TEXT, pid=st.none() | st.integers(), uptime=st.integers(min_value=0))
def test_any_agent_comes_back_as_it_was(name: str, error: str | None, pid: int | None, uptime: int) -> None:
    status = replace(RUNNING, name=name, error=error, pid=pid, uptime_seconds=uptime)
    assert json.loads(AGENT.encode(status).decode("utf-8")) == asdict(status)
    assert json.loads(AGENTS.encode([status, RUNNING])) == [asdict(status), asdict(RUNNING)]


@given(error=st.text(st.characters()))
def test_text_with_surrogates_still_gives_valid_json_in_utf_8(error: str) -> None:
    shown = json.loads(AGENTS.encode([replace(RUNNING, error=error)]).decode("utf-8"))[0]
    assert shown == {**asdict(RUNNING), "error": error.encode("utf-8", "replace").decode()}


@dataclass
class _Counter:
    """A value that changes, unlike those that are shown: so one sees what was encoded again."""

    at: int


def test_of_a_list_only_what_is_another_value_is_encoded_again() -> None:
    view = ListView(list[_Counter], _Counter)
    first, second = _Counter(1), _Counter(2)
    assert view.encode([first, second]) == b'[{"at":1},{"at":2}]'
    first.at = 10
    assert view.encode([second, first, first, _Counter(3)]) == b'[{"at":2},{"at":1},{"at":1},{"at":3}]'
    assert view.encode([second]) == b'[{"at":2}]'
    # It was not in the answer before.
    assert view.encode([first]) == b'[{"at":10}]'
    assert view.encode([]) == b"[]"


def test_a_plan_with_surrogates_in_a_mapping_is_encoded() -> None:
    seen = ObservedAgentView("a", "running", {"caf\udce9": "x"}, {"a": ("\udce9",)}, "\udce9", None, (), {})
    plan = replace(SOME_PLAN, observed=(seen,))
    observed = json.loads(PLAN.encode(plan))["observed"][0]
    assert observed == {
        "name": "a",
        "state": "running",
        "launch": {"caf?": "x"},
        "policy": {"a": ["?"]},
        "source": "?",
        "sandbox": None,
        "use": [],
        "ports": {},
    }
