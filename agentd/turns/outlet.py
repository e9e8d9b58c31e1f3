"""Where the news of watched runs go."""

from __future__ import annotations

from typing import Protocol, TypeVar

from agentd.model.events import Detail, EventKind
from agentd.turns.events import TurnEvent

Run_contra = TypeVar("Run_contra", contravariant=True)


class Outlet(Protocol[Run_contra]):
    """Where a run's news go."""

    def changed(self, run: Run_contra) -> None:
        """What is shown of it has changed."""
        ...

    def talked(self, run: Run_contra) -> None:
        """A turn began in the conversation that the run has."""
        ...

    def not_resumed(self, run: Run_contra) -> None:
        """A run that was to go on with a conversation failed before any turn: the next one begins another."""
        ...

    def happened(self, run: Run_contra, event: TurnEvent) -> None:
        """Something happened in a turn; what was made of it stands in the run's conversation."""
        ...

    def unheard(self, run: Run_contra) -> None:
        """Nothing more is heard of its turns, though it may go on."""
        ...

    def emit(self, agent: str, kind: EventKind, reason: str | None, data: dict[str, Detail]) -> None:
        """Something that the journal keeps."""
        ...
