"""The field ``on_usage_limit``: an action, or a table."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import jsonschema
import pytest

from agentd.cli.agentctl.preview import _policy
from agentd.jcard.schema import agent_schema
from agentd.model.spec import Policy
from agentd.model.usage_limits import Hours, LimitAction, UsageLimitPolicy
from tests.jcard.loading import agent_of, errors_of, warnings_of

WAIT = LimitAction.WAIT


def written(value: str) -> str:
    return f'[agent]\nname = "x"\nharness = "codex"\non_usage_limit = {value}\n'


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ('"wait"', UsageLimitPolicy(WAIT, 120.0, 3, None)),
        ('"stop"', UsageLimitPolicy(LimitAction.STOP)),
        ('{ action = "notify" }', UsageLimitPolicy(LimitAction.NOTIFY)),
        (
            '{ action = "wait", jitter = "5m", max_resumes = 0, hours = "08-22" }',
            UsageLimitPolicy(WAIT, 300.0, 0, Hours(480, 1320)),
        ),
        ('{ action = "wait", hours = "22:30-6" }', UsageLimitPolicy(WAIT, hours=Hours(1350, 360))),
        ('{ action = "wait", hours = "0-24" }', UsageLimitPolicy(WAIT, hours=Hours(0, 1440))),
        ('""', None),
    ],
)
def test_both_forms_are_taken(value: str, policy: UsageLimitPolicy | None) -> None:
    assert agent_of(f"on_usage_limit = {value}").policy.on_usage_limit == policy


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ('"waitt"', r'on_usage_limit: found "waitt", expected one of "wait", "stop", "notify"; did you mean "wait"\?'),
        ("3", r'on_usage_limit: found 3, expected one of "wait", "stop", "notify"'),
        ("{ hours = '8-9' }", r'on_usage_limit\.action: missing, expected one of "wait"'),
        (
            '{ action = "wait", hour = "8-9" }',
            r"on_usage_limit\.hour: unknown key .*jitter, max_resumes, hours",
        ),
        ('{ action = "wait", hours = "8-25" }', r'on_usage_limit\.hours: found "8-25", expected a span of the day'),
        ('{ action = "wait", hours = "24-2" }', r"on_usage_limit\.hours: .*between 00:00 and 24:00"),
        ('{ action = "wait", hours = "8-8" }', r'on_usage_limit\.hours: found "8-8", which is no time at all'),
        ('{ action = "wait", jitter = 3 }', r'on_usage_limit\.jitter: found 3, which has no unit: write "3s"'),
        ('{ action = "wait", max_resumes = -1 }', r"on_usage_limit\.max_resumes: found -1, expected at least 0"),
    ],
)
def test_what_is_wrong_is_an_error_at_its_place(value: str, error: str) -> None:
    (found,) = errors_of(written(value))
    assert re.search(error, found)


def test_what_has_no_effect_is_a_warning() -> None:
    (found,) = warnings_of(written('{ action = "stop", jitter = "3s" }'))
    assert 'on_usage_limit.jitter: has no effect with this action, only with "wait"' in found
    assert warnings_of(written('{ action = "wait", jitter = "3s" }')) == []


@pytest.mark.parametrize(
    ("field", "why"),
    [("turns = false", "turns = false"), ('type = "sandboxed"\nsandbox = "gvisor"', "it is in gVisor's sandbox")],
)
def test_one_that_cannot_be_told_to_go_on_is_a_warning(field: str, why: str) -> None:
    (found,) = warnings_of(written('"wait"') + field + "\n")
    assert f"it cannot be told to go on: {why}, so its turns are not watched" in found
    assert warnings_of(written('"stop"') + field + "\n") == []


def test_one_in_a_sandbox_that_is_watched_is_told_to_go_on() -> None:
    assert warnings_of(written('"wait"') + 'type = "sandboxed"\n') == []


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("wait", True),
        ("", True),
        ("go", False),
        ({"action": "wait", "hours": "08-22", "jitter": "2m", "max_resumes": 3}, True),
        ({"action": "wait", "hours": "25-26"}, False),
        ({"jitter": "2m"}, False),
        ({"action": "wait", "every": "2m"}, False),
    ],
)
def test_the_schema_agrees(value: object, good: bool) -> None:
    validator = jsonschema.Draft202012Validator(agent_schema())
    assert validator.is_valid({"harness": "codex", "on_usage_limit": value}) is good


@pytest.mark.parametrize(
    "limit",
    [None, UsageLimitPolicy(WAIT), UsageLimitPolicy(WAIT, 1.0, 0, Hours(0, 60)), UsageLimitPolicy(LimitAction.STOP)],
)
def test_agentctl_reads_back_what_the_api_shows_of_it(limit: UsageLimitPolicy | None) -> None:
    policy = Policy(on_usage_limit=limit)
    assert _policy(json.loads(json.dumps(asdict(policy)))) == policy
