from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.support import Client, TmuxServer
from tests.support.thorough import everyday

GOOD = '[agent]\nharness = "custom"\nprompt_file = "task.md"\n'


@pytest.fixture
def jcard(client: Client) -> Path:
    path = client.folder / "jcard.toml"
    path.write_text(GOOD)
    path.with_name("task.md").write_text("do it")
    return path


@pytest.mark.parametrize("given", [[], ["jcard.toml"], ["--config", "jcard.toml"]], ids=["environment", "file", "flag"])
def test_a_good_file_is_status_0_without_any_daemon(client: Client, jcard: Path, given: list[str]) -> None:
    done = client("validate", *given)
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(f"{jcard}: valid: 1 agent\n")


@pytest.mark.parametrize("word", everyday(["-"], ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"]))
@pytest.mark.parametrize("through", ["pipe", pytest.param("file", marks=pytest.mark.thorough)])
def test_a_jcard_may_come_from_standard_input(client: Client, jcard: Path, word: str, through: str) -> None:
    script = {"pipe": 'cat "$1" | agentctl validate "$2"', "file": 'agentctl validate "$2" < "$1"'}[through]
    done = client.shell(script, str(jcard), word)
    assert (done.status, done.err) == (0, "")
    # Its prompt file was found, so relative paths start in the current folder.
    first, *_, last = done.out.splitlines()
    assert (first, last) == (f"custom\tcustom\tcustom\t{client.folder}", f"{word}: valid: 1 agent")


@pytest.mark.thorough
def test_a_jcard_may_come_through_a_fifo_and_errors_name_it(client: Client, jcard: Path) -> None:
    fifo = client.folder / "fifo"
    os.mkfifo(fifo)
    jcard.write_text(GOOD + 'restart = "sometimes"\n')
    done = client.shell('cat "$1" >"$2" & agentctl validate "$2"', str(jcard), str(fifo))
    assert done.status == 1
    assert f"error: {fifo}:4:1: " in done.out


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("agentctl validate - </dev/null", "-: nothing came: expected a jcard", marks=pytest.mark.thorough),
        ("head -c 17000000 /dev/zero | agentctl validate -", "-: expected 16777216 bytes at most, found more"),
        pytest.param("agentctl validate - <&-", "-: nothing came", marks=pytest.mark.thorough),
        pytest.param("agentctl validate /dev/fd/77", "/dev/fd/77: there is no such file", marks=pytest.mark.thorough),
    ],
)
def test_what_is_no_jcard_is_said_and_bounded(client: Client, script: str, said: str) -> None:
    done = client.shell(script)
    assert done.status == 1
    assert said in done.out


def test_a_file_that_is_not_there_was_named_here_not_by_a_flag(client: Client, jcard: Path) -> None:
    done = client("validate", "nosuch.toml")
    assert done.status == 1
    assert "nosuch.toml: there is no such file; name one that is there" in done.out
    jcard.unlink()
    assert "there is no such file: write it, or name another with --config" in client("validate").out


def test_a_warning_is_status_1(client: Client, jcard: Path) -> None:
    jcard.write_text(GOOD + 'modle = "x"\n')
    done = client("validate")
    assert done.status == 1
    assert f"{jcard}: valid: 1 agent, 1 warning" in done.out


def test_errors_are_status_1_and_one_json_document(client: Client, jcard: Path) -> None:
    jcard.write_text(GOOD + 'restart = "sometimes"\nmodle = "x"\n')
    done = client("validate", "--json")
    assert done.status == 1
    document = done.document
    assert isinstance(document, dict)
    assert (document["valid"], document["agents"], document["path"]) == (False, [], str(jcard))
    assert set(document) == {"path", "valid", "agents", "errors", "warnings", "files", "notes"}
    (error,), (warning,) = document["errors"], document["warnings"]
    assert (error["line"], error["field"], error["agent"], error["file"]) == (4, "restart", "custom", str(jcard))
    assert "on-failure" in error["message"]
    assert warning["field"] == "modle"


def test_a_missing_prompt_file_is_an_error(client: Client, jcard: Path) -> None:
    jcard.with_name("task.md").unlink()
    done = client("validate")
    assert done.status == 1
    assert 'agent "custom": prompt_file: ' in done.out


def test_what_the_kernel_would_not_take_is_an_error(client: Client, jcard: Path) -> None:
    jcard.with_name("task.md").write_text("x" * 200_000)
    assert client("validate").status == 1


def test_control_characters_of_the_file_are_made_harmless(client: Client, jcard: Path) -> None:
    jcard.write_text('[agent]\nharness = "\\u001b[2J"\n')
    done = client("validate")
    assert done.status == 1
    assert "\x1b" not in done.out + done.err


def test_on_a_terminal_the_agents_are_a_table(client: Client, jcard: Path, operator_tmux: TmuxServer) -> None:
    operator_tmux.session("s", client.shell_words("validate", str(jcard)))
    screen = operator_tmux.wait_for_text("s", "[status 0]").splitlines()
    assert screen[0].split() == ["NAME", "HARNESS", "SESSION", "WORKDIR"]
    assert screen[1].split() == ["custom", "custom", "custom", str(jcard.parent)]


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_schema_is_a_json_schema_that_offers_the_harnesses(client: Client, flags: list[str]) -> None:
    done = client("schema", *flags)
    assert done.status == 0
    document = done.document
    assert isinstance(document, dict)
    assert {"agent", "agents"} <= set(document["properties"])
    assert "claude-code" in done.out
