from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from agentd.jcard.positions import Path as TomlPath
from agentd.jcard.positions import Positions, locate

EVERYTHING = '''# a comment with [agent] and name = "x"
title = 'literal'   # after a value
[agent]
name = "x" # y
env.A = "1"
"we ird" = """first
[agents]
name = "no"
""quotes at the end"""""
'lit eral' = \'\'\'
[[agents]]
''at the end\'\'\'\'\'
"" = 1

[[agents]]
harness = 'c'
  indented = [ 1, 2,
    3, # [four]
  ]
[agents.env]
"q\\"k" = 1979-05-27 07:32:00
[[agents]]
restart = ["a,b]", {b = 1, c.d = [
 1, # x ]
 2]}]
[ other . "tab le" ]
inf = -inf
'''


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        (("title",), 2, 1),
        (("agent",), 3, 1),
        (("agent", "name"), 4, 1),
        (("agent", "env"), 5, 1),
        (("agent", "env", "A"), 5, 5),
        (("agent", "we ird"), 6, 1),
        (("agent", "lit eral"), 10, 1),
        (("agent", ""), 13, 1),
        (("agents",), 15, 1),
        (("agents", 0), 15, 1),
        (("agents", 0, "harness"), 16, 1),
        (("agents", 0, "indented"), 17, 3),
        (("agents", 0, "indented", 1), 17, 19),
        (("agents", 0, "indented", 2), 18, 5),
        (("agents", 0, "env"), 20, 1),
        (("agents", 0, "env", 'q"k'), 21, 1),
        (("agents", 1), 22, 1),
        (("agents", 1, "restart", 0), 23, 12),
        (("agents", 1, "restart", 1, "b"), 23, 21),
        (("agents", 1, "restart", 1, "c"), 23, 28),
        (("agents", 1, "restart", 1, "c", "d"), 23, 30),
        (("agents", 1, "restart", 1, "c", "d", 1), 25, 2),
        (("other",), 26, 1),
        (("other", "tab le", "inf"), 27, 1),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_keys_tables_and_elements_are_found(path: TomlPath, line: int, column: int, line_end: str) -> None:
    tomllib.loads(EVERYTHING)
    assert locate(EVERYTHING.replace("\n", line_end), path) == (line, column)


def test_a_missing_key_is_placed_at_the_header_of_its_table() -> None:
    assert locate(EVERYTHING, ("agents", 1, "harness")) == (22, 1)
    assert locate(EVERYTHING, ("agents", 0, "env", "nope")) == (20, 1)
    assert locate(EVERYTHING, ("agent", "name", "deeper")) == (4, 1)


def test_what_is_nowhere_is_placed_at_the_top() -> None:
    assert locate(EVERYTHING, ("nowhere", "at", "all")) == (1, 1)
    assert locate("", ("agent",)) == (1, 1)


def test_the_header_of_a_table_outdoes_that_of_a_table_inside_it() -> None:
    text = '[agent.env]\nA = "1"\n[agent]\nname = "x"\n'
    assert locate(text, ("agent",)) == (3, 1)
    assert locate(text, ("agent", "env")) == (1, 1)


def test_inline_arrays_of_tables_are_found() -> None:
    text = 'agents = [{name = "a"}, {name = "b", env = {A = "1"}}]\n'
    assert locate(text, ("agents", 1)) == (1, 25)
    assert locate(text, ("agents", 1, "env", "A")) == (1, 45)


def test_values_are_found_behind_their_keys() -> None:
    positions = Positions("[agent]\nname   =   \"x\"\nenv.A = '1'\n")
    assert positions.value(("agent", "name")) == (2, 12)
    assert positions.value(("agent", "env", "A")) == (3, 9)
    assert positions.value(("agent",)) == (1, 1)


def test_columns_count_characters() -> None:
    text = '["é☃"]\n"👩‍💻" = {"ü" = 1, b = 2}\n'
    assert locate(text, ("é☃", "👩‍💻", "b")) == (2, 19)


