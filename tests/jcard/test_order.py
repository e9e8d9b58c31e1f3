"""``after``: what agents are launched after, and circles of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentd.jcard.drop_ins import SourceFile, merge
from agentd.jcard.load import load_jcard
from agentd.model.order import After, Outcome
from tests.jcard.loading import CONTEXT, load


def table(name: str, *after: str, **fields: object) -> str:
    more = "".join(f"{key} = {value}\n" for key, value in fields.items())
    return f'[[agents]]\nname = "{name}"\nharness = "codex"\nafter = {list(after)}\n{more}'


def test_it_is_read() -> None:
    result = load(table("a") + table("b", "a", "a:success", "c:failure", "d:end"))
    assert result.problems == ()
    assert result.agents[1].after == (After("a"), After("c", Outcome.FAILURE), After("d", Outcome.END))


@pytest.mark.parametrize("written", ["a:sucess", "a:", ":success", "a b", ""])
def test_what_is_no_name_and_outcome_is_refused(written: str) -> None:
    (error,) = load(table("b", written)).errors
    assert 'expected the name of an agent, with ":success", ":failure" or ":end" behind it' in error.message


def test_a_circle_is_refused() -> None:
    (error,) = load(table("a", "c") + table("b", "a") + table("c", "b:end") + table("d", "a")).errors
    assert error.field == "after"
    assert error.message.count(" waits for ") == 3
    assert error.message.endswith("none of them would ever be launched; take one of these out")
    (error,) = load(table("a", "A")).errors
    assert '"a" waits for "a"' in error.message
    # By the name of replicas.
    assert len(load(table("build", "test", replicas=2) + table("test", "build")).errors) == 1


def test_what_is_no_circle_is_taken() -> None:
    result = load(table("a") + table("b", "a") + table("c", "a", "b", "elsewhere") + table("d", "c", "b"))
    assert result.problems == ()


def test_a_circle_over_files_is_an_error_of_the_later_one() -> None:
    def source(path: str, text: str) -> SourceFile:
        return SourceFile(Path(path), None, load_jcard(text.encode(), path, replace(CONTEXT, drop_in=path != "j.toml")))

    files = merge(
        [source("j.toml", table("a", "c")), source("d/1.toml", table("b", "a")), source("d/2.toml", table("c", "b"))]
    )
    assert [file.valid for file in files] == [True, True, False]
    (error,) = files[2].errors
    assert (error.file, error.field, error.agent) == ("d/2.toml", "after", "c")
    assert [agent.name for file in files for agent in file.agents] == ["a", "b"]
