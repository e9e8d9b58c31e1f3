"""What is added to a launch of OpenCode: its own server on loopback, behind a password."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from typing import Final

from agentd.harness.additions import Additions, LaunchFacts

PORT, PASSWORD = "port", "password"
"""In the memo, which the agents' user alone may read."""

RESUMED: Final = "session"
"""In the memo: the conversation that it goes on with."""

FORK: Final = "fork"
"""In the memo: what its conversation begins with; it is made with the first message."""

ONE_TURN: Final = "one-turn"
"""In the memo, of a run that ends with its answer. With a prompt alone the program stays: what the Go agentd runs."""

DATA: Final = "data"
"""In the memo: the folder of what OpenCode keeps, if it is none in the home."""

USER: Final = "opencode"
"""Whom the server knows by the password."""

_VARIABLE: Final = "OPENCODE_SERVER_PASSWORD"
_OWN: Final = ("--port", "--hostname", "--mdns", "--cors")
"""Whoever sets up the server has a use for it: nothing is added then."""
_CONVERSATION: Final = ("-s", "--session", "-c", "--continue")
_COMMANDS: Final = frozenset({"run", "serve", "web", "attach", "acp", "auth", "mcp", "models", "agent", "upgrade"})


def additions(facts: LaunchFacts) -> Additions:
    """Have OpenCode's own server listen on a free port of loopback.

    ``--port 0`` would take 4096 where that is free, and tells nobody which it took otherwise.
    """
    argv = facts.argv
    data = facts.environment.get("XDG_DATA_HOME")
    elsewhere = {DATA: data} if data and data.startswith("/") else {}
    own = _has(argv, _OWN) or _VARIABLE in facts.environment or (len(argv) > 1 and argv[1] in _COMMANDS)
    if not facts.stays and argv[1:2] == ("run",):
        return Additions(argv, memo={ONE_TURN: "yes", **elsewhere})
    if not facts.stays or not argv or own:
        return Additions(argv, memo=elsewhere)
    port, password = _free_port(), secrets.token_urlsafe(24)
    added = ["--hostname", "127.0.0.1", "--port", str(port)]
    memo = {PORT: str(port), PASSWORD: password, **elsewhere}
    named = _has(argv, _CONVERSATION)
    if facts.resume is not None and not named:
        added += ["-s", facts.resume]
        memo[RESUMED] = facts.resume
    forks = facts.fork is not None and not named
    if forks:
        memo[FORK] = str(facts.fork)
    return Additions((argv[0], *added, *argv[1:]), {_VARIABLE: password}, memo=memo, forks=forks)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _has(argv: Sequence[str], options: Sequence[str]) -> bool:
    words = argv[: argv.index("--")] if "--" in argv else argv
    return any(word == option or word.startswith(f"{option}=") for word in words for option in options)
