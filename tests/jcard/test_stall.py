"""The field ``stall``: how long an agent may be at work without going on, and what is tried then."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import jsonschema
import pydantic_core
import pytest

from agentd.cli.agentctl.preview import _policy
from agentd.jcard.schema import agent_schema
from agentd.model.spec import Policy
from agentd.model.stall import Stall, StallAction
from tests.jcard.loading import agent_of, errors_of, warnings_of

ALL = (StallAction.INTERRUPT, StallAction.RESUME, StallAction.RESTART, StallAction.NOTIFY)


def written(value: str, harness: str = "claude-code") -> str:
    return f'[agent]\nname = "x"\nharness = "{harness}"\nstall = {value}\n'


@pytest.mark.parametrize(
    ("value", "stall"),
    [
        ("{}", Stall(600, 1800, (StallAction.NOTIFY,))),
        ('{ model = "5m" }', Stall(300, 1800)),
        ('{ tool = "0s", action = ["interrupt", "resume", "restart", "notify"] }', Stall(600, None, ALL)),
        ('{ model = "1s", tool = "1h" }', Stall(1, 3600)),
    ],
)
def test_what_is_left_out_has_a_default(value: str, stall: Stall) -> None:
    assert agent_of(f"stall = {value}").policy.stall == stall


def test_without_it_there_is_none() -> None:
    assert agent_of("").policy.stall is None


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ('{ model = "10ms" }', r'stall\.model: found "10ms", expected at least "1s", or 0s for any time'),
        ("{ tool = 30 }", r'stall\.tool: found 30, which has no unit: write "30s"'),
        ('{ action = ["interupt"] }', r'stall\.action\[0\]: found "interupt", .*did you mean "interrupt"\?'),
        ("{ action = [] }", r"stall\.action: found an empty array, expected one of"),
        ('{ action = ["notify", "notify"] }', r'stall\.action: found "notify" twice; each is tried once'),
        ('{ models = "5m" }', r"stall\.models: unknown key, expected model, tool, action"),
        ('"5m"', r'stall: found "5m", expected a table such as \{ model = "10m"'),
    ],
)
def test_what_is_wrong_is_an_error_at_its_place(value: str, error: str) -> None:
    (found,) = errors_of(written(value))
    assert re.search(error, found)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (written('{ model = "0s", tool = "0s" }'), "stall: has no effect: model and tool are both 0s"),
        (written("{}") + "turns = false\n", "stall: has no effect: turns = false, so its turns are not watched"),
        (written("{}") + 'type = "sandboxed"\nsandbox = "gvisor"\n', "it is in gVisor's sandbox"),
    ],
)
def test_what_is_never_found_is_a_warning(text: str, warning: str) -> None:
    (found,) = warnings_of(text)
    assert warning in found


def test_of_a_custom_program_output_tells_without_turns() -> None:
    assert warnings_of(written("{}", "custom") + 'command = ["x"]\nturns = false\n') == []


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({"model": "10m", "tool": "30m", "action": ["interrupt", "notify"]}, True),
        ({}, True),
        ({"model": 5}, False),
        ({"action": []}, False),
        ({"action": ["wait"]}, False),
        ({"models": "5m"}, False),
        ("5m", False),
    ],
)
def test_the_schema_takes_what_the_loader_takes(value: object, good: bool) -> None:
    schema = {**agent_schema()}
    assert jsonschema.Draft202012Validator(schema).is_valid({"harness": "codex", "stall": value}) is good


def test_agentctl_reads_it_from_the_api() -> None:
    for each in (Stall(), Stall(None, 5.0, ALL), None):
        policy = replace(Policy(), stall=each)
        assert _policy(json.loads(pydantic_core.to_json(policy))) == policy
