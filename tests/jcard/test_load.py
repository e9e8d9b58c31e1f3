"""The file as a whole: its shape, its syntax, all of its problems at once."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from agentd.jcard.load import load_jcard
from agentd.jcard.problems import Problem, Severity
from agentd.jcard.table import AgentTable
from agentd.model.spec import AgentSpec, LoadContext
from tests.jcard.loading import CONTEXT, agents_of, errors_of, load, warnings_of
from tests.support.printed import harmless


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "\n\n", "agents = []\n", '[other]\nagent = "x"\n'])
def test_a_file_without_agents_is_valid(text: str) -> None:
    assert agents_of(text) == []


def test_tables_of_other_programs_are_ignored() -> None:
    text = 'mixtape = "x"\nagnets = 1\n[resources]\nmemory = 5\n[network]\n[[shared]]\nname = ""\n[secrets]\nX = "y"\n'
    assert agents_of(text + '[agent]\nharness = "codex"\n')[0].name == "codex"


def test_both_forms_may_stand_in_one_file_and_the_single_agent_comes_first() -> None:
    agents = agents_of(
        '[[agents]]\nname = "b"\nharness = "codex"\n[agent]\nname = "z"\nharness = "codex"\n'
        '[[agents]]\nname = "a"\nharness = "codex"\n'
    )
    assert [agent.name for agent in agents] == ["z", "b", "a"]


def test_agents_may_stand_in_one_inline_array() -> None:
    agents = agents_of('agents = [{harness = "codex"}, {harness = "custom", env.A = "1"}]\n')
    assert [(agent.name, agent.env) for agent in agents] == [("codex", {}), ("custom", {"A": "1"})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agents]\n", "1:1: found a table: write [[agents]]"),
        ('\n[agents.reviewer]\nharness = "codex"\n', "2:1: found a table: write [[agents]]"),
        ("[[agent]]\n", "1:1: found an array of tables: write [agent] for one agent, [[agents]] for several"),
        ('x = 1\nagent = "codex"\n', "2:1: found a string, expected a table: write [agent]"),
        ("agents = 3\n", "1:1: found an integer, expected tables: write [[agents]]"),
        ("agents = [{harness = 'codex'}, 5]\n", "1:32: found an integer, expected a table: write [[agents]]"),
    ],
)
def test_a_wrong_shape_is_answered_with_what_to_write(text: str, message: str) -> None:
    [error] = errors_of(text)
    assert error.startswith(f"jcard.toml:{message}")


def test_all_errors_and_warnings_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
[[agents]]
name = "x"
harness = "codex"
restart = "sometimes"
colour = 1
timeout = 30
[agent]
harness = "cluade-code"
max_restarts = -1
session = "a.b"
[[agents]]
name = "X"
harness = "custom"
model = "m"
network = "host"
[[agents]]
name = "bad name"
prompt = 1
"""
    result = load(text)
    assert result.agents == ()
    assert [(p.severity, p.line, p.agent, p.field) for p in result.problems] == [
        (Severity.ERROR, 4, "x", "restart"),
        (Severity.WARNING, 5, "x", "colour"),
        (Severity.ERROR, 6, "x", "timeout"),
        (Severity.ERROR, 8, "cluade-code", "harness"),
        (Severity.ERROR, 9, "cluade-code", "max_restarts"),
        (Severity.ERROR, 10, "cluade-code", "session"),
        (Severity.ERROR, 12, "X", "name"),
        (Severity.ERROR, 14, "X", "model"),
        (Severity.WARNING, 15, "X", "network"),
        (Severity.ERROR, 16, "bad name", "harness"),
        (Severity.ERROR, 17, "bad name", "name"),
        (Severity.ERROR, 18, "bad name", "prompt"),
    ]


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("restrat", '; did you mean "restart"?'),
        ("max-restarts", '; did you mean "max_restarts"?'),
        ("promptFile", '; did you mean "prompt_file"?'),
        ("zzzzzz", ""),
    ],
)
def test_an_unknown_key_is_a_warning_with_a_guess(key: str, suggestion: str) -> None:
    assert warnings_of(f'[agent]\nharness = "codex"\n{key} = 1\n') == [
        (
            f'jcard.toml:3:1: agent "codex": {key if key.isidentifier() else f"{chr(34)}{key}{chr(34)}"}: '
            f"unknown key, ignored{suggestion}"
        )
    ]


