"""What one agent asks to be confirmed, by its stream: asked of its user once, whatever is restarted meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agentd.gateway.engine.confirmations import Ask, Confirmations, ask, finish, is_over
from agentd.gateway.engine.core import Core
from agentd.gateway.model.follow import Line
from agentd.gateway.model.managed import Confirmation, Decider, ManagedAgent, SoughtTool, Tools
from agentd.gateway.model.objects import Json, JsonObject
from agentd.gateway.store import confirmations
from agentd.gateway.store.database import Writer

_CERTAIN: Final = 5.0
"""Seconds; Claude Code's hook asks a new agentd again within 0.5 s, loaded 3."""
_REMEMBERED: Final = 256
"""Uses of tools that are over, of which it is known how."""
_KINDS: Final = frozenset({"permission_asked", "permission_resolved", "tool_completed", "ended"})


class Asking:
    """Follows what an agent asks.

    Parameters
    ----------
    target
        The agent whose stream it is.
    agent
        The managed agent by whose definition that one works.
    """

    def __init__(self, core: Core, service: Confirmations, target: str, agent: ManagedAgent) -> None:
        self._core = core
        self._service = service
        self._target = target
        self._agent = agent
        self._tools = Tools.of(agent)
        self._ran: dict[str, bool] = {}
        self._orphans: set[str] = set()
        """Requests that the agent is not known to ask any more: agentd was restarted, and it may ask again."""
        self._over_since: float | None = None
        self.lost = True
        """Whether lines may have been missed."""

    async def take(self, lines: Sequence[Line]) -> None:
        """Take lines of the stream, in order.

        Raises
        ------
        AgentdUnreachableError, RefusedError
            If agentd has to be asked, and does not answer.
        """
        if not self._tools.sought:
            return
        if self.lost:
            self.lost = not await self._catch_up()
        wanted = [line for line in lines if line.get("kind") in _KINDS]
        if wanted:
            await self._core.database.write(lambda writer: self._take(writer, wanted))
            self._service.asked()

    async def _take(self, writer: Writer, lines: Sequence[Line]) -> None:
        for line in lines:
            waiting = await self._waiting(writer)
            match line.get("kind"):
                case "permission_asked":
                    await self._asked(writer, waiting, line)
                case "permission_resolved":
                    await self._resolved(writer, waiting, line)
                case "tool_completed":
                    await self._completed(writer, waiting, line)
                case _:
                    await self._ended(writer, waiting)

    async def _waiting(self, writer: Writer) -> list[Confirmation]:
        found = await confirmations.undecided(writer.connection, self._agent.agent)
        return [each for each in found if each.target == self._target]

    async def _asked(self, writer: Writer, waiting: Sequence[Confirmation], line: Line) -> None:
        request, tool = str(line.get("request") or line.get("id")), line.get("tool")
        sought = self._tools.find_named(str(line.get("name") or ""), str(line.get("text") or ""))
        if sought is None or any(each.request == request for each in waiting):
            return
        given = line.get("arguments")
        arguments: JsonObject = given if isinstance(given, dict) else {}
        again = next((each for each in waiting if each.id in self._orphans and _same(each, sought, arguments)), None)
        use = tool if isinstance(tool, str) else None
        if again is not None:
            self._orphans.discard(again.id)
            await confirmations.change(writer.connection, again.id, request=request, tool=use, gone=False)
            return
        await ask(writer, self._agent, sought, Ask(self._target, request, use, arguments), self._core.wall())

    async def _resolved(self, writer: Writer, waiting: Sequence[Confirmation], line: Line) -> None:
        asked = next((each for each in waiting if each.request == line.get("request")), None)
        if asked is None:
            return
        decision = line.get("decision")
        if decision in ("allow", "deny"):
            by = asked.decided_by or Decider.USER
            await finish(writer, asked, by, self._core.wall(), confirmed=decision == "allow")
        elif asked.tool is not None and asked.tool in self._ran:
            await finish(writer, asked, Decider.TERMINAL, self._core.wall(), confirmed=self._ran[asked.tool])
        else:
            await confirmations.change(writer.connection, asked.id, answer=None, decided_by=None, gone=True)

    async def _completed(self, writer: Writer, waiting: Sequence[Confirmation], line: Line) -> None:
        use, ok = str(line.get("tool")), line.get("ok") is not False
        self._ran[use] = ok
        while len(self._ran) > _REMEMBERED:
            del self._ran[next(iter(self._ran))]
        for asked in waiting:
            if asked.gone and asked.tool == use:
                await finish(writer, asked, Decider.TERMINAL, self._core.wall(), confirmed=ok)

    async def _ended(self, writer: Writer, waiting: Sequence[Confirmation]) -> None:
        for asked in waiting:
            self._orphans.discard(asked.id)
            await finish(writer, asked, Decider.NOBODY, self._core.wall(), confirmed=False)

    async def _catch_up(self) -> bool:
        """Compare what is stored with what the agent asks now: some of it may not have been heard.

        Returns
        -------
        Whether it is known now.
        """
        shown = await self._core.turns.conversation(self._target)
        asks = _requests(None if shown is None else shown.get("requests"))
        over = self._is_certainly_over(shown)

        async def work(writer: Writer) -> None:
            waiting = await self._waiting(writer)
            now_asked = {str(each.get("id")) for each in asks}
            for asked in waiting:
                if asked.request in now_asked:
                    self._orphans.discard(asked.id)
                elif over:
                    await self._ended(writer, [asked])
                else:
                    self._orphans.add(asked.id)
            for each in asks:
                await self._asked(writer, await self._waiting(writer), each)

        await self._core.database.write(work)
        self._service.asked()
        return not self._orphans

    def _is_certainly_over(self, shown: JsonObject | None) -> bool:
        """Whether an agent asks for nothing for some time now: a new agentd learns by and by what it does."""
        now = asyncio.get_running_loop().time()
        if not is_over(shown):
            self._over_since = None
            return False
        self._over_since = now if self._over_since is None else self._over_since
        return now - self._over_since >= _CERTAIN


def _same(asked: Confirmation, sought: SoughtTool, arguments: JsonObject) -> bool:
    known = replace(asked, arguments=dict(asked.arguments))
    return (known.server_name, known.tool_name, known.arguments) == (sought.server, sought.name, arguments)


def _requests(shown: Json) -> list[JsonObject]:
    return [each for each in (shown if isinstance(shown, list) else []) if isinstance(each, dict)]
