"""Check single values of an agent table.

Each check returns its value or raises ``ValueError``, which pydantic turns into an error at the value's position.
"""

from __future__ import annotations

import math
import re
from typing import Final

from agentd.files.named_zones import named_zone
from agentd.model.destinations import HTTPS, Destination, is_name, parse_destination
from agentd.model.gateway import LONGEST_USER, USER
from agentd.model.order import OUTCOMES
from agentd.model.spec import (
    AGENT_NAME,
    AGENT_VARIABLE,
    ENVIRONMENT_NAME,
    FORK_POINT,
    RESERVED_SESSION,
    RUN_ID_VARIABLE,
)
from agentd.text.durations import EXAMPLES, DurationError, format_duration, parse_duration
from agentd.text.quoting import quote, show, unfit
from agentd.text.sizes import parse_size

LONGEST_NAME: Final = 63
"""Characters of an agent's name."""
_NAME: Final = re.compile(AGENT_NAME)
_USER: Final = re.compile(USER)
_VARIABLE: Final = re.compile(ENVIRONMENT_NAME)

LONGEST_SESSION: Final = 255
"""Characters."""
NOWHERE_IN_SESSION: Final = ".:#$\\"
"""tmux 3.3a turns ``.`` and ``:`` into ``_``, expands ``#``, and shows ``$`` and backslash escaped."""
NOT_FIRST_IN_SESSION: Final = "=$@%-+!{~^"
"""tmux gives targets that begin with one of these a meaning."""

REAP: Final = "idle:"
"""How `reap` begins."""
SHORTEST_REAP: Final = 1.0
"""Seconds: what ends with a turn has ended by then."""

ZONE_EXAMPLE: Final = "Europe/Berlin"

SHORTEST_LEASE: Final = "200ms"
"""A renewal may be seen this late."""

_NOWHERE_IN_BRANCH: Final = ("..", "@{", " ", "~", "^", ":", "?", "*", "[", "\\")

_EXPECTED_NAME: Final = f"expected 1 to {LONGEST_NAME} letters, digits, - and _, beginning with a letter or digit"

_EXPECTED_USER: Final = (
    f"expected 1 to {LONGEST_USER} letters, digits, _ and single -, beginning with a letter or digit: two dashes part "
    "users from names"
)


def check_name(name: str) -> str:
    """Check an agent's name.

    Raises
    ------
    ValueError
        If it does not match ``AGENT_NAME``.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(unfit(name, _EXPECTED_NAME, LONGEST_NAME))
    return name


def check_user(name: str) -> str:
    """Check the name of a user of the gateway.

    Raises
    ------
    ValueError
        If it does not match ``USER``.
    """
    if not _USER.fullmatch(name):
        raise ValueError(unfit(name, _EXPECTED_USER, LONGEST_USER + name.count("-")))
    return name


def check_branch(branch: str) -> str:
    """Check the name of a git branch (git-check-ref-format(1)).

    Raises
    ------
    ValueError
        If git rejects it, or takes it for something else.
    """
    parts = branch.split("/")
    bad = (
        any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
        or any(sequence in branch for sequence in _NOWHERE_IN_BRANCH)
        or branch.startswith("-")
        or branch.endswith(".")
        or branch in ("@", "HEAD")
        or not branch.isprintable()
    )
    if bad:
        raise ValueError(f'found {quote(branch)}, expected the name of a git branch such as "agentd/reviewer"')
    return branch


def check_revision(revision: str) -> str:
    """Check that a git revision cannot be taken for an option or a range."""
    if revision.startswith(("-", "^")) or ".." in revision or not revision.isprintable():
        raise ValueError(f'found {quote(revision)}, expected a branch, tag or commit such as "main"')
    return revision


def check_fork_point(written: str) -> str:
    """Check the point of a conversation that another one is a fork from."""
    if not re.fullmatch(FORK_POINT, written, re.ASCII):
        raise ValueError(f"found {quote(written)}, expected the id of a conversation, or CONVERSATION@TURN")
    return written


def check_after(written: str) -> str:
    """Check what an agent is launched after."""
    if not re.fullmatch(AGENT_NAME + OUTCOMES, written, re.ASCII):
        raise ValueError(
            f'found {quote(written)}, expected the name of an agent, with ":success", ":failure" or ":end" behind it'
        )
    return written


def check_time_zone(name: str) -> str:
    """Check that the system's database knows a time zone."""
    if named_zone(name) is None:
        raise ValueError(f'found {quote(name)}, expected a time zone of the IANA database such as "{ZONE_EXAMPLE}"')
    return name


def reap_after(written: str) -> float:
    """Read after how many seconds of an agent's idleness its orphans are ended."""
    if not written.startswith(REAP):
        raise ValueError(f'found {quote(written)}, expected "{REAP}" and a duration, such as "{REAP}30m"')
    seconds = parse_duration(written.removeprefix(REAP))
    if seconds < SHORTEST_REAP:
        raise ValueError(f"found {quote(written)}, expected at least {REAP}{format_duration(SHORTEST_REAP)}")
    return seconds


