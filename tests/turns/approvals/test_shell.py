"""A line is read as a shell would execute it, or with a doubt."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.turns.approvals.shell import LONGEST, Command, read_line, read_words

SHELLS = [path for name in ("dash", "bash") if (path := shutil.which(name)) is not None]
RECORDER = """#!/bin/sh
{ for word in "$@"; do printf '%s\\0' "$word"; done; printf '\\n\\0'; } >>"$RECORD"
"""

PIECES = (
    *("rec", "'rec'", '"rec"', "r\\ec", "a", "b c", "''", '""', "-x", "--y=z", "'a b'", '"a b"', "\\ ", "\\;", "'a;b'"),
    *(" ", " ", " ", "\t", "\n", ";", "&&", "||", "|", "&", ">", "<", "(", ")", "$(rec x)", "`rec y`", "$HOME", "${x}"),
    *(
        "*",
        "?",
        "[a]",
        "{a,b}",
        "~",
        "#",
        "!",
        "=",
        "A=b",
        "\\\n",
        '"$(rec z)"',
        "'$(rec)'",
        '"\\$(rec)"',
        "\\$",
        "\\\\",
    ),
    *(
        "if",
        "then",
        "fi",
        "for",
        "{",
        "}",
        "<<E",
        "\nE\n",
        "\r",
        "\u00a0",
        "é",
        "\\'",
        "'\\''",
        '"\\a"',
        "$'rec'",
        "rec()",
    ),
)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    recorder = folder / "rec"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)
    return folder


def executed(shell: str, line: str, programs: Path) -> list[tuple[str, ...]]:
    """What a real shell executes of a line, in a folder of its own with nothing but the recorder on its PATH."""
    record, workdir = programs / "record", programs / "workdir"
    workdir.mkdir(exist_ok=True)
    record.unlink(missing_ok=True)
    env = {"PATH": str(programs), "RECORD": str(record), "HOME": str(workdir), "LC_ALL": "C.UTF-8"}
    subprocess.run([shell, "-c", line], cwd=workdir, env=env, capture_output=True, timeout=20, check=False)
    if not record.exists():
        return []
    calls = record.read_bytes().decode(errors="replace").split("\n\0")[:-1]
    return [("rec", *call.split("\0")[:-1]) for call in calls]


@pytest.mark.parametrize("shell", SHELLS)
@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=12))
def test_a_shell_executes_nothing_that_was_not_read(shell: str, pieces: list[str], programs: Path) -> None:
    line = "rec " + "".join(pieces)
    script = read_line(line)
    if script.doubt is not None:
        return
    read = {command.words for command in script.commands}
    assert set(executed(shell, line, programs)) <= read, script
    shutil.rmtree(programs / "workdir")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_recorder_tells_what_a_shell_executes(shell: str, programs: Path) -> None:
    assert executed(shell, "rec 'a b' && rec; r''ec $(rec x)", programs) == [
        ("rec", "a b"),
        ("rec",),
        ("rec", "x"),
        ("rec",),
    ]


@given(words=st.lists(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)), min_size=1))
def test_quoted_words_are_read_as_they_are(words: list[str]) -> None:
    # One that begins with = is left without quotes, and zsh expands it.
    script = read_line(shlex.join("-" + word if word.startswith("=") else word for word in words))
    assert [command.words for command in script.commands] == [
        tuple("-" + word if word.startswith("=") else word for word in words)
    ]


@given(line=st.text(max_size=200))
def test_whatever_a_line_is_it_is_read(line: str) -> None:
    read_line(line)


DOUBTS = {
    "git status > /etc/passwd": "a redirection (>)",
    "git status & rm -rf /": "a command in the background (&)",
    "git status $(rm -rf /)": "an expansion ($)",
    "git status `rm -rf /`": "an expansion (`)",
    'git status "$(rm -rf /)"': "an expansion ($)",
    "git status <(rm -rf /)": "a redirection (<)",
    "(git status)": "a subshell or function",
    "git() { rm -rf /; }; git status": "a subshell or function",
    "PATH=/tmp git status": "a variable that is set (=)",
    "if git status": "a reserved word (if)",
    "! git status": "a reserved word (!)",
    "git add *": "a pattern of file names (*)",
    "git add ~/x": "a home folder (~)",
    "git status # it is": "a comment",
    "git status 'rm": "a quote that does not end",
    'git status "rm': "a quote that does not end",
    "git status \\\n rm": "a line that goes on",
    "git status |& rm": "a redirection (|&)",
    "git\u00a0status": "a character that cannot be seen (U+00A0)",
    "git status \u202e": "a character that cannot be seen (U+202E)",
    "git status\r": "a character that cannot be seen (U+000D)",
    "git " + "x" * LONGEST: f"a line of more than {LONGEST} characters",
    "bash -c 'git status; rm -rf $HOME'": "an expansion ($)",
}


@pytest.mark.parametrize("line", DOUBTS, ids=lambda line: line[:40])
def test_what_is_more_than_plain_commands_is_a_doubt(line: str) -> None:
    assert read_line(line).doubt == DOUBTS[line]


def test_what_a_shell_is_told_to_execute_is_read() -> None:
    inner = (Command(("git", "status")), Command(("rm", "-rf", "/")))
    assert read_line("/bin/bash -lc 'git status; rm -rf /'").commands == inner
    assert read_words(["bash", "-lc", "git status; rm -rf /"]).commands == inner
    assert read_words(["git", "status;", "$(x)"]).commands == (Command(("git", "status;", "$(x)")),)
    mine = read_line("./bash -c 'git status'")
    assert mine.commands == (Command(("./bash", "-c", "git status")),)
