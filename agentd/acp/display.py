"""The terminal: raw keys in, the screen out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import termios
from collections.abc import Callable
from dataclasses import dataclass, field

from agentd.acp.line import Action, Leave, Line
from agentd.acp.screen import Screen, title

_LFLAG, _IFLAG = 3, 0


@dataclass(slots=True)
class Display:
    """A terminal, ours while the context is open.

    Parameters
    ----------
    source, sink
        Descriptors of the terminal.
    act
        Takes what a person does.
    """

    source: int
    sink: int
    act: Callable[[Action], None]
    asked: Callable[[], bool]
    """Whether a number answers something."""
    line: Line = field(default_factory=Line)
    _screen: Screen = field(default_factory=lambda: Screen(24, 80))
    _former: list[int | list[bytes | int]] | None = None
    _title: str = ""

    def open(self) -> None:
        """Take the terminal."""
        self._former = termios.tcgetattr(self.source)
        raw = termios.tcgetattr(self.source)
        raw[_LFLAG] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[_IFLAG] &= ~(termios.IXON | termios.ICRNL | termios.INLCR)
        termios.tcsetattr(self.source, termios.TCSADRAIN, raw)
        self._screen = Screen(*self._size())
        self._write(self._screen.open())
        loop = asyncio.get_running_loop()
        loop.add_reader(self.source, self._read)
        loop.add_signal_handler(signal.SIGWINCH, self._resized)

    def close(self) -> None:
        """Give it back."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.source)
        loop.remove_signal_handler(signal.SIGWINCH)
        self._write(self._screen.close())
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self.source, termios.TCSADRAIN, self._former or termios.tcgetattr(self.source))

    def say(self, kind: str, text: str, style: str = "") -> None:
        """Go on with what is being said."""
        self._write(self._screen.say(kind, text, style))

    def row(self, text: str, style: str = "", mark: str = "") -> None:
        """Print a row."""
        self._write(self._screen.row(text, style, mark))

    def status(self, text: str, name: str) -> None:
        """Say what goes on, in the row below and in the title."""
        self._write(self._screen.status(text))
        if name != self._title:
            self._title = name
            self._write(title(name))

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self.sink)
        except OSError:
            return 24, 80
        return size.lines or 24, size.columns or 80

    def _resized(self) -> None:
        self._write(self._screen.resize(*self._size()))
        self._show_line()

    def _read(self) -> None:
        try:
            typed = os.read(self.source, 1 << 16)
        except OSError:
            typed = b""
        if not typed:
            # The terminal is gone: nobody sees or says anything any more.
            asyncio.get_running_loop().remove_reader(self.source)
            self.act(Leave())
            return
        for action in self.line.feed(typed, asked=self.asked()):
            self.act(action)
        self._show_line()

    def _show_line(self) -> None:
        self._write(self._screen.typed(*self.line.shown(self._screen.room)))

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        # Blocking: a terminal that takes nothing holds up the agent, which is what a terminal does.
        while data:
            try:
                data = data[os.write(self.sink, data) :]
            except OSError:
                return
