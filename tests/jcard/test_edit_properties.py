"""Random jcards, random edits: what is not named stays to the byte, and the result says what was asked for."""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import cast

import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from agentd.jcard.edit.agents import (
    FieldPath,
    add_agent,
    declared_agents,
    remove_agent,
    rename_agent,
    set_fields,
    unset_fields,
)
from agentd.jcard.edit.writing import TomlValue
from tests.jcard.loading import load
from tests.jcard.written import TEXTS, Written, jcards
from tests.support.effort import examples

FIELDS: st.SearchStrategy[tuple[FieldPath, TomlValue]] = st.one_of(
    st.tuples(
        st.sampled_from([("prompt",), ("env", "A"), ("env", "NEW")]), TEXTS.filter(lambda text: "\0" not in text)
    ),
    st.tuples(st.just(("args",)), st.lists(TEXTS, max_size=3)),
    st.tuples(st.just(("replicas",)), st.integers(1, 5)),
    st.tuples(st.just(("enabled",)), st.booleans()),
    st.tuples(st.just(("restart",)), st.sampled_from(["no", "always"])),
    st.tuples(st.just(("model",)), st.sampled_from(["m", "it's"])),
    st.tuples(
        st.just(("env",)), st.dictionaries(st.sampled_from(["A", "Z"]), TEXTS.filter(lambda text: "\0" not in text))
    ),
)


def tables(text: str) -> dict[str, dict[str, object]]:
    """The agent tables by name, as plain data; an empty env counts as none."""
    values = tomllib.loads(text)
    single = [values["agent"]] if "agent" in values else []
    found = {}
    for table in cast("list[dict[str, object]]", [*single, *values.get("agents", [])]):
        if table.get("env") == {}:
            del table["env"]
        found[str(table.get("name", "codex"))] = table
    return found


def rest(text: str) -> str:
    """Everything that is no agent, as plain data; as text, for not-a-number is not equal to itself."""
    values = tomllib.loads(text)
    return repr({key: value for key, value in values.items() if key not in ("agent", "agents")})


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went and those that came, each with its line break."""
    removed, added = [], []
    # Not splitlines, which also splits at U+2028 in a string.
    lines = [re.findall(r"[^\n]*\n|[^\n]+", text) for text in (before, after)]
    for line in difflib.ndiff(lines[0], lines[1]):
        if line.startswith("- "):
            removed.append(line[2:])
        elif line.startswith("+ "):
            added.append(line[2:])
    return removed, added


def untouched(written: Written, agent: str, after: str) -> None:
    """Every line that is not the agent's stands in the result, in the same order, with its line break."""
    found, place = after.replace("\r\n", "\n"), 0
    for piece in written.others(agent):
        place = found.find(piece, place)
        assert place >= 0, f"{piece!r} is lost, or out of order"
        place += len(piece)
    text = written.text
    assert text.endswith("\n") == after.endswith("\n") or not text.strip() or not after.strip()
    if written.crlf and "\n" in text:
        assert "\n" not in after.replace("\r\n", "")
    else:
        assert "\r" not in after
    assert rest(after) == rest(text)
    # Another reader finds the same in it.
    assert repr(tomlkit.parse(after).unwrap().keys()) == repr(tomllib.loads(after).keys())


def agent_of(data: st.DataObject, written: Written) -> str | None:
    assert load(written.text).errors == []
    names = list(declared_agents(written.text))
    return data.draw(st.sampled_from(names)) if names else None


@examples(10, 30)
@given(jcards(), FIELDS, st.data())
def test_setting_a_field_changes_nothing_else(
    written: Written, field: tuple[FieldPath, TomlValue], data: st.DataObject
) -> None:
    if (name := agent_of(data, written)) is None:
        return
    path, value = field
    after = set_fields(written.text, name, {path: value})
    expected = tables(written.text)
    if path[0] == "env" and len(path) > 1:
        cast("dict[str, object]", expected[name].setdefault("env", {}))[path[1]] = value
    elif value != {}:
        expected[name][path[0]] = value
    else:
        expected[name].pop("env", None)
    assert tables(after) == expected
    untouched(written, name, after)
    removed, added = changed(written.text, after)
    comments = "\n#" not in written.text and "#" not in repr(value)
    assert not (comments and any(line.lstrip().startswith("#") for line in [*removed, *added]))
    # Once more changes nothing.
    assert set_fields(after, name, {path: value}) == after or value == {}


@examples(10, 30)
@given(jcards(), st.data())
def test_unsetting_a_field_changes_nothing_else(written: Written, data: st.DataObject) -> None:
    if (name := agent_of(data, written)) is None:
        return
    expected = tables(written.text)
    own = [(key,) for key in expected[name] if key not in ("name", "harness")]
    env = cast("dict[str, object]", expected[name].get("env", {}))
    paths: list[FieldPath] = [*own, *(("env", key) for key in env), ("model",)]
    path = data.draw(st.sampled_from(paths))
    after = unset_fields(written.text, name, [path])
    if len(path) > 1:
        del env[path[1]]
        if not env:
            del expected[name]["env"]
    else:
        expected[name].pop(path[0], None)
    assert tables(after) == expected
    untouched(written, name, after)
    if path == ("model",):
        assert after == written.text


@examples(10, 30)
@given(jcards(), st.data())
def test_removing_an_agent_leaves_every_other_line(written: Written, data: st.DataObject) -> None:
    if (name := agent_of(data, written)) is None:
        return
    after = remove_agent(written.text, name)
    expected = tables(written.text)
    del expected[name]
    assert tables(after) == expected
    untouched(written, name, after)
    assert load(after).errors == []
    assert after


@examples(10, 30)
@given(jcards(), FIELDS)
def test_adding_an_agent_only_adds_lines(written: Written, field: tuple[FieldPath, TomlValue]) -> None:
    path, value = field
    fields: dict[str, TomlValue] = {"harness": "codex", path[0]: value if len(path) == 1 else {path[1]: value}}
    after = add_agent(written.text, "new", fields)
    expected: dict[str, dict[str, object]] = {**tables(written.text), "new": {"name": "new", **fields}}
    if fields.get("env") == {}:
        del expected["new"]["env"]
    assert tables(after) == expected
    untouched(written, "new", after)
    removed, _ = changed(written.text, after)
    # A last line without line break gets one; an array gets its comma, or the element on its line.
    assert len(removed) <= 1
    back = remove_agent(after, "new")
    assert [line for line in back.split() if line] == written.text.split() or "agents = [" in written.text


@examples(10, 30)
@given(jcards(), st.data())
def test_renaming_an_agent_changes_its_name_alone(written: Written, data: st.DataObject) -> None:
    if (name := agent_of(data, written)) is None:
        return
    after = rename_agent(written.text, name, "other")
    expected = tables(written.text)
    expected["other"] = {**expected.pop(name), "name": "other"}
    assert tables(after) == expected
    untouched(written, name, after)
    removed, added = changed(written.text, after)
    assert len(removed) <= 1
    assert len(added) == 1
