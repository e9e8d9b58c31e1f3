"""Transcripts of terminals that got another size, read as tmux shows them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agentd.recording.transcripts.readable import Readable
from tests.support.waiting import wait_for

Step = str | tuple[int, int]
"""What is printed, or the size from there on."""

NUMBERED = "".join(f"line {number} of many that are printed\r\n" for number in range(30))
LONG = "0123456789" * 9
FRAME = "\r\n".join(f"| row {number:02} |" for number in range(12))


class Terminal:
    """A pane that shows what it is given."""

    def __init__(self, folder: Path, columns: int, rows: int) -> None:
        self._socket = folder / "t"
        self._fifo = folder / "f"
        os.mkfifo(self._fifo)
        self._output = os.open(self._fifo, os.O_RDWR)
        self._steps = 0
        script = f"stty raw -echo; exec cat {self._fifo}"
        size = ("-x", str(columns), "-y", str(rows))
        self.tmux("new-session", "-d", "-s", "a", *size, script, ";", "set-option", "-g", "window-size", "manual")

    def tmux(self, *words: str) -> str:
        argv = ["tmux", "-u", "-S", str(self._socket), "-f", "/dev/null", *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout

    def take(self, step: Step) -> None:
        if isinstance(step, str):
            self._steps += 1
            os.write(self._output, f"{step}\x1b]2;{self._steps}\a".encode())
            wait_for(lambda: self.tmux("display-message", "-p", "-t", "a", "#{pane_title}").strip() == str(self._steps))
        else:
            size = f"{step[0]} {step[1]}"
            self.tmux("resize-window", "-t", "a", "-x", str(step[0]), "-y", str(step[1]))
            shown = "#{pane_width} #{pane_height}"
            wait_for(lambda: self.tmux("display-message", "-p", "-t", "a", shown).strip() == size)

    def lines(self) -> list[str]:
        """All that scrolled off and is shown."""
        return self.tmux("capture-pane", "-p", "-J", "-S", "-", "-t", "a").splitlines()

    def close(self) -> None:
        self.tmux("kill-server")
        os.close(self._output)


@pytest.fixture
def terminal(short_folder: Path) -> Iterator[Terminal]:
    made = Terminal(short_folder, 40, 12)
    yield made
    made.close()


def read(steps: Sequence[Step]) -> list[str]:
    readable, lines = Readable(40, 12), list[str]()
    for step in steps:
        if isinstance(step, str):
            lines += readable.feed(step.encode())
        else:
            readable.resize(*step)
    return lines + readable.rest()


def without_blanks(lines: Sequence[str]) -> list[str]:
    return "\n".join(line.rstrip() for line in lines).rstrip("\n").split("\n")


@pytest.mark.parametrize(
    "steps",
    [
        # More rows: what is written below the former last row is not lost.
        ["a\r\n", (40, 30), "\x1b[H" + "\r\n".join(f"r{n}" for n in range(30))],
        # Rows come back from the history, and are drawn over there.
        [NUMBERED, (40, 20), "\x1b[3Achanged", "\r\n" * 5],
        [NUMBERED, (40, 6), "\x1b[Hfirst", (40, 16), "\r\n" * 9],
        # Fewer rows: what is below the cursor is gone.
        [FRAME, "\x1b[5;3H", (40, 6), "here"],
        [FRAME, "\x1b[11;1H", (40, 4), "here"],
        # Another width breaks lines anew, those of the history too.
        [NUMBERED + LONG, (25, 12), "more", (60, 12), "and more\r\nend"],
        [LONG + "\r\n" + LONG, (100, 12), "\x1b[2J\x1b[Hcleared\r\n", (30, 12), LONG],
        ["short\r\n" * 3, (20, 8), "x" * 30 + "\x1b[A\rupper", (40, 12), "y"],
        ["tab\tstops\r\n", (80, 12), "\t\t\t\t\t\tx\r\n"],
        # The alternate screen is of one size with the main one.
        ["before\r\n" + LONG, "\x1b[?1049h", (30, 20), "\x1b[Hfull", "\x1b[?1049l", "after\r\n"],
        [NUMBERED + "\x1b[?1049h", (60, 8), "\x1b[8;1Hfull", (20, 14), "\x1b[?1049l", LONG],
        ["a\x1b[?1049h\rfull\x1b[?1049h\rfull\x1b[?1049ld\x1b[?1049le"],
        # Nothing is left of a scrolling region.
        ["\x1b[2;5r\x1b[2;1H" + "in\r\n" * 6 + "\x1b[r\x1b[12;1H" + "out\r\n" * 4],
        ["\x1b[2;5r", (40, 20), "\x1b[20;1H" + "out\r\n" * 4],
    ],
)
def test_a_resized_terminal_is_read_as_tmux_shows_it(terminal: Terminal, steps: list[Step]) -> None:
    for step in steps:
        terminal.take(step)
    shown = without_blanks(terminal.lines())
    lines = without_blanks(read(steps))
    # What an alternate screen showed last is read too.
    assert [line for line in lines if "full" not in line and line] == [line for line in shown if line]
    assert len(lines) >= len(shown)


def test_what_had_scrolled_off_and_is_changed_when_it_comes_back_is_read_as_it_was_and_as_it_is(
    terminal: Terminal,
) -> None:
    steps: list[Step] = [NUMBERED, (40, 6), "\x1b[Hfirst", (40, 16), "\x1b[Hsecond\x1b[16;1H\r\nend"]
    for step in steps:
        terminal.take(step)
    shown, lines = without_blanks(terminal.lines()), read(steps)
    assert "second5 of many that are printed" in shown
    assert sorted(set(lines)) == sorted({*shown, "line 15 of many that are printed"})
    assert len(lines) == len(shown) + 1