NEWER = "needs TOML 1.1, and a jcard is TOML 1.0"
SECONDS = "write :00 behind it, or quotes around it"
ON_ONE_LINE = "write the table on one line, or as a [table] of its own"


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ('[agent]\nenv = { A = "1",\n}\n', "2:17", f"a line break inside {{ }} {NEWER}: {ON_ONE_LINE}"),
        ("x = { # here\r\n a = 1 }\n", "1:7", f"a line break inside {{ }} {NEWER}: {ON_ONE_LINE}"),
        ("x = { a = 1\n}\n", "1:12", f"a line break inside {{ }} {NEWER}: {ON_ONE_LINE}"),
        ("x = { a = 1, }\n", "1:14", f"a comma before }} {NEWER}: remove it"),
        (r'x = "a\e[0m"', "1:9", rf"\e or \x41 {NEWER}: write \u001b or \u0041"),
        ('x = """\n\\x41"""', "2:3", rf"\e or \x41 {NEWER}: write \u001b or \u0041"),
        ("x = 10:20\n", "1:7", f"a time without seconds {NEWER}: {SECONDS}"),
        ("x = 2026-01-31T10:20\n", "1:15", f"a time without seconds {NEWER}: {SECONDS}"),
        ("x = 2026-01-31 10:20Z\n", "1:16", f"a time without seconds {NEWER}: {SECONDS}"),
    ],
)
def test_newer_toml_is_called_so(text: str, place: str, what: str) -> None:
    assert errors_of(text) == [f"jcard.toml:{place}: not valid TOML: {what}"]


def test_a_file_with_warnings_still_gives_its_agents() -> None:
    result = load('[agent]\nharness = "codex"\nnope = 1\n')
    assert [agent.name for agent in result.agents] == ["codex"]
    assert len(result.warnings) == 1


def test_an_unknown_key_in_another_table_is_nobodys_business() -> None:
    assert warnings_of("[agnet]\nrestrat = 1\n") == []


SECRET = "s3cr3t-Value"


@pytest.mark.parametrize(
    "fields",
    [
        f'env = {{A = ["{SECRET}"]}}',
        f'env = "{SECRET}"',
        f'env = ["{SECRET}"]',
        f'env = {{"A B" = "{SECRET}"}}',
        f'env.A = "{SECRET}\\u0000"',
        f'env.A.B = "{SECRET}"',
        f'env.AGENTD_AGENT = "{SECRET}"',
        f'secrets = "{SECRET}"',
        f'secrets = ["{SECRET}"]',
        f'prompt = ["{SECRET}"]',
        f'args = "{SECRET}"',
        f'args = [["{SECRET}"]]',
        f'command = "{SECRET}"',
        f'API_KEY = "{SECRET}"\nrestart = 1',
        f'env.A = "{SECRET}',
        f"env.A = {SECRET}",
        f'env.A = "{SECRET}" x',
        f'env = {{A = "{SECRET}"',
    ],
)
def test_values_that_may_be_secret_stay_out_of_messages(fields: str) -> None:
    result = load(f'[agent]\nharness = "custom"\n{fields}\n')
    assert result.errors
    assert SECRET not in repr(result)


def test_messages_are_one_line_whatever_the_file_holds() -> None:
    result = load('[agent]\nharness = "a\\nb\\u001b[31m"\nname = "x\\ny"\nworkdir = "\\n\\u0000"\n"new\\nline" = 1\n')
    assert len(result.problems) == 4
    for problem in result.problems:
        assert harmless(str(problem))


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a = 1\nb = \n", "2:5", "invalid value (text needs quotes)"),
        ("restart = always\n", "1:11", "invalid value (text needs quotes)"),
        ('\n\nx = "abc\ny = 1\n', "3:9", "the string is not closed on its line"),
        ("a = 1\nb = 2\na = 3\n", "3:6", "this key or table is already defined above"),
        ("[x]\n[x]\n", "2:3", "cannot declare ('x',) twice"),
        ("a = 1\n\nb = {c = 1", "3:1", "unclosed inline table"),
        ('a = 1\nb = """\nc\n', "3:1", "unterminated string"),
        ("key", "1:1", "expected '=' after a key in a key/value pair"),
        (f"a = 1\nb = {'1' * 5000}\n", "2:5005", "a number has too many digits"),
        ("a = {b = 1, ]}", "1:13", "invalid initial character for a key part"),
    ],
)
def test_a_syntax_error_has_line_column_and_reason(text: str, place: str, what: str) -> None:
    assert errors_of(text) == [f"jcard.toml:{place}: not valid TOML: {what}"]


def test_a_syntax_error_that_neither_parser_places_is_placed_at_the_end_of_the_text() -> None:
    assert errors_of("[[a]]\na.b = 1\na = {}") == [
        "jcard.toml:3:7: not valid TOML: this key or table is already defined above"
    ]


