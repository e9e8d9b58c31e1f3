"""Warn of what only a shell would expand: variables and ``~`` in fields, command lines in one word."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Final

from agentd.jcard.declarations import Declaration
from agentd.jcard.findings import Findings
from agentd.model.spec import ENVIRONMENT_NAME
from agentd.text.quoting import quote

_HOME: Final = re.compile(r"(?:^|[=:])(~|\$HOME|\$\{HOME\})(?=[/:]|$)")
"""At the beginning, or where a path starts in a list or option."""
_VARIABLE: Final = re.compile(rf"\$\{{{ENVIRONMENT_NAME}\}}|(?:^|[=:/])\${ENVIRONMENT_NAME}(?=[/:]|$)")
"""``${X}`` anywhere; ``$X`` only as a whole part of a path or list, since any text may contain ``$``."""

_PATHS: Final = ("workdir", "prompt_file", "repo")
_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish"})
"""Programs that expand their arguments themselves."""


def check_unexpanded(declaration: Declaration, home: FilePath, findings: Findings) -> None:
    """Warn of values that only a shell would expand. They may be secret, so no message repeats them."""

    def warn(path: tuple[str | int, ...], message: str) -> None:
        declaration.warning(findings, message, *path)

    for field in _PATHS:
        value = declaration.written(field)
        if isinstance(value, str) and "$" in value and (_HOME.search(value) or _VARIABLE.search(value)):
            right = '"~/…"' if _HOME.search(value) else "the path itself"
            warn((field,), f"variables are not expanded here; write {right}")
    for path, value in _words(declaration):
        if _HOME.search(value):
            found = "~" if "~" in value else "$HOME"
            warn(path, f"{found} is not expanded here; write {quote(str(home))} in its place")
        elif _VARIABLE.search(value):
            warn(path, "variables are not expanded here; write the value itself, or have sh -c expand it")
    command = declaration.written("command")
    if isinstance(command, list) and command and isinstance(command[0], str):
        first, *others = command[0].split() or [""]
        if others and ("/" not in first or any(word.startswith("-") for word in others)):
            warn(
                ("command",),
                f"the first element, a command line of {len(others) + 1} words, is looked for as one program; "
                f'write each word by itself: [{quote(first)}, "…"]',
            )


def _words(declaration: Declaration) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Give the values that reach the agent unchanged."""
    env = declaration.written("env")
    if isinstance(env, Mapping):
        yield from ((("env", name), value) for name, value in env.items() if isinstance(value, str))
    for field in ("command", "args"):
        words = declaration.written(field)
        if isinstance(words, list) and not _is_shell(declaration):
            yield from (((field, index), word) for index, word in enumerate(words) if isinstance(word, str))


def _is_shell(declaration: Declaration) -> bool:
    command = declaration.written("command")
    return (
        isinstance(command, list)
        and bool(command)
        and isinstance(command[0], str)
        and os.path.basename(command[0]) in _SHELLS  # noqa: PTH119 (text, not a path that is used)
    )
