"""Edits of jcards, by example; the properties are in test_edit_properties."""

from __future__ import annotations

import pytest

from agentd.jcard.edit.agents import (
    NothingToRestartError,
    ReplicaError,
    UnknownAgentError,
    add_agent,
    declared_agents,
    find_agent,
    remove_agent,
    rename_agent,
    restart_agent,
    scale_agent,
    set_fields,
    start_agent,
    stop_agent,
    unset_fields,
)
from agentd.jcard.edit.plain import EditError

TEAM = """\
#:schema jcard.schema.json
# The team.

# Reads every change.
[[agents]]   # first
name = 'reviewer'  # 'quoted' like this
harness = "claude-code"
  # on big changes only:
timeout = "1h"
# max_restarts = 3

# ---- builders ----

# Mends.
[[agents]]
name = "fixer"
harness = "codex"

[agents.env]
LEVEL = "1"

[network]
mode = "none"
"""


def test_a_new_field_goes_behind_the_last_one_and_not_into_the_next_table() -> None:
    assert set_fields(TEAM, "reviewer", {("workdir",): "/w"}) == TEAM.replace(
        'timeout = "1h"\n', 'timeout = "1h"\nworkdir = "/w"\n'
    )


def test_a_changed_field_keeps_place_comment_and_quotes() -> None:
    assert rename_agent(TEAM, "Reviewer", "critic") == TEAM.replace("'reviewer'", "'critic'")


def test_a_variable_goes_where_the_environment_is_written() -> None:
    assert set_fields(TEAM, "fixer", {("env", "B"): "2"}) == TEAM.replace('LEVEL = "1"\n', 'LEVEL = "1"\nB = "2"\n')
    assert 'timeout = "1h"\nenv.B = "2"\n' in set_fields(TEAM, "reviewer", {("env", "B"): "2"})
    inline = TEAM.replace('timeout = "1h"', "env = { A = 'x' } # of a kind")
    assert "env = { A = 'x', B = \"2\" } # of a kind" in set_fields(inline, "reviewer", {("env", "B"): "2"})


def test_text_of_several_lines_is_written_as_such() -> None:
    after = set_fields(TEAM, "fixer", {("prompt",): 'Mend "it".\nThen rest.\n'})
    assert 'prompt = """\nMend "it".\nThen rest.\n"""\n' in after


@pytest.mark.parametrize("value", ["\n", "a\nb", "it's\n"])
def test_text_of_several_lines_is_written_as_such_in_place_of_a_literal_one(value: str) -> None:
    text = "[[agents]]\nname = 'a'\nprompt = ''\n"
    after = set_fields(text, "a", {("prompt",): value})
    assert 'prompt = """\n' in after
    assert set_fields(after, "a", {("prompt",): value}) == after


def test_removing_takes_the_comment_above_and_leaves_what_stands_apart() -> None:
    assert (
        remove_agent(TEAM, "reviewer")
        == """\
#:schema jcard.schema.json
# The team.

# ---- builders ----

# Mends.
[[agents]]
name = "fixer"
harness = "codex"

[agents.env]
LEVEL = "1"

[network]
mode = "none"
"""
    )


def test_removing_takes_the_tables_inside() -> None:
    after = remove_agent(TEAM, "fixer")
    assert after == TEAM[: TEAM.index("# Mends.")] + TEAM[TEAM.index("[network]") :]


def test_a_new_agent_stands_behind_the_last_one_and_the_tables_inside_it() -> None:
    after = add_agent(TEAM, "writer", {"harness": "codex", "env": {"A": "1"}, "args": ["a b"]})
    block = '[[agents]]\nname = "writer"\nharness = "codex"\nenv.A = "1"\nargs = ["a b"]\n\n'
    assert after == TEAM.replace("[network]", f"{block}[network]")


def test_a_new_agent_joins_an_inline_array_in_its_layout() -> None:
    text = 'agents = [\n  { name = "a", harness = "codex" }, # the first\n]\n'
    assert add_agent(text, "b", {"harness": "codex", "env": {"X": "1"}}) == (
        'agents = [\n  { name = "a", harness = "codex" }, # the first\n'
        '  { name = "b", harness = "codex", env.X = "1" },\n]\n'
    )
    assert add_agent("agents = []\n", "b", {"harness": "codex"}) == 'agents = [{ name = "b", harness = "codex" }]\n'


