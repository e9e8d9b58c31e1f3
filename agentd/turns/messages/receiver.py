"""Who takes messages: what deliveries need to know of a run."""

from __future__ import annotations

from typing import Protocol

from agentd.turns.conversation import Conversation
from agentd.turns.witnesses import Witnesses


class Receiver(Protocol):
    """A run that takes messages."""

    @property
    def run_id(self) -> str:
        """Id of the run."""
        ...

    @property
    def conversation(self) -> Conversation:
        """What is known of its conversation."""
        ...

    def listens(self) -> bool:
        """Whether it is the user's move, and the run takes a message."""
        ...

    @property
    def witnesses(self) -> Witnesses:
        """Who says what becomes of a message to it."""
        ...

    @property
    def at_work(self) -> bool:
        """Whether something shows that the agent is at work or asks, also if no turn of it is known."""
        ...

    async def recall(self, text: str, turn: str | None, since: float) -> None:
        """Take up the turn of a message that a former daemon handed over, as far as the harness's record has it.

        Parameters
        ----------
        turn
            The turn, if that daemon saw it begin; where nothing keeps a record, it is under way still.
        """
        ...

    async def settle(self, text: str, since: float) -> bool | None:
        """Say, after its program's end, whether its record has a message that was handed over since then.

        If so, its turn is taken up. ``None`` where no record tells.
        """
        ...

    async def hindrance(self, *, returned: str | None) -> str | None:
        """Why it cannot be handed a message just now; `returned` is the last one, if its turn was interrupted."""
        ...

    async def deliver(self, text: str) -> None:
        """Hand over a message.

        Raises
        ------
        NotNowError
            If nothing was handed over, and it may be tried again.
        RefusedError
            If nothing was handed over, and will not be.
        TurnsError
            If it is not certain.
        """
        ...
