"""What came by triggers, and which of it a run is for: functions of frozen values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentd.harness.base import Request
from agentd.harness.builtin import CUSTOM
from agentd.model.order import Overlap
from agentd.model.states import AgentState
from agentd.model.triggers import Delivery, FilePattern, Trigger
from agentd.supervise.applying import TRIGGER_PART
from agentd.supervise.desired import DesiredAgent, Launch, Template
from agentd.supervise.life import Life
from agentd.supervise.plan import Action, plan
from agentd.supervise.trigger_queue import Kept, SeenFiles, TriggerQueue, key
from agentd.supervise.triggering import MOST_WAITING, Standing, Verdict, accept, advance, triggered
from tests.supervise.lives import NO, declared, in_state

INBOX = Trigger("inbox", "a", FilePattern(Path("/in"), "*.csv"))
BUSY = (AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING, AgentState.BACKOFF)
UNBEGUN = {AgentState.PENDING, AgentState.QUEUED, AgentState.STARTING}
"""As also after an agentd that was killed while it launched."""
FRESH = Standing(5.0)


def agent(overlap: Overlap = Overlap.QUEUE, prompt: str = "read {{ trigger.path }}", **fields: object) -> DesiredAgent:
    plain = declared(NO, "first")
    request = Request(prompt=prompt, command=("run",))
    spec = replace(plain.spec, triggers=(replace(INBOX, overlap=overlap),), **fields)  # type: ignore[arg-type]
    return replace(
        plain,
        spec=spec,
        launch=Launch(CUSTOM.argv(request), {}),
        template=Template(CUSTOM, request) if "{{" in prompt else None,
    )


def came(id_: str, path: str = "/in/x.csv") -> Delivery:
    return Delivery(id_, "inbox", {"path": path, "name": path.rpartition("/")[2]}, 7.0)


def life(state: AgentState, start: str | None = None) -> Life:
    known = in_state(state).life
    return known if start is None else replace(known, fingerprint={**(known.fingerprint or {}), TRIGGER_PART: start})


def argv(desired: DesiredAgent) -> tuple[str, ...]:
    assert desired.launch is not None, desired.error
    return desired.launch.argv


def test_what_is_declared_waits_for_its_trigger() -> None:
    assert advance(agent(), None, None, 5.0) == FRESH
    given = triggered(agent(), FRESH, None)
    assert str(given.queued) == "queued: it is started by the trigger inbox: a file /in/*.csv"
    (start,) = plan([given.view], [])
    assert (start.action, start.waits) == (Action.START, (str(given.queued),))


def test_what_comes_is_run_with_its_values_in_the_prompt() -> None:
    standing = accept(FRESH, INBOX, came("1"), None).standing
    given = triggered(agent(), standing, None)
    assert given.queued is None
    assert argv(given) == ("run", 'read "/in/x.csv"')
    assert given.fingerprint == {"argv": "first", TRIGGER_PART: "1"}
    (start,) = plan([given.view], [])
    assert (start.action, start.reason, start.waits) == (Action.START, "started by its trigger", ())


def test_it_waits_until_its_run_is_seen_to_have_begun() -> None:
    standing = accept(FRESH, INBOX, came("1"), None).standing
    for state in UNBEGUN:
        assert advance(agent(), standing, life(state, "1"), 6.0) is standing
    for state in set(AgentState) - UNBEGUN:
        begun = advance(agent(), standing, life(state, "1"), 6.0)
        assert (begun.waiting, begun.current) == ((), came("1"))
    assert advance(agent(), standing, life(AgentState.RUNNING, "0"), 6.0) is standing


def test_what_came_before_is_no_news() -> None:
    standing = accept(FRESH, INBOX, came("1"), None).standing
    standing = advance(agent(), standing, life(AgentState.RUNNING, "1"), 6.0)
    again = accept(standing, INBOX, came("1"), None)
    assert (again.verdict, again.standing) == (Verdict.KNOWN, standing)


def test_what_has_its_run_is_known_by_it_where_what_was_kept_is_lost() -> None:
    for state in set(AgentState) - UNBEGUN:
        known = accept(FRESH, INBOX, came("1"), life(state, "1"))
        assert known.verdict is Verdict.KNOWN
        assert (known.standing.waiting, known.standing.current, known.standing.done) == ((), came("1"), ("1",))
    # Until its process is there it may have to be launched once more.
    launching = accept(FRESH, INBOX, came("1"), life(AgentState.STARTING, "1"))
    assert (launching.verdict, launching.standing.waiting) == (Verdict.ACCEPTED, (came("1"),))
    begun = advance(agent(), launching.standing, life(AgentState.RUNNING, "1"), 6.0)
    assert (begun.waiting, begun.current) == ((), came("1"))


@pytest.mark.parametrize("state", BUSY)
def test_while_a_run_is_not_over_overlap_decides(state: AgentState) -> None:
    there = life(state, "1")
    current = replace(FRESH, current=came("1"), done=("1",))
    queued = accept(current, INBOX, came("2"), there)
    assert queued.verdict is Verdict.ACCEPTED
    assert triggered(agent(), queued.standing, there).fingerprint == there.fingerprint
    skipped = accept(current, replace(INBOX, overlap=Overlap.SKIP), came("2"), there)
    assert skipped.verdict is Verdict.SKIPPED
    assert skipped.reason == f"a run is not over, and overlap is skip: the agent is {state}"
    assert accept(skipped.standing, INBOX, came("2"), there).verdict is Verdict.KNOWN
    stops = triggered(agent(Overlap.STOP), queued.standing, there)
    assert (stops.fingerprint or {})[TRIGGER_PART] == "2"
    (restart,) = plan([stops.view], [there.view])
    assert (restart.action, restart.reason) == (Action.RESTART, "started by its trigger")


def test_each_has_a_run_in_the_order_in_which_they_came() -> None:
    standing = FRESH
    for number in ("1", "2", "3"):
        standing = accept(standing, INBOX, came(number, f"/in/{number}.csv"), None).standing
    there: Life | None = None
    seen = []
    for _ in range(3):
        given = triggered(agent(), standing, there)
        seen.append(argv(given)[-1])
        there = life(AgentState.EXITED, (given.fingerprint or {})[TRIGGER_PART])
        standing = advance(agent(), standing, there, 6.0)
    assert seen == ['read "/in/1.csv"', 'read "/in/2.csv"', 'read "/in/3.csv"']
    assert plan([triggered(agent(), standing, there).view], [there.view] if there else []) == ()


def test_too_much_is_not_taken_and_may_come_again() -> None:
    standing = FRESH
    for number in range(MOST_WAITING):
        standing = accept(standing, INBOX, came(str(number)), None).standing
    full = accept(standing, INBOX, came("more"), None)
    assert (full.verdict, full.standing) == (Verdict.FULL, standing)


def test_a_restart_by_hand_runs_the_last_one_again() -> None:
    standing = replace(FRESH, current=came("1"), done=("1",))
    ended, asked = life(AgentState.EXITED, "1"), agent(restarted_at="now")
    standing = advance(asked, standing, ended, 6.0)
    assert standing.by_hand
    assert argv(triggered(asked, standing, ended)) == ("run", 'read "/in/x.csv"')
    # Nothing came yet: there is nothing to run again.
    assert not advance(asked, FRESH, None, 6.0).by_hand
    plain = agent(prompt="go", restarted_at="now")
    assert advance(plain, FRESH, None, 6.0).by_hand
    assert argv(triggered(plain, advance(plain, FRESH, None, 6.0), None)) == ("run", "go")


def test_a_run_whose_values_are_not_known_goes_on_and_is_not_launched_again_without_them() -> None:
    there = life(AgentState.RUNNING, "lost")
    given = triggered(agent(), FRESH, there)
    assert given.launch is None
    assert given.error == "what its trigger brought is not known; its prompt has variables for it"
    assert plan([given.view], [there.view]) == ()


def test_a_value_that_is_missing_fails_the_run_with_a_reason() -> None:
    desired = agent(prompt="{{ trigger.path }} {{ trigger.more }}")
    given = triggered(desired, accept(FRESH, INBOX, came("1"), None).standing, None)
    assert given.launch is None
    assert given.error == "the trigger inbox brought no more, which its prompt has a variable for"


def test_the_queue_keeps_what_it_accepts_before_it_says_so() -> None:
    kept: list[Kept] = []

    queue = TriggerQueue(keep=kept.append, wall=lambda: 5.0)
    known = {"a": agent(), "b": declared(NO, "first")}
    given = queue.apply(known, dict, all_known=True)
    assert given["b"] is known["b"]
    assert queue.apply(known, dict, all_known=True) is given
    seen = SeenFiles(3, frozenset({"x.csv"}))
    assert queue.offer(INBOX, came("1"), None, seen) == (Verdict.ACCEPTED, None)
    assert kept[-1] == Kept({"a": accept(FRESH, INBOX, came("1"), None).standing}, {key(INBOX): seen})
    assert queue.waits
    # Another agentd goes on from there.
    later = TriggerQueue(load=lambda: kept[-1], keep=kept.append, wall=lambda: 9.0)
    assert argv(later.apply(known, dict, all_known=True)["a"]) == ("run", 'read "/in/x.csv"')
    # What cannot be read now is not forgotten; what is not declared any more is.
    later.apply({}, dict, all_known=False)
    assert kept[-1].standings.keys() == {"a"}
    later.apply({}, dict, all_known=True)
    assert kept[-1] == Kept()


def test_what_cannot_be_written_down_is_not_safe_until_it_has_its_run() -> None:
    there: dict[str, Life] = {}
    written = False
    queue = TriggerQueue(is_written=lambda: written, wall=lambda: 5.0)
    queue.apply({"a": agent()}, lambda: there, all_known=True)
    assert queue.offer(INBOX, came("1"), None) == (Verdict.ACCEPTED, None)
    assert not queue.written
    assert not queue.is_safe("a", "1")
    there["a"] = life(AgentState.RUNNING, "1")
    queue.apply({"a": agent()}, lambda: there, all_known=True)
    assert queue.is_safe("a", "1")
    assert queue.offer(INBOX, came("2"), there["a"]) == (Verdict.ACCEPTED, None)
    assert not queue.is_safe("a", "2")
    # With room for it again, what is written down is safe.
    written = True
    assert queue.is_safe("a", "2")
