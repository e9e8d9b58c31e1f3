"""A scripted agent that speaks the Agent Client Protocol, by its makers' own library.

Each line of a message is an order: ``say TEXT``, ``literal STRING`` (says it as one piece), ``think TEXT``,
``tool TITLE``, ``ask TITLE`` (says which option was chosen), ``sleep`` until it is cancelled, ``usage``,
``fail CODE MESSAGE``, ``stop REASON``, ``flood N``, ``print BYTES`` and ``complain BYTES`` (beside the protocol),
``die``, ``read PATH`` (asks us for a file, and says the error). With --sessions FOLDER it can go on with a former
session.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args
from uuid import uuid4

import acp
from acp import schema

OPTIONS = [
    schema.PermissionOption(option_id="always", name="Allow for this session", kind="allow_always"),
    schema.PermissionOption(option_id="once", name="Allow", kind="allow_once"),
    schema.PermissionOption(option_id="no", name="Reject", kind="reject_once"),
]


class Scripted:
    """The agent."""

    def __init__(self, sessions: Path | None, options: list[schema.PermissionOption]) -> None:
        self.sessions, self.options = sessions, options
        self.cancelled = asyncio.Event()
        self.calls = 0
        self.cost = 0.0
        self.session = ""
        self.usage: schema.Usage | None = None
        self.stop: schema.StopReason = "end_turn"

    def on_connect(self, conn: acp.Client) -> None:
        self.client = conn

    async def initialize(self, protocol_version: int, **_: object) -> schema.InitializeResponse:
        able = schema.AgentCapabilities(load_session=self.sessions is not None)
        return schema.InitializeResponse(protocol_version=protocol_version, agent_capabilities=able)

    async def new_session(self, **_: object) -> schema.NewSessionResponse:
        self.session = uuid4().hex
        if self.sessions is not None:
            (self.sessions / self.session).touch()
        return schema.NewSessionResponse(session_id=self.session)

    async def load_session(self, session_id: str, **_: object) -> schema.LoadSessionResponse:
        assert self.sessions is not None
        file = self.sessions / session_id
        if not file.exists():
            raise acp.RequestError.resource_not_found(session_id)
        self.session = session_id
        # After the answer, as Gemini CLI does, which the protocol does not allow.
        self.telling = asyncio.create_task(self.tell_past(file.read_text().splitlines()))
        return schema.LoadSessionResponse()

    async def tell_past(self, lines: Sequence[str]) -> None:
        await asyncio.sleep(0.05)
        for line in lines:
            await self.tell(acp.update_user_message_text(line))
            await self.say(f"past {line}\n")

    async def cancel(self, **_: object) -> None:
        self.cancelled.set()

    async def prompt(self, prompt: Sequence[schema.TextContentBlock], **_: object) -> schema.PromptResponse:
        self.cancelled.clear()
        self.usage, self.stop = None, "end_turn"
        text = "".join(block.text for block in prompt)
        for order in text.split("\n"):
            verb, rest = order.split(" ", 1) if " " in order else (order, "")
            if verb in ("print", "complain"):
                # Blocking, unlike the descriptor's own.
                await asyncio.to_thread(write, 1 if verb == "print" else 2, ast.literal_eval(rest))
            elif verb:
                await getattr(self, f"do_{verb}")(rest)
            if self.cancelled.is_set():
                return schema.PromptResponse(stop_reason="cancelled")
        if self.sessions is not None:
            with (self.sessions / self.session).open("a") as file:
                file.write(text.replace("\n", " ") + "\n")
        return schema.PromptResponse(stop_reason=self.stop, usage=self.usage)

    async def tell(
        self,
        update: schema.AgentMessageChunk
        | schema.UserMessageChunk
        | schema.AgentThoughtChunk
        | schema.ToolCallStart
        | schema.ToolCallProgress
        | schema.UsageUpdate,
    ) -> None:
        await self.client.session_update(self.session, update)

    async def say(self, text: str) -> None:
        await self.tell(acp.update_agent_message_text(text))

    async def do_say(self, text: str) -> None:
        for word in text.replace(" ", "\0 ").split("\0"):
            await self.say(word)

    async def do_literal(self, text: str) -> None:
        await self.say(ast.literal_eval(text))

    async def do_think(self, text: str) -> None:
        await self.tell(acp.update_agent_thought_text(text))

    async def do_tool(self, title: str) -> None:
        await self.use(title, asks=False)

    async def do_ask(self, title: str) -> None:
        await self.use(title, asks=True)

    async def do_sleep(self, _: str) -> None:
        await self.cancelled.wait()

    async def do_usage(self, _: str) -> None:
        self.cost += 0.25
        cost = schema.Cost(amount=self.cost, currency="USD")
        await self.tell(schema.UsageUpdate(session_update="usage_update", used=1, size=2, cost=cost))
        self.usage = schema.Usage(input_tokens=10, output_tokens=5, total_tokens=15, cached_read_tokens=2)

    async def do_fail(self, rest: str) -> None:
        code, message = rest.split(" ", 1)
        raise acp.RequestError(int(code), message)

    async def do_stop(self, reason: str) -> None:
        self.stop = next(each for each in get_args(schema.StopReason) if each == reason)

    async def do_flood(self, times: str) -> None:
        for number in range(int(times)):
            await self.say(f"{number} ")

    async def do_die(self, _: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def do_read(self, path: str) -> None:
        try:
            await self.client.read_text_file(path=path, session_id=self.session)
        except acp.RequestError as error:
            await self.say(str(error.code))

    async def use(self, title: str, *, asks: bool) -> None:
        self.calls += 1
        call = f"call-{self.calls}"
        given = {"command": title}
        await self.tell(acp.start_tool_call(call, title, kind="execute", status="pending", raw_input=given))
        ok = True
        if asks:
            details = schema.ToolCallUpdate(tool_call_id=call, title=title, kind="execute", status="pending")
            answer = await self.client.request_permission(
                options=self.options, session_id=self.session, tool_call=details
            )
            chosen = getattr(answer.outcome, "option_id", "cancelled")
            await self.say(f"[{chosen}]")
            ok = chosen in ("once", "always")
        await self.tell(acp.update_tool_call(call, status="completed" if ok else "failed"))


def write(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        select.select([], [descriptor], [])
        data = data[os.write(descriptor, data) :]


def main() -> None:
    """Serve until our input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=Path)
    parser.add_argument("--only-always", action="store_true")
    arguments = parser.parse_args()
    options = OPTIONS[:1] if arguments.only_always else OPTIONS
    asyncio.run(acp.run_agent(cast("acp.Agent", Scripted(arguments.sessions, options))))


if __name__ == "__main__":
    main()
