"""What single values of an agent table must be.

Each check returns its value, or raises ``ValueError`` with the message.
Pydantic turns a ``ValueError`` of a validator into an error at the value's place.
"""

from __future__ import annotations

import re
from typing import Final

from agentd.model.spec import AGENT_NAME, AGENT_VARIABLE, ENVIRONMENT_NAME, RESERVED_SESSION, RUN_ID_VARIABLE
from agentd.text.durations import EXAMPLES, DurationError, format_duration, parse_duration
from agentd.text.quoting import quote, show
from agentd.text.sizes import parse_size

_LONGEST_NAME: Final = 63
_NAME: Final = re.compile(AGENT_NAME)
_VARIABLE: Final = re.compile(ENVIRONMENT_NAME)

LONGEST_SESSION: Final = 255
"""Characters."""
NOWHERE_IN_SESSION: Final = ".:#$\\"
"""tmux 3.3a turns ``.`` and ``:`` into ``_``, expands ``#``, and shows ``$`` and backslash escaped."""
NOT_FIRST_IN_SESSION: Final = "=$@%-+!{~^"
"""A tmux target that begins with one of these is no plain name."""

SHORTEST_LEASE: Final = "200ms"
"""Less than that may go by until a renewal is seen."""

_NOWHERE_IN_BRANCH: Final = ("..", "@{", " ", "~", "^", ":", "?", "*", "[", "\\")

_EXPECTED_NAME: Final = f"expected 1 to {_LONGEST_NAME} letters, digits, - and _, beginning with a letter or digit"


def check_name(name: str) -> str:
    """Check an agent's name.

    Raises
    ------
    ValueError
        If it does not match ``AGENT_NAME``.
    """
    if not _NAME.fullmatch(name):
        length = f" ({len(name)} characters)" if len(name) > _LONGEST_NAME else ""
        msg = f"found {quote(name)}{length}, {_EXPECTED_NAME}"
        raise ValueError(msg)
    return name


def check_role(role: str) -> str:
    """Check the name of a role, which is also the name of a folder with its templates.

    Raises
    ------
    ValueError
        If it does not match ``AGENT_NAME``.
    """
    return check_name(role)


def check_branch(branch: str) -> str:
    """Check the name of a git branch (git-check-ref-format(1)).

    Raises
    ------
    ValueError
        If git would not take it, or would take it for something else.
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
        msg = f'found {quote(branch)}, expected the name of a git branch such as "agentd/reviewer"'
        raise ValueError(msg)
    return branch


def check_revision(revision: str) -> str:
    """Check that a git revision cannot be taken for an option or a range."""
    if revision.startswith(("-", "^")) or ".." in revision or not revision.isprintable():
        msg = f'found {quote(revision)}, expected a branch, tag or commit such as "main"'
        raise ValueError(msg)
    return revision


def check_session(session: str) -> str:
    """Check the name of a tmux session: one that tmux keeps as it is and finds again."""
    reason = None
    if session == RESERVED_SESSION:
        reason = "which agentd keeps for itself; expected another name"
    elif len(session) > LONGEST_SESSION:
        reason = f"expected at most {LONGEST_SESSION} characters"
    elif session[0] in NOT_FIRST_IN_SESSION:
        reason = f"expected a first character other than {' '.join(NOT_FIRST_IN_SESSION)}, which tmux would misread"
    elif any(character in session for character in NOWHERE_IN_SESSION):
        reason = f"expected a name without {' '.join(NOWHERE_IN_SESSION)}, which tmux changes in session names"
    elif not session.isprintable():
        reason = "expected a name without control or invisible characters"
    if reason is not None:
        msg = f"found {quote(session)}, {reason}"
        raise ValueError(msg)
    return session


def check_path(path: str) -> str:
    """Check a path, which may begin with ``~/``."""
    if "\0" in path:
        msg = f"found {quote(path)}, expected a path without NUL characters"
        raise ValueError(msg)
    if path.startswith("~") and path != "~" and not path.startswith("~/"):
        msg = f"found {quote(path)}, expected ~/…, an absolute path, or one relative to the file's folder"
        raise ValueError(msg)
    return path


def check_not_empty(text: str) -> str:
    """Refuse the empty string, where leaving the field out is what is meant."""
    if not text:
        msg = 'found "", expected text; leave the field out for the default'
        raise ValueError(msg)
    return text


def check_command(command: list[str]) -> list[str]:
    """Check that a command line names a program."""
    if command and not command[0]:
        msg = "found an empty first element, expected the program's name"
        raise ValueError(msg)
    return command


def check_variable(name: str) -> str:
    """Check the name of an environment variable."""
    if not _VARIABLE.fullmatch(name):
        msg = "expected an environment variable name: letters, digits and _, not beginning with a digit"
        raise ValueError(msg)
    return name


def check_env_name(name: str) -> str:
    """Check a name that a jcard may set in an environment."""
    if name in (AGENT_VARIABLE, RUN_ID_VARIABLE):
        msg = f"{name} is set by agentd; expected another name"
        raise ValueError(msg)
    return check_variable(name)


def check_env_value(value: str) -> str:
    """Check the value of an environment variable, without repeating it."""
    if "\0" in value:
        msg = "the value contains a NUL character, which no environment variable can hold"
        raise ValueError(msg)
    return value


def duration_from_toml(value: object) -> float:
    """Read a duration, in seconds; a bare number is told its unit."""
    if isinstance(value, str):
        return parse_duration(value)
    shown = show(value)
    example = f'expected a duration such as "{EXAMPLES[0]}"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        advice = f'write "{shown}s" for seconds' if shown[0].isdigit() else "it must be a positive number with a unit"
        message = f"found {shown}, which has no unit: {advice}; {example}"
    else:
        message = f"found {shown}, {example}"
    raise DurationError(message)


def check_lease(seconds: float) -> float:
    """Check the lease of a drop-in."""
    if seconds < parse_duration(SHORTEST_LEASE):
        msg = f'found "{format_duration(seconds)}", expected at least "{SHORTEST_LEASE}"'
        raise ValueError(msg)
    return seconds


def size_from_toml(value: object) -> int:
    """Read a size, in bytes; what zero means is for the field to say."""
    if isinstance(value, str | int):
        return parse_size(value, least=0)
    msg = f'found {show(value)}, expected a size such as "2GiB" or a number of bytes'
    raise ValueError(msg)
