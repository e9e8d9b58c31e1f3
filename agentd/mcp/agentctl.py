"""agentctl, asked in a process of its own: it is the one home of what it shows of agents, worktrees and sessions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from agentd.mcp.errors import ToolError

_PROGRAM: Final = (sys.executable, "-P", "-m", "agentd.cli.agentctl")

_LIMIT: Final = 30.0
"""Seconds that a command may take; those asked here wait for nothing but agentd."""

FAILED: Final = "failed"
"""The code of a command's failure that it told only in words."""

_UNREACHABLE: Final = 3
"""agentctl's exit status where agentd does not answer."""


@dataclass(frozen=True, slots=True)
class Agentctl:
    """The command line.

    Parameters
    ----------
    flags
        Say where agentd's files and sockets are.
    """

    flags: Sequence[str]

    async def text(self, command: str, *arguments: str, limit: float = _LIMIT) -> str:
        """Give what a command prints.

        Raises
        ------
        ToolError
            If it fails, or takes too long.
        """
        process = await asyncio.create_subprocess_exec(
            *_PROGRAM,
            command,
            *self.flags,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(limit):
                printed, said = await process.communicate()
        except TimeoutError as error:
            raise ToolError("timed_out", f"agentctl {command} did not end in {limit:.0f} s") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode == _UNREACHABLE:
            raise ToolError("agentd_unreachable", "agentd does not answer: start it, or ask its operator to")
        if process.returncode:
            reason = said.decode(errors="replace").strip()
            raise ToolError(
                FAILED, f"agentctl {command} failed with exit status {process.returncode}", quoted=reason or None
            )
        return printed.decode(errors="replace")

    async def json(self, command: str, *arguments: str, limit: float = _LIMIT) -> JsonValue:
        """Give the JSON document that a command prints; raises as `text`."""
        read: JsonValue = json.loads(await self.text(command, "--format", "json", *arguments, limit=limit))
        return read


def operand(value: str) -> str:
    """Give an argument that is no option of agentctl's, whatever a caller wrote.

    Raises
    ------
    ToolError
        If it begins as an option does.
    """
    if value.startswith("-") or not value:
        raise ToolError("invalid_arguments", f"expected a name, found {value!r}")
    return value
