"""What is done with a real agent so that it is known what it does, whatever it shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from agentd.model.states import Activity

LIMITED = "STUB-LIMIT:4000 please"
END = "\u2713 all of answer @N@"
"""The last words of an answer that the model is given by `says`, with its number; JSON writes the sign otherwise."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One message, and what the agent does for long after it."""

    note: str
    message: str
    expect: Activity
    requests: int = 1
    """How many the stub gets in this turn, at least, before it is so."""
    then: tuple[str, ...] = ()
    """What is done with the screen afterwards, each with a capture: `resize`, `draft`, `scroll`, `allow`."""
    keys: tuple[str, ...] = ()
    """That end it."""
    after: str | None = None
    """What the agent is idle after, once these keys were pressed; ``None`` if that is not looked at."""
    keeps: bool = False
    """Whether it is still `expect` after the keys."""


def says(text: str) -> str:
    """Give the message that the model answers with this text."""
    return f"STUB-SAY:{json.dumps(text + chr(10) * 2 + END)}"


def _tool(name: str, arguments: Mapping[str, object]) -> str:
    return f"STUB-TOOL:{name} {json.dumps(arguments)}"


CHOICES: list[dict[str, object]] = [
    {"label": "Keep the old format", "description": "nothing to migrate"},
    {"label": "Change to JSON lines", "description": "error: 401 cannot happen here"},
]
QUESTION = "Which format should the log have? Do you want to proceed?"


def question(harness: str) -> str:
    """Give the message after which the agent asks a question by its own tool."""
    asked: dict[str, object] = {"question": QUESTION, "header": "Format", "options": CHOICES}
    match harness:
        case "claude-code":
            return _tool("AskUserQuestion", {"questions": [{**asked, "multiSelect": False}]})
        case "codex":
            return _tool("request_user_input", {"questions": [{**asked, "id": "format"}]})
        case "gemini-cli":
            return _tool("ask_user", {"questions": [{**asked, "type": "choice"}]})
        case _:
            return _tool("question", {"questions": [asked]})


def command(harness: str, text: str) -> str:
    """Give the message after which the agent runs a command for which it needs a permission."""
    if harness != "codex":
        return f"STUB-BASH:{text}"
    call = {"cmd": text, "sandbox_permissions": "require_escalated", "justification": "May I? esc to interrupt"}
    return _tool("exec_command", call)


def write(harness: str, path: str) -> str:
    """Give the message after which the agent wants to write a file."""
    content = "".join(f"{number}: Allow once? 1. Yes  2. No\n" for number in range(12))
    match harness:
        case "claude-code":
            return _tool("Write", {"file_path": path, "content": content})
        case "gemini-cli":
            return _tool("write_file", {"file_path": path, "content": content})
        case "opencode":
            return _tool("write", {"filePath": path, "content": content})
        case _:
            return command(harness, f"printf '%s' '{content}' > {path}")


LONG = "\n".join(
    f"{number}. ● Working… esc to interrupt; 401 Unauthorized, usage limit reached, Do you want to proceed? 1. Yes"
    for number in range(90)
)

STOP: Mapping[str, tuple[str, ...]] = {"opencode": ("Escape", "Escape")}
"""Keys that interrupt a turn, where it is not Escape once."""
OFFER = ("gemini-cli", "codex")
"""Which offer something at a limit: it is a limit still when that is declined."""
ALLOW: Mapping[str, str] = {"codex": "y"}
"""Keys that allow once, where it is not Enter."""


def scenes(harness: str, workdir: str, traps: list[str]) -> list[Scene]:
    """Give the scenes of one session, in their order; `traps` are texts in which other states are quoted."""
    escape = ("Escape",)
    stop = STOP.get(harness, escape)
    idle, working, permission = Activity.IDLE, Activity.WORKING, Activity.WAITING_PERMISSION
    retries = harness in ("gemini-cli", "opencode")
    limit_keys = {"gemini-cli": ("Down", "Enter"), "opencode": stop, "codex": escape}.get(harness, ())
    return [
        Scene("an answer of one line", "hello there", idle),
        Scene("waiting for the model", "STUB-SLEEP:300", working, 1, ("resize",), stop, "interrupted"),
        *(Scene(f"TRAP: {number}", says(trap), idle) for number, trap in enumerate(traps)),
        Scene("TRAP: long answer", says(LONG), idle, 1, ("scroll", "resize", "draft")),
        Scene("a command", command(harness, f"mkdir {workdir}/denied"), permission, 1, ("resize",), escape, "denied"),
        Scene(
            "a command, to be allowed",
            command(harness, f"echo $$ > {workdir}/ran; exec tail -f /dev/null"),
            permission,
            1,
            ("allow",),
            stop,
            "a tool interrupted",
        ),
        Scene("a file", write(harness, f"{workdir}/new.txt"), permission, 1, (), escape, None),
        Scene("a question", question(harness), Activity.WAITING_INPUT, 1, ("resize",), escape, None),
        Scene("401", "STUB-STATUS:401", Activity.AUTH_ERROR, 1, ("draft",)),
        Scene("good after 401", "again: 401 Unauthorized, isn't it", idle),
        Scene("500", "STUB-STATUS:500", working if retries else idle, 1 + retries, (), stop if retries else (), None),
        Scene("429", LIMITED, Activity.USAGE_LIMIT, 1, ("resize",), limit_keys, None, keeps=harness in OFFER),
        Scene("good after 429", says("Usage limit reached. Try again at 5 pm."), idle),
    ]