def check_reap(written: str) -> str:
    """Check when orphans are ended."""
    reap_after(written)
    return written


def check_session(session: str) -> str:
    """Check the name of a tmux session: tmux must keep it unchanged and find it."""
    reason = None
    if session == RESERVED_SESSION:
        reason = "which agentd keeps for itself; expected another name"
    elif len(session) > LONGEST_SESSION:
        raise ValueError(unfit(session, f"expected at most {LONGEST_SESSION} characters", LONGEST_SESSION))
    elif session[0] in NOT_FIRST_IN_SESSION:
        reason = f"expected a first character other than {' '.join(NOT_FIRST_IN_SESSION)}, which tmux would misread"
    elif any(character in session for character in NOWHERE_IN_SESSION):
        reason = f"expected a name without {' '.join(NOWHERE_IN_SESSION)}, which tmux changes in session names"
    elif not session.isprintable():
        reason = "expected a name without control or invisible characters"
    if reason is not None:
        raise ValueError(f"found {quote(session)}, {reason}")
    return session


def check_path(path: str) -> str:
    """Check a path, which may begin with ``~/``."""
    if "\0" in path:
        raise ValueError(f"found {quote(path)}, expected a path without NUL characters")
    if path.startswith("~") and path != "~" and not path.startswith("~/"):
        raise ValueError(f"found {quote(path)}, expected ~/…, an absolute path, or one relative to the file's folder")
    return path


def check_not_empty(text: str) -> str:
    """Refuse the empty string, where the field should be left out."""
    if not text:
        raise ValueError('found "", expected text; leave the field out for the default')
    return text


def check_command(command: list[str]) -> list[str]:
    """Check that a command line names a program."""
    if command and not command[0]:
        raise ValueError("found an empty first element, expected the program's name")
    return command


def check_variable(name: str) -> str:
    """Check the name of an environment variable."""
    if not _VARIABLE.fullmatch(name):
        raise ValueError("expected an environment variable name: letters, digits and _, not beginning with a digit")
    return name


def check_env_name(name: str) -> str:
    """Check the name of an environment variable that a jcard sets."""
    if name in (AGENT_VARIABLE, RUN_ID_VARIABLE):
        raise ValueError(f"{name} is set by agentd; expected another name")
    return check_variable(name)


def check_env_value(value: str) -> str:
    """Check the value of an environment variable; the message does not show it."""
    if "\0" in value:
        raise ValueError("the value contains a NUL character, which no environment variable can hold")
    return value


def duration_from_toml(value: object) -> float:
    """Parse a duration, in seconds; a bare number gets advice on its unit."""
    if isinstance(value, str):
        return parse_duration(value)
    shown = show(value)
    example = f'expected a duration such as "{EXAMPLES[0]}"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        advice = f'write "{shown}s" for seconds' if shown[0].isdigit() else "it must be a positive number with a unit"
        raise DurationError(f"found {shown}, which has no unit: {advice}; {example}")
    raise DurationError(f"found {shown}, {example}")


def check_lease(seconds: float) -> float:
    """Check the lease of a drop-in."""
    if seconds < parse_duration(SHORTEST_LEASE):
        raise ValueError(f'found "{format_duration(seconds)}", expected at least "{SHORTEST_LEASE}"')
    return seconds


def size_from_toml(value: object) -> int:
    """Parse a size, in bytes; the field decides what zero means."""
    if isinstance(value, str | int):
        return parse_size(value, least=0)
    raise ValueError(f'found {show(value)}, expected a size such as "2GiB" or a number of bytes')


LEAST_CPU: Final = 0.01
"""Cores; the kernel takes no less than 1 ms of each 100."""


def cores_from_toml(value: object) -> float:
    """Check a number of cores; 0 is no limit."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if value == 0 or LEAST_CPU <= value < 2**20:
            return float(value)
        raise ValueError(f"found {show(value)}, expected 0 for no limit, or at least {LEAST_CPU}")
    raise ValueError(f"found {show(value)}, expected a number of cores such as 1.5, without a unit")


def check_destination(text: str) -> str:
    """Check what an agent may reach over the network."""
    _destination(text, None)
    return text


def check_secret_host(text: str) -> str:
    """Check where the value of a secret is sent: one host, by its name."""
    if not is_name(_destination(text, HTTPS).host):
        raise ValueError(f'found {quote(text)}, expected the name of one host such as "api.github.com"')
    return text


def _destination(text: str, port: int | None) -> Destination:
    try:
        return parse_destination(text, port)
    except ValueError as error:
        raise ValueError(f"found {quote(text)}, {error}") from None
