"""What is added to a launch of Gemini CLI: an id for its conversation. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

from agentd.harness.additions import Additions, LaunchFacts

HOME: Final = "gemini_home"
"""In the memo: the folder that holds Gemini CLI's own, if it is not HOME."""

SESSION: Final = "session"
"""In the memo: the id of the conversation."""

SCREEN: Final = "screen"
"""In the memo: that a run with one message has a screen, and goes on after its answer."""

_NAMESPACE: Final = uuid.UUID("0e6f2c1c-9a43-5d0b-8a77-4f2d0c6a9b12")
_OPTION: Final = "--session-id"
_CONVERSATION: Final = ("--resume", "-r", "--session-file", "--list-sessions", "--delete-session")
_OTHER: Final = ("--acp", "--experimental-acp", "--list-extensions", "-l")
_COMMANDS: Final = frozenset({"mcp", "extensions", "extension", "skills", "skill", "hooks", "hook", "gemma"})


def additions(facts: LaunchFacts) -> Additions:
    """Name the conversation, unless the command line does, or is none for a person."""
    argv = facts.argv
    home = facts.environment.get("GEMINI_CLI_HOME")
    memo = {HOME: home} if home and home.startswith("/") else {}
    if not facts.stays or not argv:
        # `gemini PROMPT` answers on a screen, and stays.
        return Additions(argv, memo=memo if _has(argv, ("-p", "--prompt")) else {**memo, SCREEN: "yes"})
    named = _value(argv, _OPTION)
    if named is not None:
        return Additions(argv, memo={**memo, SESSION: named} if _is_uuid(named) else memo)
    if _has(argv, (*_CONVERSATION, *_OTHER)) or (len(argv) > 1 and argv[1] in _COMMANDS):
        return Additions(argv, memo=memo)
    if facts.resume is not None:
        return Additions((argv[0], "--resume", facts.resume, *argv[1:]), memo={**memo, SESSION: facts.resume})
    session = str(uuid.uuid5(_NAMESPACE, facts.run_id))
    return Additions((argv[0], _OPTION, session, *argv[1:]), memo={**memo, SESSION: session})


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _words(argv: Sequence[str]) -> Sequence[str]:
    return argv[: argv.index("--")] if "--" in argv else argv


def _has(argv: Sequence[str], options: Sequence[str]) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in _words(argv) for option in options)


def _value(argv: Sequence[str], option: str) -> str | None:
    """What an option is given, empty if that is missing; ``None`` if the option is not there."""
    words = _words(argv)
    for at, word in enumerate(words):
        if word == option:
            return words[at + 1] if at + 1 < len(words) else ""
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None
