"""libtmux through our client. No other module imports it, and this one is imported late: it costs 50 ms of CPU.

By itself libtmux runs tmux as the caller, with the whole environment, and takes a refusal for an empty answer.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import libtmux
from libtmux import Pane
from libtmux.common import tmux_cmd

from agentd.cli.agentctl.answers import require_answer
from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.tmux_client import run_client
from agentd.text.quoting import printable

__all__ = ["BypassError", "NoSessionError", "Pane", "Server"]

_FORMAT = "#{pane_id} #{pane_pid} #{pane_tty} #{pane_start_command}"
_PANE = re.compile(r"(%[0-9]{1,10}) ([0-9]{1,10}) (/dev/(?:pts/[0-9]+|tty[A-Za-z0-9]+)) (.*)", re.ASCII)

_NOT_FOUND = "can't find"
"""Beginning of tmux' answer about a session, window or pane that does not exist."""


class NoSessionError(CommandError):
    """The agent has no tmux session."""


class BypassError(RuntimeError):
    """A part of libtmux was used that runs tmux itself."""


class Server(libtmux.Server):
    """The agents' tmux server, for commands and panes by id.

    Parts of libtmux that bypass `cmd` raise `BypassError`: the listings (``sessions``, ``panes``, ``search_panes``,
    ``Pane.refresh``, ``Pane.window``, …), questions for tmux' version, ``raise_if_dead``.
    """

    def __init__(self, socket: Path) -> None:
        super().__init__(socket_path=socket)
        self.socket = socket

    def cmd(  # type: ignore[mutable-override]  # a mixin of libtmux' declares it as an attribute
        self, cmd: str, *args: object, target: str | int | None = None, text: bytes | None = None
    ) -> tmux_cmd:
        """Run tmux commands, with `text` as their standard input (``load-buffer -``).

        Raises
        ------
        NoSessionError
            If their target does not exist.
        CommandError
            If tmux refuses or is not installed, or no server answers on the socket.
        """
        words = (cmd, *(() if target is None else ("-t", str(target))), *map(str, args))
        require_answer(self.socket)
        try:
            done = run_client(self.socket, *words, text=text)
        except FileNotFoundError:
            raise CommandError(
                "there is no tmux on the PATH: install it (apt-get install tmux, brew install tmux)"
            ) from None
        except subprocess.TimeoutExpired as error:
            raise CommandError(
                f"the tmux server on {printable(str(self.socket))} did not answer within {error.timeout:g} s;"
                " see agentctl doctor"
            ) from None
        if done.returncode != 0:
            reason = printable("; ".join(_text(done.stderr).strip().splitlines()))
            if reason.startswith(_NOT_FOUND):
                raise NoSessionError(reason)
            raise CommandError(f"tmux: {reason}; see agentctl doctor")
        return _Answer(done.stdout)

    def find_panes(self, *where: str) -> list[Pane]:
        """List the panes that ``list-panes`` finds: their ids, processes, terminals and start commands.

        The server is in the agents' hands, so lines of another form are ignored.

        Raises
        ------
        CommandError
            As `cmd` does.
        """
        lines = self.cmd("list-panes", *where, "-F", _FORMAT).stdout
        return [
            Pane(self, pane_id=found[1], pane_pid=found[2], pane_tty=found[3], pane_start_command=found[4])
            for found in map(_PANE.fullmatch, lines)
            if found is not None
        ]

    @property
    def tmux_bin(self) -> str | None:
        """Raise: whatever in libtmux runs tmux by itself asks for this first."""
        raise BypassError("this part of libtmux would run tmux with our environment: use Server.cmd")

    @tmux_bin.setter
    def tmux_bin(self, program: str | None) -> None:
        """Ignore what libtmux' constructor sets."""


class _Answer(tmux_cmd):
    """The output of a command, in the form that libtmux expects."""

    def __init__(self, out: bytes) -> None:
        self.returncode, self.stderr = 0, []
        self.stdout = _text(out).split("\n")
        while self.stdout and not self.stdout[-1]:
            self.stdout.pop()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
