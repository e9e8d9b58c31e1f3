"""What all parts of the engine share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agentd.api.client.socket import Socket
from agentd.api.client.turns import Turns
from agentd.files.looks import Looks
from agentd.gateway.engine.options import EngineOptions
from agentd.gateway.feed import Feed
from agentd.gateway.model.errors import AgentdUnreachableError
from agentd.gateway.store.database import Database
from agentd.gateway.talk.agentd import Agentd
from agentd.gateway.talk.declare import Declarations
from agentd.gateway.talk.definitions import Definitions, Files
from agentd.gateway.talk.trees import Trees
from agentd.gateway.talk.user_files import UserFiles
from agentd.settings.sockets import turns_socket

_SHORTEST_LEASE: Final = 3600.0
"""Seconds: turns go on while the gateway is restarted, also if conversations are withdrawn sooner than that."""


@dataclass(frozen=True, slots=True)
class Core:
    """What they work with."""

    options: EngineOptions
    database: Database
    turns: Turns
    agentd: Agentd
    definitions: Definitions
    declarations: Declarations
    trees: Trees
    user_files: UserFiles
    feed: Feed = field(default_factory=Feed)
    wall: Callable[[], float] = field(default_factory=lambda: time.time)
    """Seconds since the epoch."""
    looks: Looks = field(default_factory=Looks)
    """At paths that clients name."""

    @classmethod
    def of(cls, options: EngineOptions, database: Database) -> Core:
        """Put it together."""
        files = Files(options.config, options.drop_in_folder, options.agent_user, options.data_dir)
        return cls(
            options,
            database,
            Turns(Socket(turns_socket(options.api_socket), AgentdUnreachableError)),
            Agentd.at(options.api_socket),
            Definitions(files),
            Declarations(options.drop_in_folder, max(options.idle_timeout, _SHORTEST_LEASE)),
            Trees(),
            UserFiles(options.state_dir),
        )

    async def close(self) -> None:
        """Close connections and threads; the database is not its own."""
        await self.turns.socket.close()
        await self.agentd.socket.close()
        self.looks.close()
        self.definitions.close()
        self.declarations.close()
        self.trees.close()
        self.user_files.close()
