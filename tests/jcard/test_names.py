"""What agents are called: default names, replicas, sessions, and that all of them are unique."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.jcard.load import load_jcard
from agentd.model.spec import AGENT_NAME, LoadContext
from tests.jcard.loading import CONTEXT, Traits, agents_of, errors_of, load


def names_of(text: str) -> list[str]:
    return [agent.name for agent in agents_of(text)]


def sessions_of(text: str) -> list[str]:
    return [agent.session for agent in agents_of(text)]


def test_a_single_unnamed_agent_has_the_name_of_its_harness() -> None:
    assert names_of('[[agents]]\nharness = "codex"\n[[agents]]\nharness = "custom"\n') == ["codex", "custom"]


def test_unnamed_agents_of_one_harness_are_numbered_in_the_order_of_declaration() -> None:
    text = (
        '[[agents]]\nharness = "codex"\n[[agents]]\nharness = "custom"\n'
        '[agent]\nharness = "codex"\n[[agents]]\nharness = "codex"\nname = "named"\n[[agents]]\nharness = "codex"\n'
    )
    assert names_of(text) == ["codex-0", "codex-1", "custom", "named", "codex-2"]


def test_replicas_are_numbered_and_have_sessions_of_their_own() -> None:
    text = '[agent]\nname = "r"\nharness = "codex"\nreplicas = 3\n'
    assert names_of(text) == sessions_of(text) == ["r-0", "r-1", "r-2"]
    assert sessions_of(text + 'session = "s"\n') == ["s-0", "s-1", "s-2"]


def test_one_replica_is_called_as_declared_and_none_are_none() -> None:
    assert names_of('[agent]\nname = "r"\nharness = "codex"\nreplicas = 1\n') == ["r"]
    assert names_of('[agent]\nname = "r"\nharness = "codex"\nreplicas = 0\n') == []


def test_replicas_of_an_unnamed_agent_are_numbered_below_the_default_name() -> None:
    assert names_of('[agent]\nharness = "codex"\nreplicas = 2\n') == ["codex-0", "codex-1"]


def test_an_agent_declared_without_replicas_still_counts_for_the_names_of_the_others() -> None:
    text = '[[agents]]\nharness = "codex"\nreplicas = 0\n[[agents]]\nharness = "codex"\n'
    assert names_of(text) == ["codex-1"]


def test_replicas_share_everything_else() -> None:
    one, two = agents_of('[agent]\nname = "r"\nharness = "codex"\nreplicas = 2\nenv.A = "1"\nworkdir = "w"\n')
    assert (one.env, one.workdir, one.policy) == (two.env, two.workdir, two.policy)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            '[[agents]]\nname = "a"\nharness = "codex"\n[[agents]]\nharness = "codex"\nname = "a"\n',
            'jcard.toml:6:1: agent "a": name: found "a", which is already taken by the agent at line 2, column 1',
        ),
        (
            '[[agents]]\nname = "worker"\nharness = "codex"\n[[agents]]\nharness = "codex"\nname = "Worker"\n',
            (
                'jcard.toml:6:1: agent "Worker": name: found "Worker", which is already taken by the agent '
                'at line 2, column 1, "worker": names must differ in more than case'
            ),
        ),
        (
            '[[agents]]\nname = "codex"\nharness = "custom"\n[[agents]]\nharness = "codex"\n',
            (
                'jcard.toml:4:1: agent "codex": name: found "codex", which is already taken by the agent '
                "at line 2, column 1; set name to tell them apart"
            ),
        ),
        (
            '[[agents]]\nname = "a"\nharness = "codex"\nreplicas = 3\n[[agents]]\nharness = "codex"\nname = "a-1"\n',
            'jcard.toml:7:1: agent "a-1": name: found "a-1", which is already taken by the agent at line 2, column 1',
        ),
        (
            (
                '[[agents]]\nname = "a"\nharness = "codex"\nreplicas = 9\n'
                '[[agents]]\nharness = "codex"\nname = "A"\nreplicas = 9\n'
            ),
            (
                'jcard.toml:7:1: agent "A": name: found "A-0", which is already taken by the agent '
                'at line 2, column 1, "a-0": names must differ in more than case'
            ),
        ),
    ],
)
def test_a_name_taken_twice_is_one_error_that_names_both_places(text: str, error: str) -> None:
    assert errors_of(text) == [error]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            (
                '[[agents]]\nname = "a"\nharness = "codex"\nsession = "s"\n'
                '[[agents]]\nname = "b"\nharness = "codex"\nsession = "s"\n'
            ),
            (
                'jcard.toml:8:1: agent "b": session: found "s", which is already the session of agent "a" '
                "at line 4, column 1; each agent needs its own"
            ),
        ),
        (
            '[[agents]]\nname = "a"\nharness = "codex"\nsession = "b"\n[[agents]]\nname = "b"\nharness = "codex"\n',
            (
                'jcard.toml:6:1: agent "b": session: found "b", which is already the session of agent "a" '
                "at line 4, column 1; each agent needs its own"
            ),
        ),
        (
            (
                '[[agents]]\nname = "a"\nharness = "codex"\nreplicas = 5\n'
                '[[agents]]\nname = "b"\nharness = "codex"\nsession = "a"\nreplicas = 5\n'
            ),
            (
                'jcard.toml:8:1: agent "b": session: found "a-0", which is already the session of agent "a-0" '
                "at line 2, column 1; each agent needs its own"
            ),
        ),
    ],
)
def test_a_session_taken_twice_is_one_error_that_names_both_places(text: str, error: str) -> None:
    assert errors_of(text) == [error]


def test_sessions_that_differ_in_case_are_different() -> None:
    text = (
        '[[agents]]\nname = "a"\nharness = "codex"\nsession = "s"\n'
        '[[agents]]\nname = "b"\nharness = "codex"\nsession = "S"\n'
    )
    assert sessions_of(text) == ["s", "S"]


def test_names_are_compared_even_where_tables_have_other_errors() -> None:
    result = load('[[agents]]\nname = "a"\nharness = "codex"\nrestart = 1\n[[agents]]\nname = "a"\nprompt = 1\n')
    assert [problem.field for problem in result.errors] == ["restart", "harness", "name", "prompt"]


def test_a_wrong_number_of_replicas_is_one_error() -> None:
    result = load(
        '[[agents]]\nname = "a"\nharness = "codex"\nreplicas = "2"\n'
        '[[agents]]\nname = "b"\nharness = "codex"\nsession = 3\n'
    )
    assert [problem.field for problem in result.errors] == ["replicas", "session"]


def test_a_name_that_replicas_make_too_long_is_refused() -> None:
    name = "a" * 62
    assert len(names_of(f'[agent]\nname = "{name[:-1]}"\nharness = "codex"\nreplicas = 10\n')) == 10
    [error] = errors_of(f'[agent]\nname = "{name}"\nharness = "codex"\nreplicas = 2\n')
    assert error.startswith(f'jcard.toml:2:1: agent "{name}": name: the name of the last of 2 replicas: found "aaa')
    assert "(64 characters)" in error


def test_a_harness_whose_name_is_no_agent_name_asks_for_a_name() -> None:
    harness = Traits(takes_model=False, takes_command=False)
    context = LoadContext(
        CONTEXT.folder, CONTEXT.home, CONTEXT.default_workdir, {"my.harness": harness}, CONTEXT.data_dir
    )
    result = load_jcard(b'[agent]\nharness = "my.harness"\n', "j", context)
    [error] = result.errors
    assert str(error).startswith('j:1:1: agent "my.harness": name: the name made from the harness; set name: found')
    assert load_jcard(b'[agent]\nname = "x"\nharness = "my.harness"\n', "j", context).agents[0].name == "x"


TABLES = st.lists(
    st.fixed_dictionaries(
        {"harness": st.sampled_from(["codex", "custom"])},
        optional={
            "name": st.sampled_from(["a", "A", "b", "codex", "codex-1", "a-1", "custom"]),
            "replicas": st.integers(0, 3),
            "session": st.sampled_from(["s", "a", "codex-0", "S"]),
        },
    ),
    max_size=6,
)


@given(TABLES, st.booleans())
def test_names_and_sessions_of_every_accepted_file_are_unique(tables: list[dict[str, object]], single: bool) -> None:
    headers = ["[agent]" if single and index == 0 else "[[agents]]" for index in range(len(tables))]
    text = "".join(
        f"{header}\n"
        + "".join(
            f"{key} = {value if isinstance(value, int) else f'{chr(34)}{value}{chr(34)}'}\n"
            for key, value in table.items()
        )
        for header, table in zip(headers, tables, strict=True)
    )
    result = load(text)
    if result.errors:
        assert {problem.field for problem in result.errors} <= {"name", "session"}
        return
    agents = result.agents
    assert len({agent.name.casefold() for agent in agents}) == len(agents)
    assert len({agent.session for agent in agents}) == len(agents)
    assert len(agents) == sum(int(str(table.get("replicas", 1))) for table in tables)
    assert all(re.fullmatch(AGENT_NAME, agent.name) for agent in agents)
