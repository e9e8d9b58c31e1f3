"""What can go wrong with tmux; unreachable is never the same as empty."""

from __future__ import annotations


class TmuxError(RuntimeError):
    """tmux refused a command; the text is tmux' own."""


class TmuxUnreachableError(RuntimeError):
    """The connection ended or the server does not answer, so nothing is known about its sessions."""


class TmuxStartError(RuntimeError):
    """No tmux server could be started or reached; the text says why and what to do."""


class TmuxGreetingError(TmuxStartError):
    """Whoever serves the socket does not speak as tmux does."""


class TmuxHungUpError(TmuxGreetingError):
    """The server, or the client, ended before it had greeted: so does a server on its way out."""
