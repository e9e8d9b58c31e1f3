"""Jcards as they were written for the Go agentd: by masterblaster, which writes every field, and by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentd.jcard.budget_table import BudgetTable
from agentd.jcard.gateway_table import GatewayTable
from agentd.jcard.near import _PARTS
from agentd.jcard.otel_table import OtelTable
from agentd.jcard.schema import agent_schema
from agentd.jcard.table import UNSET_WHEN_EMPTY, AgentTable
from agentd.model.limits import SANDBOX_LIMITS, Limits
from agentd.model.spec import AgentType, SandboxSpec
from agentd.text.durations import DURATION_PATTERN
from tests.jcard.loading import agent_of, agents_of, errors_of, load, warnings_of
from tests.support.masterblaster import as_written

NIX = (Path(__file__).resolve().parents[2] / "nix/jcard.nix").read_text(encoding="utf-8")
SANDBOXED = 'type = "sandboxed"\n'


def test_a_jcard_as_masterblaster_writes_it_is_valid_without_a_word() -> None:
    text = as_written(
        {"type": "sandboxed", "name": "builder", "harness": "claude-code", "prompt": "Build it."},
        {"type": "native", "name": "claude-code", "harness": "claude-code", "workdir": "/home/agent/workspace"},
        shared="/workspace",
        secrets={"ANTHROPIC_API_KEY": "sk-1"},
    )
    builder, native = agents_of(text)
    assert (builder.type, builder.prompt, builder.workdir) == (AgentType.SANDBOXED, "Build it.", Path("/workspace"))
    assert native == agents_of('[agent]\nharness = "claude-code"\n')[0]


@pytest.mark.parametrize("field", sorted(UNSET_WHEN_EMPTY - {"harness"}))
def test_an_empty_text_leaves_a_scalar_unset(field: str) -> None:
    assert agent_of(f'{field} = ""') == agent_of("")


def test_an_empty_harness_is_a_missing_one() -> None:
    [error] = errors_of('[agent]\nharness = ""\n')
    assert error.startswith('jcard.toml:2:1: agent "agent": harness: missing, expected one of "claude-code"')


def test_exactly_the_scalars_are_unset_by_an_empty_text() -> None:
    properties: dict[str, dict[str, object]] = agent_schema()["properties"]  # type: ignore[assignment]
    scalar = {name for name, field in properties.items() if field.get("type") not in ("array", "object")}
    assert scalar == UNSET_WHEN_EMPTY


@pytest.mark.parametrize("field", sorted(set(AgentTable.model_fields) - UNSET_WHEN_EMPTY))
def test_an_empty_text_is_no_list_and_no_table(field: str) -> None:
    [error] = errors_of(f'[agent]\nname = "x"\nharness = "custom"\n{SANDBOXED}{field} = ""\n')
    assert f"{field}: found a string, expected" in error or f'{field}: found "", expected' in error


@pytest.mark.parametrize(
    "field",
    [
        "extra_packages = []",
        *('network = "none"', 'sandbox = "gvisor"', 'read_only_paths = ["/x"]', 'writable_paths = ["~/x"]'),
    ],
)
def test_what_a_native_agent_does_not_have_is_ignored_with_a_warning(field: str) -> None:
    text = f'[agent]\nname = "x"\nharness = "codex"\ntype = "native"\n{field}\n'
    [warning] = warnings_of(text)
    name = field.split(" ", maxsplit=1)[0]
    assert warning == (
        f'jcard.toml:5:1: agent "x": {name}: ignored: it has an effect only with type = "sandboxed", '
        "and this agent is native"
    )
    assert load(text).agents[0].sandbox == SandboxSpec()


def test_packages_that_a_native_agent_would_be_without_are_an_error() -> None:
    table = '[agent]\nname = "x"\nharness = "codex"\n'
    [error] = errors_of(f'{table}type = "native"\nextra_packages = ["git"]\n')
    assert error.startswith('jcard.toml:5:1: agent "x": extra_packages: has an effect only with type = "sandboxed"')
    [error] = errors_of(f'{table}extra_packages = ["git"]\n')
    assert "this agent is native, as long as type is not set" in error


def test_a_jcard_that_never_says_type_is_told_once_that_the_default_differs() -> None:
    agents = "".join(f'[[agents]]\nname = "{name}"\nharness = "codex"\nnetwork = "host"\n' for name in "abcde")
    [warning] = warnings_of(agents + '[[agents]]\nname = "f"\nharness = "codex"\ntype = ""\nsandbox = "gvisor"\n')
    assert warning == (
        'jcard.toml:4:1: agent "a": network: ignored, for type is not set and agents are then native (the Go agentd '
        'ran them in a sandbox): write type = "native" or type = "sandboxed"; '
        'likewise agent "b", "c", "d" and 2 more'
    )


@pytest.mark.parametrize("field", ["memory = 0", 'memory = "0"', 'memory = "0GiB"', "pid_limit = 0", 'memory = ""'])
def test_a_limit_of_zero_is_the_default(field: str) -> None:
    assert agent_of(f"{SANDBOXED}{field}").policy.limits == SANDBOX_LIMITS
    assert not agent_of(field).policy.limits


@pytest.mark.parametrize(("size", "memory"), [("2gib", 2 << 30), ("512mb", 512_000_000), ("1Kib", 1024)])
def test_sizes_count_in_any_case(size: str, memory: int) -> None:
    assert agent_of(f'{SANDBOXED}memory = "{size}"').policy.memory == memory
    assert agent_of(f'memory = "{size}"').policy.limits == Limits(memory=memory)


def test_unnamed_agents_are_numbered_over_their_replicas() -> None:
    one, two = '[[agents]]\nharness = "codex"\n', '[[agents]]\nharness = "codex"\nreplicas = 2\n'
    assert [agent.name for agent in agents_of(one + two)] == ["codex-0", "codex-1", "codex-2"]
    assert [agent.session for agent in agents_of(two + one)] == ["codex-0", "codex-1", "codex-2"]
    names = [agent.name for agent in agents_of(two + '[[agents]]\nname = "x"\nharness = "codex"\nreplicas = 2\n' + two)]
    assert names == ["codex-0", "codex-1", "x-0", "x-1", "codex-2", "codex-3"]


def test_branches_of_unnamed_replicas_have_the_number_of_their_agent() -> None:
    two = '[[agents]]\nharness = "codex"\nreplicas = 2\nrepo = "/r"\nisolation = "worktree"\nbranch = "b"\n'
    agents = agents_of('[[agents]]\nharness = "codex"\n' + two)
    assert [agent.checkout and agent.checkout.branch for agent in agents] == [None, "b-1", "b-2"]


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("[[agnets]]", "[[agents]]"),
        ("[[Agents]]", "[[agents]]"),
        ("[[AGENTS]]", "[[agents]]"),
        ("[[agens]]", "[[agents]]"),
        ("[Agent]", "[agent]"),
        ("[agnet]", "[agent]"),
    ],
)
def test_tables_that_were_meant_as_agents_are_warned_of(header: str, meant: str) -> None:
    key = header.strip("[]")
    assert warnings_of(f'\n{header}\nname = "x"\nharness = "codex"\n') == [
        f'jcard.toml:2:1: "{key}" declares no agents; did you mean {meant}?'
    ]


@pytest.mark.parametrize(
    ("table", "meant"),
    [
        ('[[trigger]]\nname = "t"\nagent = "x"\nfile = "/in/*"\n', "triggers"),
        ('[trigger]\nname = "t"\nagent = "x"\nfile = "/in/*"\n', "triggers"),
        ('[[Triggers]]\nname = "t"\nagent = "x"\nsecret = "KEY"\n', "triggers"),
        ('[[notifys]]\non = ["failed"]\ncommand = ["tell"]\n', "notify"),
        ('[[pool_]]\nname = "p"\nslots = 2\n', "pools"),
        ('[[approves]]\ndecision = "allow"\n', "approve"),
    ],
)
def test_other_tables_that_were_meant_as_ours_are_warned_of(table: str, meant: str) -> None:
    key = table.partition("\n")[0].strip("[]")
    assert warnings_of(table) == [f'jcard.toml:1:1: "{key}" is not read; did you mean [[{meant}]]?']


@pytest.mark.parametrize(
    ("table", "key", "meant"),
    [
        ('[gatway]\nlisten = ["127.0.0.1:1"]\n', "gatway", "gateway"),
        ('[[Gateway.tokens]]\nsecret = "ROOT"\n', "Gateway", "gateway"),
        ('[bugdet]\nday = "40"\n', "bugdet", "budget"),
        ('[oetl]\nendpoint = "http://h"\n', "oetl", "otel"),
    ],
)
def test_a_table_for_a_part_of_agentd_that_is_misspelt_is_warned_of(table: str, key: str, meant: str) -> None:
    assert [text.partition(": ")[2] for text in warnings_of(table)] == [f'"{key}" is not read; did you mean [{meant}]?']


def test_the_fields_by_which_such_a_table_is_known_are_fields_of_it() -> None:
    for name, model in (("gateway", GatewayTable), ("budget", BudgetTable), ("otel", OtelTable)):
        assert _PARTS[name] <= model.model_fields.keys()


@pytest.mark.parametrize(
    "table",
    [
        '[gateways]\nproxy = "x"\n',
        "[gatway]\n",
        'bugdet = "x"\n',
        '[[trigger]]\nname = "x"\n',
        '[[notifier]]\nto = "x"\n',
        'pools_ = "x"\n',
        "approves = []\n",
    ],
)
def test_further_tables_of_other_programs_are_nothing_to_warn_of(table: str) -> None:
    assert warnings_of(table) == []


def test_an_agents_fields_without_a_table_are_warned_of() -> None:
    assert warnings_of('name = "x"\nharness = "codex"\n') == [
        "jcard.toml:2:1: \"harness\" stands in no agent's table; write [[agents]] above the agent's fields"
    ]
    assert warnings_of("[harness]\n") == []


@pytest.mark.parametrize("table", ['[agentd]\nname = "x"\n', "[[events]]\n", "[[parents]]\nname = 1\n", "agens = 1\n"])
def test_tables_of_other_programs_are_nothing_to_warn_of(table: str) -> None:
    assert warnings_of(table) == []


@pytest.mark.parametrize(
    ("key", "meant"), [("PROMPT", "prompt"), ("Max_Restarts", "max_restarts"), ("cwd", "workdir"), ("cmd", "command")]
)
def test_keys_in_another_case_or_of_other_programs_are_recognised(key: str, meant: str) -> None:
    [warning] = warnings_of(f'[agent]\nharness = "codex"\n{key} = 1\n')
    assert warning.endswith(f'{key}: unknown key, ignored; did you mean "{meant}"?')


def regex_of_nix(name: str) -> str:
    found = re.search(rf'{name} =\s*types\.strMatching "((?:[^"\\]|\\.)*)"', NIX)
    assert found is not None
    return found[1].replace("\\\\", "\\")


@pytest.mark.parametrize(
    "text", ["0", ".5s", "+5s", "1.s", "1h30m", "250μs", "250µs", "", "5", "-5s", "1d", "1h 30m", "..5s"]
)
def test_nix_takes_the_durations_that_the_loader_takes(text: str) -> None:
    loaded = text == "" or re.fullmatch(DURATION_PATTERN, text, re.ASCII) is not None
    assert (re.fullmatch(regex_of_nix("duration"), text) is not None) is loaded
    assert (load(f'[agent]\nharness = "codex"\ngrace_period = "{text}"\n').errors == []) is loaded
