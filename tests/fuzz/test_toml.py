"""Whatever stands in a jcard, the loader answers with findings, and what was good before stays in force."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.daemon.config_files import ConfigFiles
from agentd.daemon.configuration import Configuration
from agentd.daemon.inputs import Inputs
from agentd.daemon.port_ledger import PortLedger
from agentd.daemon.resolving import Resolver
from agentd.files.looks import Looks
from agentd.harness.registry import load_harnesses
from agentd.jcard.document import Document, parse_document
from agentd.jcard.positions import Positions
from agentd.jcard.problems import LoadResult
from agentd.jcard.table import AgentTable
from tests.fuzz.effort import examples
from tests.fuzz.mutations import mutations
from tests.jcard.loading import CONTEXT, load
from tests.support.agents import jcard
from tests.support.printed import harmless

ROOT = Path(__file__).parents[2]
GOOD = jcard({"name": "a", "command": ["true"], "prompt": "p"}, {"name": "b", "command": ["true"]}).encode()

_SEEDS = [path.read_bytes() for path in sorted(ROOT.glob("examples/**/*.toml"))]
_TOKENS = [
    *(b"[", b"]", b"[[", b"]]", b"{", b"}", b"=", b".", b",", b"#", b"\n", b"\r", b"\r\n", b"\0", b"\x7f", b"\\", b'"'),
    *(b'"""', b"'''", b"'", b'\\u0000"', b'"\\ud800"', b'"\\U00110000"', b"\xef\xbb\xbf", b"\xff\xfe", b"\xc2\x9b"),
    *(
        b"[agent]\n",
        b"[[agents]]\n",
        b"[agents]\n",
        b"agents = []\n",
        b"agent = 1\n",
        b"[[agents.env]]\n",
        b"[agents.x]\n",
    ),
    *(b"nan", b"-inf", b"0x" + b"f" * 5000, b"9" * 5000, b"1979-05-27T07:32:00Z", b"1e999", b"00:00:00", b"true"),
    *(
        b"replicas = 100000\n",
        b"replicas = -1\n",
        b"name = 'a'\n",
        b'harness = "custom"\n',
        b'"" = 1\n',
        b"env = {A='x'}\n",
    ),
    b"x = " + b"[" * 400,
    b"x = " + b"{a=" * 400,
    b".".join([b"k"] * 400) + b" = 1\n",
]

_VALUES = st.recursive(
    st.one_of(
        st.text(max_size=20),
        st.integers(-(2**70), 2**70),
        st.booleans(),
        st.floats(),
        st.datetimes(),
        st.sampled_from(
            ["30s", "2GiB", "no", "always", "native", "sandboxed", "custom", "codex", "auto", "~", "", "a"]
        ),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=5,
)
_TABLES = st.dictionaries(
    st.one_of(st.sampled_from(sorted(AgentTable.model_fields)), st.text(max_size=10)), _VALUES, max_size=8
)


def check(data: bytes, result: LoadResult) -> None:
    """A file is taken as a whole or not at all, and every finding is one harmless line about a place in it."""
    assert result.errors == [] or result.agents == ()
    lines = data.count(b"\n") + 1
    for problem in result.problems:
        assert harmless(str(problem)), str(problem)
        assert problem.line is None or 1 <= problem.line <= lines, problem
        assert problem.column is None or problem.column >= 1, problem
    names = [agent.name.casefold() for agent in result.agents]
    assert len(set(names)) == len(names)


@examples(25)
@given(mutations(_SEEDS, _TOKENS))
def test_a_damaged_jcard_gives_findings_and_nothing_else(data: bytes) -> None:
    check(data, load(data))


@examples(25)
@given(st.lists(_TABLES, max_size=3), st.one_of(st.none(), _TABLES, _VALUES))
def test_agent_tables_of_any_values_give_findings_and_nothing_else(
    tables: list[dict[str, object]], single: object
) -> None:
    document: dict[str, object] = {"agents": tables, **({} if single is None else {"agent": single})}
    try:
        data = tomlkit.dumps(document).encode("utf-8")
    except (ValueError, UnicodeEncodeError, tomlkit.exceptions.TOMLKitError):
        return  # what tomlkit cannot write
    check(data, load(data))


@examples(15)
@given(st.text(min_size=4, max_size=30).filter(str.isprintable), _TABLES)
def test_what_env_prompt_and_command_hold_is_in_no_finding(value: str, table: dict[str, object]) -> None:
    value = f"s3cret-{value}"
    fields = {"env": {"A": value, "B": 7, "bad name": value}, "prompt": [value], "command": {"x": value}}
    try:
        data = tomlkit.dumps({"agents": [{**table, **fields, "args": [7, value]}]}).encode("utf-8")
    except (ValueError, UnicodeEncodeError, tomlkit.exceptions.TOMLKitError):
        return
    result = load(data)
    assert result.errors
    assert not any("s3cret-" in str(problem) for problem in result.problems)


def inputs(folder: Path) -> Inputs:
    looks = Looks()
    files = ConfigFiles(folder / "jcard.toml", folder / "jcard.d", CONTEXT, looks, {}, time.monotonic)
    resolver = Resolver(
        load_harnesses().harnesses, "agent", b"k" * 32, PortLedger(folder / "ports.json", lambda _: None)
    )
    return Inputs(files, folder / "secrets", resolver, None, looks)


def taken(folder: Path, files: Inputs, data: bytes) -> Configuration:
    (folder / "jcard.toml").write_bytes(data)
    reading = asyncio.run(files.read())
    configuration = files.understand(reading)
    files.take(reading)
    return configuration


@examples(10)
@given(damage=st.lists(mutations([GOOD, *_SEEDS], _TOKENS), min_size=1, max_size=5))
@example(damage=[b""])
def test_whatever_the_file_becomes_the_last_good_agents_stay_declared(damage: list[bytes]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        files = inputs(folder)
        good = taken(folder, files, GOOD)
        assert good.valid
        for data in damage:
            now = taken(folder, files, data)
            if not now.valid:
                assert now.error
                assert now.desired == good.desired
            good = now


CORPUS = "TOML_TEST"
AGENT = b'\n[[agents]]\nname = "z"\nharness = "custom"\ncommand = ["true"]\n'


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``tests`` of github.com/toml-lang/toml-test: a checkout, or a bare repository."""
    found = Path(os.environ.get(CORPUS) or ROOT / ".cache/toml-test")
    if (found / "tests/files-toml-1.0.0").exists():
        return found / "tests"
    if (found / "objects").is_dir():
        folder = tmp_path_factory.mktemp("toml-test")
        archive = subprocess.run(
            ["git", "-C", found, "archive", "HEAD", "tests"], capture_output=True, check=True, timeout=60
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True, timeout=60)
        return folder / "tests"
    pytest.skip(f"no toml-test corpus: git clone https://github.com/toml-lang/toml-test {found}, or set {CORPUS}")


def test_the_toml_test_corpus_is_told_apart_as_its_authors_say(corpus: Path) -> None:
    wrong: list[str] = []
    files = (corpus / "files-toml-1.0.0").read_text().split()
    for name in (name for name in files if name.endswith(".toml")):
        data = (corpus / name).read_bytes()
        document = parse_document(data, name)
        if isinstance(document, Document) != name.startswith("valid/"):
            wrong.append(name)
        if isinstance(document, Document):
            Positions(document.text)
        for whole in (data, data + AGENT):
            check(whole, load(whole))
    assert len(files) > 700
    assert wrong == []
