"""The interface between the supervisor and those who watch what its runs do."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentd.harness.additions import Additions, LaunchFacts
from agentd.model.budgets import Budget
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.supervise.budgets import BudgetUse
from agentd.supervise.usage_limits import LimitHit
from agentd.tmux.panes import Pane


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Places in the runtime directory that are a run's alone."""

    file: Path
    """For `LaunchFacts.file`."""
    socket: Path
    """For `LaunchFacts.socket`."""


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run whose process exists."""

    agent: str
    run_id: str
    harness: str
    workdir: Path
    process: ProcessIdentity
    files: RunFiles
    pane: Pane | None
    """``None`` if it had lost it by then."""
    memo: Mapping[str, str] | None
    """What its launch left for a later daemon; ``None`` if it is not to be watched."""
    limit: LimitHit | None = None
    """The usage limit that its conversation was at when it was last seen."""
    goes_on: bool = False
    """Whether it was launched to go on with the conversation of a run that did not go on, and has not gone on yet."""


@dataclass(frozen=True, slots=True)
class DeclaredAgent:
    """An agent that is declared, as those who talk to agents need to know it."""

    name: str
    harness: str
    takes_no_messages: str | None
    """Why it takes no messages, where its declaration says so."""
    spawned_by: str | None = None
    """The agent whose worker it is, and that so may talk to it."""
    budget: Budget | None = None
    """What it may use up."""
    stays: bool = True
    """Whether it is there between turns."""


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """What is shown of a run that is watched."""

    activity: Activity
    since: float
    """In seconds since the epoch."""
    source: str
    """The witness that tells."""
    text: str | None
    """The question, or what is to be allowed."""
    conversation: str | None
    """The harness's own id of it."""
    blind: bool = False
    """Whether the screen is to be looked at, too: it shows what the witness does not tell."""
    limit: LimitHit | None = None
    """The usage limit that it is at."""
    background: bool = False
    """Whether its turn has ended and only what that left is at work."""


@dataclass(frozen=True, slots=True)
class Told:
    """The last word that a run's program told of its turn."""

    at: float
    """Monotonic, in seconds."""
    tools: tuple[str, ...]
    """Names of the tools under way since then."""


@dataclass(frozen=True, slots=True)
class NotTold:
    """Why a run could not be told to go on."""

    error: str
    held: bool = False
    """Whether its budget was in the way: that was no try."""


class RunWatcher(Protocol):
    """Watches what runs do. Nothing here raises, or delays anything."""

    @property
    def hook_socket(self) -> str | None:
        """Where agents may say what they do; ``None`` if nowhere."""
        ...

    def additions(self, facts: LaunchFacts) -> Additions | None:
        """What is added to a launch; ``None`` if nobody watches."""
        ...

    def conversation(self, agent: str, harness: str, workdir: Path) -> str | None:
        """The conversation that a run may go on with; ``None`` if there is none."""
        ...

    def declared(self, agents: Sequence[DeclaredAgent], *, all_known: bool) -> None:
        """Say which agents are declared.

        Parameters
        ----------
        all_known
            Whether there are no others: a file may never have been understood.
        """
        ...

    def serve(self, run_id: str, bound: socket.socket) -> None:
        """Take on this socket what the sandbox of a run posts, which is to be launched, or is."""
        ...

    def started(self, run: StartedRun) -> None:
        """The run's process exists."""
        ...

    def stopping(self, run_id: str) -> None:
        """The run is being ended: what is said to it now would be lost with it."""
        ...

    def ended(self, run_id: str, *, succeeded: bool, killed: bool = False) -> None:
        """The run ended, or could not be launched."""
        ...

    def shown(self, run_id: str) -> WatchedRun | None:
        """What the run is doing; ``None`` if it is not watched, or has ended."""
        ...

    def told(self, run_id: str) -> Told | None:
        """What the run's program told last of a turn; ``None`` if it told nothing to this daemon."""
        ...

    def interrupt(self, run_id: str, told: Callable[[str | None], None]) -> None:
        """Interrupt the run's turn.

        Parameters
        ----------
        told
            Called in the loop of the caller once that was asked for, or with why it was not.
        """
        ...

    def budget(self, agent: str) -> BudgetUse | None:
        """What an agent has used, running or not; ``None`` if that is not known, or it has no budget."""
        ...

    def launch_hold(self, agent: str) -> str | None:
        """Why an agent may not be launched now by what was used today, if it may not."""
        ...

    async def box(self, run_id: str) -> str | None:
        """Say in words what stands in the run's input box, or that it is not shown.

        Returns
        -------
        ``None`` if it is empty, and where the harness has none that is known.
        """
        ...

    def go_on(self, run_id: str, number: int, told: Callable[[NotTold | None], None]) -> None:
        """Have the run go on after a usage limit.

        Parameters
        ----------
        number
            How often it was to go on by itself, with this: it is told once with the same number.
        told
            Called in the loop of the caller once that was done, or with why it was not.
        """
        ...


class NoWatcher:
    """Watches nothing."""

    @property
    def hook_socket(self) -> str | None:
        """Nobody listens."""
        return None

    def additions(self, facts: LaunchFacts) -> Additions | None:  # noqa: ARG002 (the protocol's)
        """Nothing is added."""
        return None

    def conversation(self, agent: str, harness: str, workdir: Path) -> str | None:  # noqa: ARG002 (the protocol's)
        """Nothing is known."""
        return None

    def declared(self, agents: Sequence[DeclaredAgent], *, all_known: bool) -> None:
        """Nothing to do."""

    def serve(self, run_id: str, bound: socket.socket) -> None:  # noqa: ARG002 (the protocol's)
        """Nobody listens."""
        bound.close()

    def started(self, run: StartedRun) -> None:
        """Nothing to do."""

    def stopping(self, run_id: str) -> None:
        """Nothing to do."""

    def ended(self, run_id: str, *, succeeded: bool, killed: bool = False) -> None:
        """Nothing to do."""

    def shown(self, run_id: str) -> WatchedRun | None:  # noqa: ARG002 (the protocol's)
        """Nothing is known."""
        return None

    def told(self, run_id: str) -> Told | None:  # noqa: ARG002 (the protocol's)
        """Nothing is known."""
        return None

    def interrupt(self, run_id: str, told: Callable[[str | None], None]) -> None:  # noqa: ARG002 (the protocol's)
        """Nobody can be asked."""
        told("turns are not watched")

    def budget(self, agent: str) -> BudgetUse | None:  # noqa: ARG002 (the protocol's)
        """Nothing is known."""
        return None

    def launch_hold(self, agent: str) -> str | None:  # noqa: ARG002 (the protocol's)
        """Nothing is known."""
        return None

    async def box(self, run_id: str) -> str | None:  # noqa: ARG002 (the protocol's)
        """Nothing is known."""
        return None

    def go_on(self, run_id: str, number: int, told: Callable[[NotTold | None], None]) -> None:  # noqa: ARG002 (the protocol's)
        """Nobody can be told."""
        told(NotTold("turns are not watched"))