def test_nesting_beyond_what_can_be_read_is_an_error() -> None:
    [error] = errors_of("a = " + "[" * 100_000)
    assert error == "jcard.toml: arrays or inline tables are nested too deeply to be read"


def test_bytes_that_are_not_utf8_are_an_error_at_their_place() -> None:
    assert errors_at(b'a = 1\nb\xc3\xa9 = "\xff"\n') == [(2, 7, "byte 0xff is not UTF-8; save the file as UTF-8")]
    assert errors_at("[agent]\n".encode("utf-16")) == [(1, 1, "the file is UTF-16; save it as UTF-8")]


def errors_at(data: bytes) -> list[tuple[int | None, int | None, str]]:
    return [(problem.line, problem.column, problem.message) for problem in load(data).errors]


def test_a_byte_order_mark_is_accepted_and_counts_for_no_column() -> None:
    assert load(codecs.BOM_UTF8 + b'[agent]\nharness = "codex"\n').agents[0].name == "codex"
    assert errors_at(codecs.BOM_UTF8 + b"agent = 1\n")[0][:2] == (1, 1)
    assert errors_at(codecs.BOM_UTF8 + b"agent = \n")[0][:2] == (1, 9)


def test_windows_line_ends_are_accepted() -> None:
    agents = agents_of('[agent]\r\nharness = "codex"\r\nprompt = """a\r\nb"""\r\n')
    assert agents[0].prompt == "a\nb"


def test_without_any_harness_the_file_is_still_judged() -> None:
    context = LoadContext(Path("/"), Path("/root"), Path("/"), {}, Path("/data"))
    result = load_jcard(b'[agent]\nharness = "codex"\n', "j", context)
    assert [str(problem) for problem in result.errors] == [
        'j:2:1: agent "codex": harness: no harness is registered; reinstall agentd, whose entry points are missing'
    ]


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    check_result(data)


@given(st.text(alphabet="[]{}=.,\"'\\#\n\r\t agents0123-_:TZ\0é\ufeff", max_size=120))
def test_arbitrary_text_near_toml_never_raises(text: str) -> None:
    check_result(text.encode())


SCALARS = st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.datetimes() | st.dates() | st.times()
PLAUSIBLE = st.sampled_from(
    [
        "codex",
        "custom",
        "claude-code",
        "no",
        "always",
        "on-failure",
        "native",
        "sandboxed",
        "oneshot",
        "3s",
        "1h",
        "a",
        "~",
        "2GiB",
    ]
)
VALUES = st.recursive(
    SCALARS | PLAUSIBLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(st.sampled_from([*AgentTable.model_fields, "nope", "restrat"]), VALUES | PLAUSIBLE, max_size=8)


@given(
    st.fixed_dictionaries(
        {}, optional={"agent": TABLES | VALUES, "agents": st.lists(TABLES | VALUES, max_size=4) | VALUES, "x": VALUES}
    )
)
def test_arbitrary_documents_never_raise(document: dict[str, object]) -> None:
    check_result(tomlkit.dumps(document).encode())


def check_result(data: bytes) -> None:
    """Either agents or errors, each error with a place in the file."""
    result = load_jcard(data, "j", CONTEXT)
    if result.errors:
        assert result.agents == ()
    lines = data.decode("utf-8", "replace").split("\n")
    for problem in result.problems:
        assert harmless(str(problem))
        assert problem.line is not None
        assert problem.column is not None
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1


@given(st.lists(TABLES, max_size=4))
def test_loading_twice_gives_equal_results(tables: list[dict[str, object]]) -> None:
    data = tomlkit.dumps({"agents": tables}).encode()
    assert load_jcard(data, "j", CONTEXT) == load_jcard(data, "j", CONTEXT)


def test_the_environment_stays_out_of_an_agents_repr() -> None:
    [agent] = agents_of(f'[agent]\nharness = "codex"\nenv.A = "{SECRET}"\n')
    assert isinstance(agent, AgentSpec)
    assert SECRET not in repr(agent)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(Severity.ERROR, "f", "m"), "f: m"),
        (Problem(Severity.ERROR, "f", "m", 3), "f:3: m"),
        (Problem(Severity.ERROR, "f", "m", 3, 5), "f:3:5: m"),
        (Problem(Severity.ERROR, "f", "m", 3, 5, "a"), 'f:3:5: agent "a": m'),
        (Problem(Severity.WARNING, "f", "m", 3, 5, "a", "b"), 'f:3:5: agent "a": b: m'),
    ],
)
def test_a_problem_is_written_as_compilers_write_theirs(problem: Problem, text: str) -> None:
    assert str(problem) == text
