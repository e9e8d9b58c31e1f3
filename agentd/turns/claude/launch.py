"""What is added to a launch of Claude Code: hooks, a status line, and an id for its conversation. Pure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from agentd.harness.additions import Additions, LaunchFacts
from agentd.turns.adapter import LiveRun
from agentd.turns.claude import status_line
from agentd.turns.claude.fork import forking
from agentd.turns.hook_command import LONGEST_HOLD, hook_command

HOOKS = (
    *("SessionStart", "SessionEnd", "UserPromptSubmit", "MessageDisplay", "PreToolUse", "PostToolUse"),
    *("PostToolUseFailure", "PermissionRequest", "Stop", "StopFailure"),
)
"""The hooks that are set, by Claude Code's names."""

ASKS = "PermissionRequest"
"""The hook that waits for an answer."""

CONFIG = "config"
"""In the memo: Claude Code's own folder."""

SESSION = "session"
"""In the memo: the id that the conversation was given."""

HOOKED = "hooked"
"""In the memo, if hooks were set."""

_NAMESPACE = uuid.UUID("6b2e9d0e-6a0b-5a62-9c5f-1d1f1f5f1a44")
_SETTINGS = "--settings"
_CONVERSATION = ("--session-id", "--resume", "-r", "--continue", "-c", "--fork-session", "--from-pr", "--teleport")


def additions(facts: LaunchFacts) -> Additions:
    """Set hooks, beside those of the user, and name the conversation."""
    argv = facts.argv
    config = facts.environment.get("CLAUDE_CONFIG_DIR")
    memo = {CONFIG: config} if config and config.startswith("/") else {}
    if not facts.stays or not argv:
        return Additions(argv, memo=memo)
    added: list[str] = []
    named = _has(argv, _CONVERSATION)
    if not named:
        session = facts.resume or _new_session(facts.run_id)
        added += ["--resume" if facts.resume else "--session-id", session]
        memo[SESSION] = session
    file = None
    if facts.hook_socket is not None and not _has(argv, (_SETTINGS,)):
        # Given twice, the last one alone counts: then there are no hooks, and the files tell.
        settings: dict[str, object] = {"hooks": {name: _hook(facts.hook_socket, name) for name in HOOKS}}
        settings["statusLine"] = status_line.status_line(facts.hook_socket)
        file = json.dumps(settings).encode()
        added += [_SETTINGS, str(facts.file)]
        memo[HOOKED] = "yes"
    if facts.fork is None or named:
        return Additions((argv[0], *added, *argv[1:]), file=file, memo=memo)
    added += ["--resume", str(facts.copy), "--fork-session"]
    words = forking(facts.fork, facts.copy, (argv[0], *added, *argv[1:]))
    return Additions(words, file=file, memo=memo, forks=True)


def is_new(run: LiveRun) -> bool:
    """Whether a run goes on with no conversation, and nobody has seen one of it yet: all it costs is its own."""
    return run.conversation is None and run.memo.get(SESSION) == _new_session(run.facts.run_id)


def _new_session(run_id: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, run_id))


def _hook(socket: str, name: str) -> list[object]:
    line = hook_command(socket, name, persists=name == ASKS)
    command = {"type": "command", "command": line, "timeout": LONGEST_HOLD}
    return [{"hooks": [command]}]


def _has(argv: Sequence[str], options: Sequence[str]) -> bool:
    """Whether an option is given; behind ``--`` stands the prompt."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return any(word == option or word.startswith(f"{option}=") for word in words for option in options)