def test_an_agent_of_dotted_keys_gets_another_one() -> None:
    text = 'agent.name = "a"\nagent.harness = "codex"\n\n[network]\n'
    assert stop_agent(text, "a") == 'agent.name = "a"\nagent.harness = "codex"\nagent.enabled = false\n\n[network]\n'
    assert remove_agent(text, "a") == "\n[network]\n"


def test_line_ends_and_a_missing_last_one_stay() -> None:
    text = '[agent]\r\nname = "a"\r\nharness = "codex"'
    assert stop_agent(text, "a") == f"{text}\r\nenabled = false"
    assert add_agent(text, "b", {"harness": "x"}) == f'{text}\r\n\r\n[[agents]]\r\nname = "b"\r\nharness = "x"'


def test_the_last_agent_leaves_a_file_that_is_not_empty() -> None:
    assert remove_agent(add_agent("", "a", {"harness": "codex"}), "a") == "\n"


def test_starting_after_stopping_leaves_no_trace() -> None:
    stopped = stop_agent(TEAM, "fixer")
    assert stopped != TEAM
    assert stop_agent(stopped, "fixer") == stopped
    assert start_agent(stopped, "fixer") == TEAM
    assert start_agent(TEAM, "fixer") == TEAM


def test_a_restart_is_another_time_and_needs_an_agent_that_may_run() -> None:
    once = restart_agent(TEAM, "fixer", "2026-01-31T09:00:00.000001Z")
    assert 'restarted_at = "2026-01-31T09:00:00.000001Z"\n' in once
    assert restart_agent(once, "fixer", "2026-01-31T09:00:00.000002Z") == once.replace("000001Z", "000002Z")
    with pytest.raises(NothingToRestartError, match="agentctl start"):
        restart_agent(stop_agent(TEAM, "fixer"), "fixer", "x")


def test_scaling_says_how_many_run() -> None:
    three = scale_agent(TEAM, "fixer", 3)
    assert declared_agents(three)["fixer"] == ["fixer-0", "fixer-1", "fixer-2"]
    assert declared_agents(scale_agent(three, "fixer", 1))["fixer"] == ["fixer"]
    assert scale_agent(TEAM, "fixer", 1) == TEAM
    with pytest.raises(EditError, match="agentctl stop fixer keeps the definition"):
        scale_agent(TEAM, "fixer", 0)


def test_one_replica_cannot_be_edited_and_is_told_what_can() -> None:
    with pytest.raises(ReplicaError, match=r"one of 3 replicas of fixer.*agentctl scale fixer N"):
        stop_agent(scale_agent(TEAM, "fixer", 3), "FIXER-2")


def test_names_are_compared_without_case_and_unknown_ones_are_refused() -> None:
    assert find_agent(TEAM, "FIXER") == "fixer"
    with pytest.raises(UnknownAgentError) as caught:
        find_agent(TEAM, "fixr")
    assert caught.value.known == ["reviewer", "fixer"]


def test_an_unnamed_agent_is_found_by_its_default_name_and_gets_a_real_one() -> None:
    text = '[agent] # the only one\nharness = "codex"\n'
    assert rename_agent(text, "codex", "fixer") == '[agent] # the only one\nname = "fixer"\nharness = "codex"\n'


@pytest.mark.parametrize("name", ["reviewer", "Reviewer", "fixer-0"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    text = scale_agent(TEAM, "fixer", 2)
    with pytest.raises(EditError, match="already; take another name"):
        add_agent(text, name, {"harness": "codex"})
    if name != "fixer-0":
        with pytest.raises(EditError, match="already; take another name"):
            rename_agent(text, "fixer", name)


def test_unsetting_takes_variables_and_whole_tables_out() -> None:
    two = set_fields(TEAM, "fixer", {("env", "B"): "2"})
    assert unset_fields(two, "fixer", [("env", "B"), ("model",)]) == TEAM
    assert unset_fields(TEAM, "fixer", [("env",)]) == TEAM.replace('[agents.env]\nLEVEL = "1"\n\n', "")
    assert unset_fields(TEAM, "reviewer", [("timeout",)]) == TEAM.replace('timeout = "1h"\n', "")


def test_what_would_say_something_else_is_never_returned() -> None:
    # Nothing can be added to an array of tables that is not there as tables.
    with pytest.raises(EditError, match="by hand"):
        add_agent("[agents]\nx = 1\n", "a", {"harness": "codex"})
