"""What is added to a launch of OpenCode: its own server on loopback, behind a password, or a plugin."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from typing import Final

from agentd.harness.additions import Additions, LaunchFacts
from agentd.turns.opencode.plugin import CONFIG, PROGRAM, configured

PORT, PASSWORD = "port", "password"
"""In the memo, which the agents' user alone may read."""

GIVEN: Final = "given"
"""In the memo, if the user has set up the server: whose port it is is not known by a password of ours."""

RESUMED: Final = "session"
"""In the memo: the conversation that it goes on with."""

PLUGIN: Final = "plugin"
"""In the memo, if a plugin tells, since the server that the user has set up cannot be followed."""

FORK: Final = "fork"
"""In the memo: what its conversation begins with; it is made with the first message."""

ONE_TURN: Final = "one-turn"
"""In the memo, of a run that ends with its answer. With a prompt alone the program stays: what the Go agentd runs."""

DATA: Final = "data"
"""In the memo: the folder of what OpenCode keeps, if it is none in the home."""

USER: Final = "opencode"
"""Whom the server knows by the password."""

_VARIABLE: Final = "OPENCODE_SERVER_PASSWORD"
_NAME: Final = "OPENCODE_SERVER_USERNAME"
_PORT, _HOST = "--port", "--hostname"
_OWN: Final = (_PORT, _HOST, "--mdns", "--cors")
"""Whoever sets up the server has a use for it: it is left as it is."""
_BARE: Final = ("--pure",)
"""Without plugins."""
_HERE: Final = (None, "127.0.0.1", "localhost", "0.0.0.0")  # noqa: S104 (what a server may listen on)
"""Hosts of a server that is reached on loopback."""
_MOST_PORTS: Final = 65_535
_CONVERSATION: Final = ("-s", "--session", "-c", "--continue")
_COMMANDS: Final = frozenset({"run", "serve", "web", "attach", "acp", "auth", "mcp", "models", "agent", "upgrade"})


def additions(facts: LaunchFacts) -> Additions:
    """Have OpenCode's own server listen on a free port of loopback, or follow the one that the user has set up.

    Where that one's address or user is not known, and in a sandbox with a loopback of its own, a plugin does what the
    server would.
    ``--port 0`` would take 4096 where that is free, and tells nobody which it took otherwise.
    """
    argv = facts.argv
    data = facts.environment.get("XDG_DATA_HOME")
    elsewhere = {DATA: data} if data and data.startswith("/") else {}
    if not facts.stays and argv[1:2] == ("run",):
        return Additions(argv, memo={ONE_TURN: "yes", **elsewhere})
    password = facts.environment.get(_VARIABLE)
    of_user = _has(argv, _OWN)
    port = _port_of(argv) if of_user else _free_port()
    if not facts.stays or not argv or (argv[1:2] != () and argv[1] in _COMMANDS):
        return Additions(argv, memo=elsewhere)
    added, given, amended, file, memo = list[str](), dict[str, str](), dict[str, str](), None, dict(elsewhere)
    if port is None or not facts.on_loopback or facts.environment.get(_NAME, USER) != USER:
        config = configured(facts.environment.get(CONFIG), facts.file)
        if facts.hook_socket is None or config is None or _has(argv, _BARE):
            return Additions(argv, memo=elsewhere)
        amended, file, memo = {CONFIG: config}, PROGRAM, {PLUGIN: "yes", **elsewhere}
    elif of_user:
        memo |= {PORT: str(port), PASSWORD: password or "", GIVEN: "yes"}
    else:
        added = [_HOST, "127.0.0.1", _PORT, str(port)]
        if password is None:
            password = secrets.token_urlsafe(24)
            given = {_VARIABLE: password}
        memo |= {PORT: str(port), PASSWORD: password}
    named = _has(argv, _CONVERSATION)
    if facts.resume is not None and not named:
        added += ["-s", facts.resume]
        memo[RESUMED] = facts.resume
    forks = facts.fork is not None and not named
    if forks:
        memo[FORK] = str(facts.fork)
    return Additions((argv[0], *added, *argv[1:]), given, amended, file, memo, forks)


def _port_of(argv: Sequence[str]) -> int | None:
    """The port of the server that a command line sets up, if it is named, and reached on loopback."""
    port = _value(argv, _PORT)
    if port is None or not port.isdecimal() or not 0 < int(port) <= _MOST_PORTS or _value(argv, _HOST) not in _HERE:
        return None
    return int(port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _value(argv: Sequence[str], option: str) -> str | None:
    for at, word in enumerate(argv):
        if word == option:
            return argv[at + 1] if at + 1 < len(argv) else None
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _has(argv: Sequence[str], options: Sequence[str]) -> bool:
    words = argv[: argv.index("--")] if "--" in argv else argv
    return any(word == option or word.startswith(f"{option}=") for word in words for option in options)
