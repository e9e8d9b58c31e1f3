"""The pure parts: the queue, the states, what lines of agentd's stream mean, what is likely the matter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.gateway.engine.status import codex_invocation
from agentd.gateway.model.diagnosis import Facts, likely_issue, without_secrets
from agentd.gateway.model.follow import (
    Asked,
    Began,
    Change,
    Line,
    NotDelivered,
    Progress,
    Resolved,
    Told,
    TurnEnded,
    take,
)
from agentd.gateway.model.objects import EventType, Run, RunError
from agentd.gateway.model.outcome import Exit, outcome_of
from agentd.gateway.model.queue import Start, Waiting, Working, startable
from agentd.gateway.model.states import NEXT, RunStatus, legal
from agentd.turns.conversation import LONGEST_TEXT


def test_the_states_are_those_of_the_contract() -> None:
    ends = {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.TIMED_OUT}
    waits = {RunStatus.AWAITING_INPUT, RunStatus.AWAITING_PARENT}
    assert NEXT[RunStatus.QUEUED] == {RunStatus.RUNNING, RunStatus.CANCELED}
    assert NEXT[RunStatus.RUNNING] == ends | waits
    for status in waits:
        assert NEXT[status] == ends - {RunStatus.SUCCEEDED} | {RunStatus.RUNNING}
    assert not any(legal(status, to) for status in ends for to in RunStatus)


def test_the_queue_is_first_in_first_out_over_all_agents_that_are_free() -> None:
    queue = [Waiting("1", "a"), Waiting("2", "a"), Waiting("3", "b"), Waiting("4", "c"), Waiting("5", "d")]
    assert startable(queue, [Working("b", 2)], 3) == [Start("1", 1), Start("4", 3)]
    assert startable(queue, [Working("x", 1), Working("y", 2), Working("z", 7)], 3) == []
    assert startable([], [], 3) == []


@given(
    st.lists(st.sampled_from("abcde")),
    st.lists(st.sampled_from("abcde"), unique=True, max_size=4),
    st.integers(min_value=1, max_value=6),
)
def test_no_more_start_than_may_and_none_beside_another_of_its_agent(
    queue: list[str], busy: list[str], workers: int
) -> None:
    waiting = [Waiting(str(number), target) for number, target in enumerate(queue)]
    working = [Working(target, number + 1) for number, target in enumerate(busy)]
    starts = startable(waiting, working, workers)
    assert len(working) + len(starts) <= max(workers, len(working))
    targets = [queue[int(start.run_id)] for start in starts]
    assert len({*targets, *busy}) == len(targets) + len(busy)
    assert len({start.worker for start in starts} | {each.worker for each in working}) == len(starts) + len(working)
    assert [int(start.run_id) for start in starts] == sorted(int(start.run_id) for start in starts)
    # None waits that could start.
    if len(working) + len(starts) < workers:
        assert {*queue} <= {*targets, *busy}


def line(kind: str, **fields: object) -> Line:
    return {"kind": kind, "message": "m", "turn": "t", **fields}  # type: ignore[dict-item]


def taken(*lines: Line) -> list[Change]:
    progress, changes = Progress(), []
    for each in lines:
        progress, more = take(progress, each, "m")
        changes += more
    return changes


def output(*lines: Line) -> list[tuple[object, object]]:
    return [
        (change.data["message"], change.data["text"])
        for change in taken(*lines)
        if isinstance(change, Told) and change.type is EventType.RUN_OUTPUT
    ]


END = line("message", status="ended", outcome="completed", final_text="two")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line("text_delta", text="tw"), line("text_delta", text="o"), END], [(0, "tw"), (0, "o")]),
        ([line("text", text="one"), line("text", text="two"), END], [(0, "one"), (1, "two")]),
        ([line("text_delta", text="one"), line("text", text="one"), line("text_delta", text="t"), END],
         [(0, "one"), (1, "t"), (1, "wo")]),
        ([line("text_delta", text="t"), line("text", text="two"), END], [(0, "t"), (0, "wo")]),
        ([END], [(0, "two")]),
        ([line("text", text="two\n"), END], [(0, "two\n")]),
        ([line("text_delta", text="other"), END], [(0, "other")]),
    ],
)  # fmt: skip
def test_output_is_told_once_in_the_pieces_that_come(lines: list[Line], expected: list[tuple[int, str]]) -> None:
    assert output(*lines) == expected


@pytest.mark.parametrize("before", [[], [line("text_delta", text="two")], [line("text", text="two")]])
def test_an_end_that_is_told_again_with_its_usage_says_the_answer_once(before: list[Line]) -> None:
    used: Line = {**END, "usage": {"input_tokens": 3, "output_tokens": 4}}
    assert output(*before, END, line("usage", input_tokens=3), used) == [(0, "two")]
    long = "x" * LONGEST_TEXT
    pieces = line("text_delta", text=long), line("text_delta", text="y")
    assert len(output(*pieces, {**END, "final_text": long}, {**END, "final_text": long})) == 2


def test_lines_of_other_turns_say_nothing() -> None:
    assert taken({**line("text_delta", text="x"), "message": None}, {**END, "message": "other"}, {}) == []


def test_lines_become_what_happens_in_a_run() -> None:
    changes = taken(
        line("message", status="queued"),
        line("message", status="started", turn="t"),
        line("tool_started", tool="1", name="Bash", text="ls"),
        line("permission_asked", request="r", name="Bash", text="ls"),
        line("permission_resolved", request="r", decision="allow"),
        line("tool_completed", tool="1", ok=False),
        line("question_asked", request="q", text="Which?", choices=["a", 1, "b"]),
        line("message", status="failed", error="why", run="run"),
    )
    assert changes == [
        Began("t"),
        Told(EventType.RUN_TOOL_STARTED, {"tool": "1", "name": "Bash", "text": "ls"}),
        Asked("r", False, "Bash", "ls", ()),
        Resolved("r", "allow"),
        Told(EventType.BACKEND_EVENT, {"kind": "permission_resolved", "request_id": "r", "decision": "allow"}),
        Told(EventType.RUN_TOOL_COMPLETED, {"tool": "1", "ok": False}),
        Asked("q", True, "", "Which?", ("a", "b")),
        NotDelivered("failed", "why", "run"),
    ]


def test_of_a_very_long_answer_agentd_keeps_the_beginning_and_nothing_is_missing() -> None:
    kept = "x" * LONGEST_TEXT
    *_, ended = taken(line("text_delta", text=kept), line("text_delta", text="y"), {**END, "final_text": kept})
    assert isinstance(ended, TurnEnded)
    assert ended.result == f"{kept}y"


def test_usage_that_the_harness_does_not_tell_is_not_known() -> None:
    (ended,) = taken({**END, "final_text": None, "usage": {"input_tokens": 0, "output_tokens": 0}})
    assert ended == TurnEnded("completed", None, None, None, None, None)
    (ended,) = taken({**END, "final_text": "", "usage": {"input_tokens": 3, "output_tokens": 4, "cost_usd": 0.5}})
    assert isinstance(ended, TurnEnded)
    assert ended.usage == {
        "input_tokens": 3,
        "output_tokens": 4,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "total_tokens": 7,
        "cost_usd": 0.5,
    }


ENDED = TurnEnded("completed", "x", None, None, None, None)


@pytest.mark.parametrize(
    ("ended", "exit_", "status", "code"),
    [
        (ENDED, None, RunStatus.SUCCEEDED, None),
        (replace(ENDED, outcome="interrupted"), None, RunStatus.CANCELED, "interrupted"),
        (replace(ENDED, outcome="failed", failure="usage_limit"), None, RunStatus.FAILED, "usage_limit"),
        (replace(ENDED, outcome="failed", failure="auth_error"), None, RunStatus.FAILED, "auth_error"),
        (replace(ENDED, outcome="failed", failure="other"), None, RunStatus.FAILED, "harness_failed"),
        (replace(ENDED, outcome="lost"), Exit(None, 9), RunStatus.FAILED, "worker_lost"),
        (replace(ENDED, outcome="lost"), None, RunStatus.FAILED, "worker_lost"),
        (NotDelivered("failed", None, None), None, RunStatus.FAILED, "worker_lost"),
        (NotDelivered("expired", None, None), None, RunStatus.TIMED_OUT, "timeout"),
        (NotDelivered("withdrawn", None, None), None, RunStatus.CANCELED, "interrupted"),
    ],
)
def test_a_run_ends_as_its_turn_does(
    ended: TurnEnded | NotDelivered, exit_: Exit | None, status: RunStatus, code: str | None
) -> None:
    found, error = outcome_of(ended, exit_)
    assert (found, error and error.code) == (status, code)


RUN = Run(
    id="run_1", session_id="ses_1", parent_run_id=None, status=RunStatus.RUNNING, prompt="x", result_text=None,
    error=None, exit_code=None, exit_signal=None, usage=None, worker_id=None, created_at=0.0, started_at=None,
    ended_at=None, timeout_s=None,
)  # fmt: skip

WELL = Facts(True, False, True, "running", None, "working", 1.0)


@pytest.mark.parametrize(
    ("status", "facts", "error", "issue"),
    [
        ("queued", replace(WELL, agentd_reachable=False), None, "no_workers"),
        ("queued", replace(WELL, session_busy=True), None, "waiting_for_session"),
        ("queued", replace(WELL, workers_free=False), None, "waiting_for_worker"),
        ("queued", WELL, None, "none"),
        ("running", WELL, None, "none"),
        ("running", replace(WELL, agentd_reachable=False), None, "no_workers"),
        ("running", replace(WELL, activity="usage_limit"), None, "usage_limit"),
        ("running", replace(WELL, activity="auth_error"), None, "auth_error"),
        ("running", replace(WELL, agent_state="backoff", agent_error="exit 1"), None, "worker_lost"),
        ("running", replace(WELL, agent_state="backoff", agent_error='cannot find the program "codex" on'), None,
         "harness_missing"),
        ("running", replace(WELL, seconds_since_event=1000.0), None, "no_output"),
        ("awaiting_input", WELL, None, "awaiting_input"),
        ("awaiting_parent", WELL, None, "awaiting_parent"),
        ("succeeded", WELL, None, "none"),
        ("canceled", WELL, None, "canceled"),
        ("timed_out", WELL, None, "timeout"),
        ("failed", WELL, RunError("auth_error", ""), "auth_error"),
        ("failed", WELL, RunError("usage_limit", ""), "usage_limit"),
        ("failed", WELL, RunError("worker_lost", ""), "worker_lost"),
        ("failed", WELL, RunError("agent_not_ready", "the program /x does not exist"), "harness_missing"),
        ("failed", WELL, RunError("agent_not_ready", "not declared"), "worker_lost"),
        ("failed", WELL, RunError("harness_failed", "connect ECONNREFUSED 127.0.0.1:1"), "provider_unreachable"),
        ("failed", WELL, RunError("harness_failed", "HTTP 500"), "harness_failed"),
        ("failed", WELL, None, "harness_failed"),
    ],
)  # fmt: skip
def test_what_is_likely_the_matter(status: str, facts: Facts, error: RunError | None, issue: str) -> None:
    assert likely_issue(replace(RUN, status=RunStatus(status), error=error), facts) == issue


def test_a_command_line_is_shown_without_what_may_be_secret() -> None:
    words = (
        "codex",
        "--api-key",
        "hunter2",
        "--token=hunter2",
        "-p",
        "work",
        "auth.secret=hunter2",
        "--key",
        "--quiet",
    )
    assert without_secrets(words) == (
        "codex", "--api-key", "***", "--token=***", "-p", "work", "auth.secret=***", "--key", "--quiet"
    )  # fmt: skip


@pytest.mark.parametrize(
    "word",
    [
        "Authorization: Bearer hunter2",
        "X-Api-Key: hunter2",
        "postgresql://agent:hunter2@db/name",
        'mcp_servers.x.env={ REGION = "eu", API_KEY = "hunter2" }',
        '{"env":{"GITHUB_TOKEN": "hunter2"},"headers":{"Authorization":"Bearer hunter2"}}',
        "Authorization: token hunter2",
        "-HProxy-Authorization: ApiKey hunter2",
        "Cookie: session=hunter2; theme=hunter2",
        "https://hunter2@example.com/repository.git",
        r'{"args":"{\"API_KEY\": \"hunter2\"}"}',
        r'{"password":"a\"hunter2"}',
        '{"password":"hunter2 and more of hunter2',
    ],
)
def test_a_word_is_shown_without_what_may_be_secret_inside_of_it(word: str) -> None:
    (shown,) = without_secrets((word,))
    assert "hunter2" not in shown
    assert "***" in shown
    assert word.startswith(shown.partition("***")[0])


@pytest.mark.parametrize(
    ("args", "profile"),
    [((), None), (("-p", "work"), "work"), (("--profile=work", "-q"), "work"), (("-q",), None), (("-p",), None)],
)
def test_how_codex_is_started(args: tuple[str, ...], profile: str | None) -> None:
    invocation = codex_invocation(args)
    assert (invocation.profile, invocation.extra_args) == (profile, args)
