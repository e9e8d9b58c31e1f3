"""What a launch script holds reaches the program byte for byte, by every shell that may be /bin/sh."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.launch.launcher import LaunchScript, render
from agentd.text.quoting import shell_quote
from tests.fuzz.effort import examples
from tests.tmux.launches import dumping, read_dump

SHELLS = [shell for shell in ("dash", "bash", "busybox", "ksh", "zsh") if shutil.which(shell)]

_NASTY = st.sampled_from(
    [
        "'",
        "''",
        '"',
        "\\",
        "\\'",
        "$(id)",
        "`id`",
        "${IFS}",
        "\n",
        "\r",
        "\t",
        "-",
        "--",
        "-n",
        "!",
        "!!",
        "~",
        "*",
        "@",
    ]
)
_BYTES = st.one_of(st.binary(max_size=40), st.lists(_NASTY, max_size=6).map(lambda parts: "".join(parts).encode()))
WORDS = _BYTES.map(lambda word: word.replace(b"\0", b""))
VALUES = WORDS.map(os.fsdecode)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    # The shell's own, which it sets or refuses: tests/tmux/test_launcher.py goes through them one by one.
    lambda name: (
        name not in {"_", "PWD", "OLDPWD", "SHLVL", "BASHOPTS", "BASH_VERSINFO", "EUID", "OPTIND", "PPID"}
        and name not in {"SHELLOPTS", "UID", "TERM"}
    )
)


def as_sh(shell: str, script: bytes, folder: Path) -> bytes:
    """Execute a script as /bin/sh would be, and give what it prints."""
    path = folder / "script.sh"
    path.write_bytes(script)
    argv = {"busybox": ["busybox", "sh"], "bash": ["bash", "--posix"], "zsh": ["zsh", "--emulate", "sh"]}
    done = subprocess.run(
        [*argv.get(shell, [shell]), str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "TERM": "dumb"},
        cwd=folder,
        timeout=30,
        check=False,
    )
    assert done.stderr == b"", done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
@examples(15)
@given(words=st.lists(WORDS, min_size=1, max_size=30))
@example(words=[bytes(range(1, 256)), b"'" * 1000, b"x" * 100_000])
def test_quoted_words_come_back_byte_for_byte(shell: str, words: list[bytes]) -> None:
    line = b"exec /usr/bin/printf '%s\\0' " + b" ".join(map(shell_quote, words)) + b"\n"
    with TemporaryDirectory() as folder:
        assert as_sh(shell, line, Path(folder)) == b"".join(word + b"\0" for word in words)


@pytest.mark.parametrize("shell", SHELLS)
@examples(8)
@given(argv=st.lists(VALUES, max_size=8), environment=st.dictionaries(NAMES, VALUES, max_size=8), workdir=VALUES)
def test_a_whole_launch_gives_argv_environment_and_workdir_byte_for_byte(
    shell: str, argv: list[str], environment: dict[str, str], workdir: str
) -> None:
    with TemporaryDirectory() as folder:
        launch_and_compare(shell, argv, environment, workdir, Path(folder))


def launch_and_compare(shell: str, argv: list[str], environment: dict[str, str], workdir: str, folder: Path) -> None:
    (folder / "closing").touch()  # no shell for inspection afterwards
    os.mkfifo(folder / "hints")
    hints = os.open(folder / "hints", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    work = folder / ("w" + workdir.replace("/", "_")[:100])
    work.mkdir()
    program = dumping(folder / "dump.py", folder / "dump")
    script = LaunchScript("a", "r1", (*program, *argv), environment, str(work))
    try:
        as_sh(shell, render(script, folder), folder)
    finally:
        os.close(hints)
    words, shown, where = read_dump(folder / "dump", len(program))
    assert words == [os.fsencode(word) for word in argv]
    assert where == os.fsencode(work.resolve())
    assert {name: shown.get(os.fsencode(name)) for name in environment} == {
        name: os.fsencode(value) for name, value in environment.items()
    }
    assert set(shown) - {os.fsencode(name) for name in environment} <= {b"PWD", b"TERM", b"_", b"SHLVL", b"OLDPWD"}
    assert (folder / "r1.exit").read_text().split()[0] == "0"