def test_keys_with_escapes_are_compared_as_what_they_mean() -> None:
    assert locate('\n"\\u0041\\t" = 1\n', ("A\t",)) == (2, 1)


def test_text_that_is_not_toml_is_refused() -> None:
    with pytest.raises(ValueError, match="not a TOML key at offset 0"):
        Positions("= 1")
    with pytest.raises(ValueError, match="not a TOML value at offset 4"):
        Positions("a = ")


def test_values_as_deep_as_tomllib_reads_do_not_exhaust_the_stack() -> None:
    assert locate("a = " + "[" * 5000 + "]" * 5000 + "\nb = 1\n", ("b",)) == (2, 1)


KEYS = st.text(max_size=6) | st.sampled_from(["a", "b-c", "agents", "1", "d_e", "x.y", '"', "'", "#", "[", "é"])
SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.text(alphabet="\"'\\\n\r\t[]{}#=, ab", max_size=20)
    | st.datetimes()
    | st.dates()
    | st.times()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


def paths_of(value: object, path: TomlPath = ()) -> Iterator[TomlPath]:
    """Every path that tomllib sees."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_of(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths_of(inner, (*path, index))


def at(text: str, line: int, column: int) -> str:
    return text.split("\n")[line - 1][column - 1 :]


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_every_path_of_every_document_is_found_where_its_key_stands(document: dict[str, object]) -> None:
    text = tomlkit.dumps(document)
    positions = Positions(text)
    for path in paths_of(tomllib.loads(text)):
        place = at(text, *positions.key(path))
        if isinstance(path[-1], int) or place.startswith("["):
            continue
        spelling = tomlkit.dumps({path[-1]: 0}).removesuffix(" = 0\n")
        assert place.startswith((f"{spelling} ", f"{spelling}.", f"{spelling}=")), (path, place)


class Writer:
    """Writes a document in every style TOML has, remembering where it put each key."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.places: dict[TomlPath, tuple[int, int]] = {}

    def document(self, tables: dict[str, list[dict[str, object]]]) -> None:
        for name, items in tables.items():
            for index, item in enumerate(items):
                self.filler()
                self.place((name, index))
                if index == 0:
                    self.place((name,))
                self.put("[[", self.space(), name, self.space(), "]]", self.line_end())
                self.fields((name, index), item)

    def fields(self, table: TomlPath, fields: dict[str, object]) -> None:
        later = []
        for key, value in fields.items():
            style = (
                self.draw(st.sampled_from(["inline", "dotted", "header"])) if isinstance(value, dict) and value else ""
            )
            if style == "header":
                later.append((key, value))
            elif style == "dotted" and isinstance(value, dict):
                for inner_index, (inner_key, inner) in enumerate(value.items()):
                    self.filler()
                    if inner_index == 0:
                        self.place((*table, key))
                    self.put(spelled(key), self.space(), ".", self.space())
                    self.pair((*table, key), inner_key, inner)
                    self.put(self.line_end())
            else:
                self.filler()
                self.pair(table, key, value)
                self.put(self.line_end())
        for key, value in later:
            self.place((*table, key))
            self.put("[", ".".join([spelled(str(table[0])), spelled(key)]), "]", self.line_end())
            assert isinstance(value, dict)
            for inner_key, inner in value.items():
                self.filler()
                self.pair((*table, key), inner_key, inner)
                self.put(self.line_end())

    def pair(self, table: TomlPath, key: str, value: object) -> None:
        self.place((*table, key))
        self.put(spelled(key), self.space(), "=", self.space())
        self.value((*table, key), value)

    def value(self, path: TomlPath, value: object) -> None:
        if isinstance(value, dict):
            self.put("{")
            for index, (key, inner) in enumerate(value.items()):
                self.put(", " if index else self.space())
                self.pair(path, key, inner)
            self.put(self.space(), "}")
        elif isinstance(value, list):
            self.put("[")
            for index, inner in enumerate(value):
                self.filler()
                self.place((*path, index))
                self.value((*path, index), inner)
                self.put(self.space(), ",")
            self.filler()
            self.put("]")
        else:
            self.put(tomlkit.item(value).as_string())

    def put(self, *texts: str) -> None:
        self.text += "".join(texts)

    def place(self, path: TomlPath) -> None:
        last_line = self.text.rpartition("\n")[2]
        self.places[path] = (self.text.count("\n") + 1, len(last_line) + 1)

    def space(self) -> str:
        return self.draw(st.sampled_from(["", " ", "\t "]))

    def line_end(self) -> str:
        return self.space() + self.draw(st.sampled_from(["\n", "\r\n", "# [x]\n", "#\r\n\r\n", ' # a = """\n']))

    def filler(self) -> None:
        self.put(self.draw(st.sampled_from(["", "", "  ", "\n", "# b = {\n\t"])))


