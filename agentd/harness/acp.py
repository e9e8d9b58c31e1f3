"""The harness ``acp``: any coding agent that speaks the Agent Client Protocol, which is no program for a terminal.

Such a program reads and writes JSON-RPC. What is in its pane is a renderer of ours (`agentd.acp`), which runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from agentd.harness.base import Harness, HarnessError, HarnessFacts, Request, StopKey, in_rounds, interrupts
from agentd.model.spec import Mode

NAME: Final = "acp"
"""By which a jcard gives it."""

RENDERER: Final = "agentd.acp"
"""The package of the renderer."""

RESUME_VARIABLE: Final = "AGENTD_ACP_SESSION"
"""Environment variable that tells the renderer the session to go on with."""

BOX: Final = "> "
"""What the renderer shows left of what is being typed."""

READY: Final = "/exit leaves"
"""What it shows once it takes input."""


def acp_argv(command: Sequence[str], message: str) -> tuple[str, ...]:
    """Give the renderer's arguments: the agent's command line, and the first message, empty if there is none."""
    return (*command, message)


def split_argv(argv: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Undo `acp_argv`."""
    return tuple(argv[:-1]), argv[-1]


_FACTS: Final = HarnessFacts(ready_marker=READY, empty_box=BOX, renderer=RENDERER)


def acp_command(harness: Harness, request: Request) -> tuple[str, ...] | None:
    """Give the command line of a conversation by program, if that is held by the Agent Client Protocol.

    Parameters
    ----------
    request
        Without a prompt.

    Raises
    ------
    HarnessError
        If the harness cannot express it.
    """
    spoken = harness.facts.acp
    return harness.argv(replace(request, args=(*spoken, *request.args))) if spoken else None


@dataclass(frozen=True, slots=True)
class AcpHarness:
    """Any agent that speaks the Agent Client Protocol, by the jcard's ``command``."""

    binary: str = "acp-agent"
    """Of no program: there is always a command."""
    facts: HarnessFacts = _FACTS
    takes_model: bool = False
    """The command has a flag for it, or none."""
    takes_command: bool = True

    def argv(self, request: Request) -> tuple[str, ...]:
        """Build what `acp_argv` gives of ``COMMAND ARGS`` and the prompt.

        Raises
        ------
        HarnessError
            If there is no command, or the request has a model or wants the program to end with its answer.
        """
        if not request.command:
            raise HarnessError('acp needs the agent\'s command line: command = ["gemini", "--acp"], for example')
        if request.model is not None:
            raise HarnessError(
                f'acp has no flag for a model; remove model = "{request.model}" and put the agent\'s own into command'
            )
        if request.mode is Mode.ONESHOT:
            raise HarnessError(f'acp takes one message after the other and stays; remove mode = "{request.mode}"')
        return acp_argv((*request.command, *request.args), request.prompt)

    def stop_keys(self, request: Request) -> tuple[StopKey, ...]:  # noqa: ARG002 (the protocol's)
        """The first C-c interrupts a turn, the next one asks for another."""
        return in_rounds(interrupts(3))


ACP = AcpHarness()
