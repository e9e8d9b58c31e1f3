"""What runs a program that is a script: the interpreter that its first line names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from agentd.files.regular import open_entitled
from agentd.model.user import AgentUser

_LONGEST: Final = 256
"""Bytes of a first line that Linux reads."""

_AS_WRITTEN: Final = re.compile(r"[\w.+-]+", re.ASCII)
"""Words that ``env -S``, which knows quotes, escapes and variables, takes as they stand."""


def interpreter_of(program: str, user: AgentUser) -> tuple[str, str | None] | None:
    """Read which interpreter a script names, and which program that one is to find on the PATH.

    Parameters
    ----------
    user
        Who is to run it: only what this user may read is looked at.

    Returns
    -------
    The interpreter's path, and the name behind it where it is ``env``, as in ``#!/usr/bin/env node``; ``None`` if the
    program is no script, or cannot be read.
    """
    try:
        with open_entitled(Path(program), user) as file:
            first = file.read(_LONGEST).partition(b"\n")[0]
    except OSError:
        # The kernel says what is wrong with it.
        return None
    if not first.startswith(b"#!") or b"\0" in first:
        return None
    # By spaces and tabs alone: in a script with Windows line ends the name has a carriage return at its end.
    interpreter, *sought = [word for word in re.split("[ \t]+", os.fsdecode(first[2:])) if word] or [""]
    if not interpreter:
        return None
    split = sought[:1] == ["-S"]
    sought = sought[split:]
    plain = bool(sought) and not sought[0].startswith("-") and not {"/", "="} & set(sought[0])
    plain = plain and (not split or _AS_WRITTEN.fullmatch(sought[0]) is not None)
    return interpreter, sought[0] if plain and os.path.basename(interpreter) == "env" else None  # noqa: PTH119 (text)