def spelled(key: str) -> str:
    return tomlkit.dumps({key: 0}).removesuffix(" = 0\n")


@st.composite
def written_documents(draw: st.DrawFn) -> Writer:
    writer = Writer(draw)
    names = st.sampled_from(["agents", "a", "b-c"])
    inner: st.SearchStrategy[object] = (
        SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(KEYS, SCALARS, max_size=3)
    )
    fields: st.SearchStrategy[dict[str, object]] = st.dictionaries(
        KEYS, inner | st.dictionaries(KEYS, inner, max_size=3), max_size=4
    )
    writer.document(draw(st.dictionaries(names, st.lists(fields, min_size=1, max_size=3), max_size=3)))
    return writer


@given(written_documents())
def test_keys_are_found_in_whatever_style_a_document_is_written(written: Writer) -> None:
    assert set(paths_of(tomllib.loads(written.text))) == set(written.places)
    positions = Positions(written.text)
    assert {path: tuple(positions.key(path)) for path in written.places} == written.places


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.integers(1, 30), st.sampled_from(["\n", "\r\n"]))
def test_lines_put_before_a_document_move_every_position_down(
    document: dict[str, object], lines: int, line_end: str
) -> None:
    text = tomlkit.dumps(document)
    if line_end != "\n" and "\r" in text:
        return
    paths = list(paths_of(tomllib.loads(text)))
    before, after = Positions(text), Positions("# [x]\n".replace("\n", line_end) * lines + text.replace("\n", line_end))
    for path in paths:
        line, column = before.key(path)
        assert after.key(path) == (line + lines, column)
        line, column = before.value(path)
        assert after.value(path) == (line + lines, column)


@given(st.dictionaries(KEYS, SCALARS, min_size=1, max_size=5), st.lists(KEYS, min_size=1, max_size=3, unique=True))
def test_a_value_stands_where_it_is_said_to(fields: dict[str, object], table: list[str]) -> None:
    document: dict[str, object] = fields
    for key in reversed(table):
        document = {key: document}
    text = tomlkit.dumps(document)
    positions = Positions(text)
    for path in paths_of(tomllib.loads(text)):
        if len(path) > len(table):
            line, column = positions.value(path)
            rest = "\n".join([at(text, line, column), *text.split("\n")[line:]])
            # No key of the document is as long.
            assert same(tomllib.loads(f"longer-key = {rest}")["longer-key"], value_at(text, path))


def value_at(text: str, path: TomlPath) -> object:
    value: object = tomllib.loads(text)
    for key in path:
        assert isinstance(value, dict)
        value = value[key]
    return value


def same(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)  # noqa: PLR0124 (NaN is unequal to itself)


def test_the_scanner_agrees_with_tomllib_on_this_projects_own_toml() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    positions = Positions(text)
    for path in paths_of(tomllib.loads(text)):
        if isinstance(path[-1], str) and not (place := at(text, *positions.key(path))).startswith("["):
            assert place.startswith((path[-1], '"' + path[-1], "'" + path[-1]))
