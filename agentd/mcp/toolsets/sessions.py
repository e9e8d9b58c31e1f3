"""The toolset ``sessions``: conversations that agentd-gateway keeps, where it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from agentd.mcp.agentctl import Agentctl, operand
from agentd.mcp.errors import ToolError
from agentd.mcp.tool import ADDS, CHANGES, READS, Arguments, Call, Result, Tool, tool
from agentd.mcp.toolsets.agents import Everything, read
from agentd.mcp.untrusted import Untrusted

_LONGEST = 50
"""Seconds: hosts cut calls at 60 s."""

_MORE = 10.0
"""Seconds for agentctl beside what it is told to wait."""


class NewSession(Arguments):
    """Whom to talk to."""

    agent: str
    """The declared agent by whose definition the session works."""
    title: str = ""


class OneSession(Arguments):
    """Names a session."""

    session: str
    """Its id."""


class Message(OneSession):
    """What to say."""

    text: str


class OneRun(Arguments):
    """A run, and how long to wait for its end."""

    run: str
    """Its id."""
    timeout_seconds: Annotated[int, Field(ge=0, le=_LONGEST)] = _LONGEST


class Session(Result):
    """A session."""

    id: str
    status: str
    agent: str | None = None
    tmux_session: str | None = None
    title: str | None = None


class Sessions(Result):
    """Sessions, the newest first."""

    sessions: tuple[Session, ...]


class Run(Result):
    """A run: a message, and all that the agent does about it."""

    id: str
    session_id: str
    status: str
    result_text: Untrusted | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    timed_out: bool | None = None


def session_tools(agentctl: Agentctl) -> Sequence[Tool]:
    """Make the tools."""

    async def list_sessions(_arguments: Everything, _call: Call) -> Sessions:
        found = await agentctl.json("session", "list")
        listed = found.get("sessions") if isinstance(found, Mapping) else None
        return Sessions(sessions=tuple(read(Session, each) for each in (listed if isinstance(listed, list) else [])))

    async def create_session(arguments: NewSession, _call: Call) -> Session:
        title = ["--title", arguments.title] if arguments.title else []
        return _session(await agentctl.json("session", "--agent", operand(arguments.agent), *title, "create"))

    async def send_session_message(arguments: Message, _call: Call) -> Run:
        words = ["--session-id", operand(arguments.session), f"--text={arguments.text}", "send"]
        return _run(await agentctl.json("message", *words))

    async def wait_session_run(arguments: OneRun, _call: Call) -> Run:
        run = operand(arguments.run)
        try:
            await agentctl.json(
                "run",
                "--timeout-s",
                str(arguments.timeout_seconds),
                "wait",
                run,
                limit=arguments.timeout_seconds + _MORE,
            )
        except ToolError as failure:
            # The exit status tells of a run that has not ended, or has not succeeded; what it is stands in the run.
            if failure.code != "failed":
                raise
        return _run(await agentctl.json("run", "get", run))

    async def close_session(arguments: OneSession, _call: Call) -> Session:
        return _session(await agentctl.json("session", "close", operand(arguments.session)))

    return (
        tool("list_sessions", "List conversations of agentd-gateway.", READS, Everything, Sessions, list_sessions),
        tool("create_session", "Begin a conversation with an agent.", ADDS, NewSession, Session, create_session),
        tool("send_session_message", "Send a message; gives its run.", ADDS, Message, Run, send_session_message),
        tool("wait_session_run", "Wait for a run's end and give its answer.", READS, OneRun, Run, wait_session_run),
        tool("close_session", "End a conversation.", CHANGES, OneSession, Session, close_session),
    )


def _session(document: object) -> Session:
    return read(Session, document.get("session") if isinstance(document, Mapping) else None)


def _run(document: object) -> Run:
    return read(Run, document.get("run") if isinstance(document, Mapping) else None)
