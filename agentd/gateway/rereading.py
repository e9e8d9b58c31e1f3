"""What is read again while the gateway runs: who is let in, hosts and origins, webhooks.

Files are read, not watched: some tenths of a millisecond each time, and nothing to set up anew when a folder of
secrets is replaced as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import structlog

from agentd.files.answering import NotAnsweringError, Way
from agentd.files.looks import Looks
from agentd.gateway.http.guard import Access
from agentd.gateway.http.webhooks import Webhooks
from agentd.gateway.model.caller import Token
from agentd.gateway.settings import GatewaySettings, TableError, table_of
from agentd.gateway.tokens import read_tokens
from agentd.model.gateway import GatewayDeclaration
from agentd.settings.context import ConfigUnavailableError, read_config

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_EVERY: Final = 0.25
"""Seconds."""

_APPLIED: Final = ("hosts", "origins", "tokens", "webhooks")
"""Fields of [gateway] that count without a restart."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What the files say."""

    data: bytes | None
    """Of the jcard; ``None`` if it cannot be read."""
    table: GatewayDeclaration
    warnings: tuple[str, ...]
    tokens: tuple[Token, ...]
    problems: tuple[str, ...]


class Rereading:
    """Reads until it is cancelled.

    Parameters
    ----------
    settings
        Those of the start.
    access, webhooks
        What they are applied to.
    looks
        What files are read with.
    """

    def __init__(self, settings: GatewaySettings, access: Access, webhooks: Webhooks, looks: Looks) -> None:
        self._webhooks = webhooks
        self._settings = settings
        self._access = access
        self._looks = looks
        self._last = _Read(None, settings.table, settings.warnings, settings.tokens, ())
        self._told = settings.warnings

    async def run(self) -> None:
        """Read again and again."""
        while True:
            try:
                self._take(await self._looks.along(self._read))
            except NotAnsweringError as error:
                # What is in force stays so.
                self._tell([f"{error.strerror}; changes of tokens are not seen until it does"])
            await asyncio.sleep(_EVERY)

    def _read(self, way: Way) -> _Read:
        settings, last = self._settings, self._last
        config = settings.daemon.config
        data, table, warnings, problems = last.data, last.table, last.warnings, []
        way.to(config)
        try:
            data = read_config(config)
            if data != last.data:
                read = table_of(data, config, settings.context)
                table, warnings = read.declared, read.warnings
        except (ConfigUnavailableError, TableError) as error:
            problems.append(f"{error}; its [gateway] stays as it was")
        tokens, errors = read_tokens(table.tokens, settings.sources, way.to)
        return _Read(data, table, warnings, tokens, (*warnings, *problems, *map(str, errors)))

    def _take(self, read: _Read) -> None:
        last, self._last = self._last, read
        self._tell(read.problems)
        if read.table != last.table:
            self._access.hosts = self._settings.hosts_with(read.table)
            self._access.origins = frozenset(read.table.origins)
            self._webhooks.triggers = read.table.webhooks
            self._say_what_takes_a_restart(read.table)
        if read.tokens != last.tokens:
            cut = self._access.change_tokens(read.tokens)
            log.info("gateway_tokens", tokens=len(read.tokens), requests_cut_off=cut)
            if not read.tokens:
                log.warning("gateway_tokens", warning="there is none any more: everybody is refused until there is")

    def _tell(self, problems: Sequence[str]) -> None:
        told, self._told = self._told, tuple(problems)
        for problem in problems:
            if problem not in told:
                log.warning("gateway_settings", warning=problem)

    def _say_what_takes_a_restart(self, table: GatewayDeclaration) -> None:
        names = [field.name for field in fields(table) if field.name not in _APPLIED]
        different = [name for name in names if getattr(table, name) != getattr(self._settings.table, name)]
        if different:
            log.warning(
                "gateway_settings", warning=f"restart agentd-gateway to apply what changed: {', '.join(different)}"
            )
