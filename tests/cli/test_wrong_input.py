"""What people type by mistake, and what scripts do with variables that are not set."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.cli.agentctl.catalogue import SUMMARIES
from agentd.text.messages import MessageError, message_of
from tests.cli.support import RUNNING, Client, MemorySource
from tests.support.daemon import program
from tests.support.thorough import everyday

TWO = '[[agents]]\nname = "a"\nharness = "codex"\n\n[[agents]]\nname = "b"\nharness = "codex"\nmodell = "x"\n'


@pytest.fixture
def jcard(client: Client) -> Path:
    path = client.folder / "jcard.toml"
    path.write_text(TWO)
    return path


@pytest.mark.parametrize("arguments", [["list", "x"], ["status", "--bogus"], ["send", "a", "b", "c"]], ids=str)
def test_a_command_refuses_what_it_does_not_know_with_its_own_usage(client: Client, arguments: list[str]) -> None:
    done = client(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"usage: agentctl {arguments[0]} ")
    last = done.err.splitlines()[-1]
    command = f"agentctl {arguments[0]}"
    assert last == f"{command}: unrecognized arguments: {arguments[-1]}; see {command} --help"


@pytest.mark.parametrize(
    "arguments", [["--json"], ["--json", "frob"], ["status", "--json", "--bogus"], ["logs", "--json"]], ids=str
)
def test_what_cannot_be_understood_has_its_document_too(client: Client, arguments: list[str]) -> None:
    done = client(*arguments)
    assert done.status == 2
    assert isinstance(done.document, dict)
    assert done.document["error"] == done.err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "", "--harness", "codex"],
        ["rename", "a", ""],
        ["hire", "engineer", ""],
        ["init", "engineer", "--workspace", ""],
        ["collect", "a", "--output", ""],
        ["plan", ""],
        ["validate", ""],
    ],
    ids=str,
)
def test_an_empty_text_is_no_name_and_no_path(client: Client, jcard: Path, arguments: list[str]) -> None:
    done = client(*arguments)
    assert (done.status, done.out) == (2, "")
    assert "expected a value, found an empty string" in done.err.splitlines()[-1]
    assert jcard.read_text() == TWO


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["status", "--wtch"], "did you mean --watch by --wtch?"),
        (["add", "x", "--harnes", "codex"], "did you mean --harness by --harnes?"),
        (["wait", "x", "--fro=running"], "did you mean --for by --fro?"),
        (["--jsn", "status"], "did you mean --json by --jsn?"),
    ],
    ids=str,
)
def test_a_misspelt_option_is_told_with_the_one_that_was_meant(
    client: Client, arguments: list[str], meant: str
) -> None:
    done = client(*arguments)
    assert done.status == 2
    assert meant in done.err.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["session", "create", "--agent"], ["run", "wait", "r1", "--timeout-s"]], ids=str)
def test_an_option_without_its_value_takes_no_word_for_it(client: Client, arguments: list[str]) -> None:
    done = client(*arguments)
    assert done.status == 2
    assert f"argument {arguments[-1]}: expected one argument" in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--channel", "c", "--session-id", "s"], "--channel and --session-id both say where it goes"),
        (["--session-id", "s", "--metadata", "{}"], "--metadata is for --channel, which is missing"),
    ],
    ids=str,
)
def test_a_message_that_is_for_a_channel_and_a_session_is_sent_to_neither(
    client: Client, arguments: list[str], said: str
) -> None:
    done = client("message", "send", "--text", "x", *arguments)
    assert done.status == 2
    assert said in done.err


def test_unset_refuses_what_is_no_field_unless_the_file_has_it(client: Client, jcard: Path) -> None:
    assert client("unset", "b", "modell").status == 0
    assert "modell" not in jcard.read_text()
    done = client("unset", "b", "modell")
    assert done.status == 2
    assert 'an agent has no field "modell": did you mean model?' in done.err
    assert client("unset", "b", "model").out.startswith("nothing to change: ")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("budget.usd=5", "give the whole value, such as budget='{ usd = … }'"),
        ("lease=30s", "lease is of a whole file: write it below [drop_in] in a drop-in"),
        ("budgt.usd=5", "did you mean budget?"),
    ],
    ids=str,
)
def test_a_field_that_stands_elsewhere_is_told_with_its_place(client: Client, assignment: str, said: str) -> None:
    done = client("set", "b", assignment)
    assert done.status == 2
    assert f'an agent has no field "{assignment.partition("=")[0]}": {said}' in done.err


def test_remove_says_what_the_file_declares_not_what_would_be_left(client: Client, jcard: Path) -> None:
    done = client("remove", "a", "c")
    assert done.status == 1
    assert "declares a, b" in done.err
    assert jcard.read_text() == TWO
    assert client("remove", "a", "A").status == 0
    assert jcard.read_text() == TWO.partition("\n\n")[2]


def test_the_name_of_replicas_is_answered_with_theirs(client: Client, source: MemorySource) -> None:
    source.statuses = [replace(RUNNING, name=f"fix-{number}") for number in range(4)]
    assert 'no agent "Fix": name one of fix-0, fix-1, fix-2, …' in client("status", "Fix").err
    source.statuses = [replace(RUNNING, name=name) for name in ("zoe", "zob", "zoa")]
    assert "did you mean zoa or zob or zoe?" in client("status", "zoo").err


@pytest.mark.parametrize("lines", ["-5", "x", ""])
def test_collect_takes_whole_numbers_of_lines(client: Client, lines: str) -> None:
    done = client("collect", "a", f"--lines={lines}")
    assert done.status == 2
    assert f"expected a whole number from 0, found '{lines}'" in done.err


def test_worktrees_asks_for_what_is_missing_alone(client: Client) -> None:
    assert "are required: list|clean|restore; " in client("worktrees").err


def test_a_text_of_control_characters_alone_is_said_to_be_that() -> None:
    with pytest.raises(MessageError, match="nothing to send but control characters"):
        message_of("\x1b\x03")


@pytest.mark.parametrize("command", SUMMARIES)
def test_help_names_no_file_that_is_not_installed(client: Client, command: str) -> None:
    assert "docs/" not in client(command, "--help").out


@pytest.mark.parametrize("closed", everyday(["<&- >&- 2>&-"], ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]))
def test_it_works_with_streams_closed(client: Client, source: MemorySource, closed: str) -> None:
    source.statuses = [RUNNING]
    done = subprocess.run(
        ["sh", "-c", f'"$0" status {closed}', program("agentctl")],
        env=client.environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (">&-" in closed.replace("2>&-", "")) == (done.stdout == "")


def test_a_full_disk_is_said_in_one_line(client: Client, source: MemorySource) -> None:
    source.statuses = [replace(RUNNING, name=f"agent-{number}") for number in range(300)]
    for arguments in (["list"], ["list", "--json"]):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [program("agentctl"), *arguments],
                env=client.environment,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == "agentctl: cannot write the output: No space left on device; make room for it\n"
