"""The outside of a run: what it looks like in tmux and in the process table."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentd.process.identity import ExitWatch, ProcessIdentity
from agentd.process.reaper import ProcessTree
from agentd.tmux.panes import Pane


@dataclass(slots=True)
class RunHandle:
    """The outside of a run: its pane and processes."""

    run_id: str
    session: str
    pane: Pane | None = None
    launcher: ProcessIdentity | None = None
    process: ProcessIdentity | None = None
    watch: ExitWatch | None = None
    known: frozenset[ProcessIdentity] = frozenset()
    survivors: frozenset[int] = field(default_factory=frozenset)
    """Processes that SIGKILL did not end."""

    def tree(self) -> ProcessTree:
        """Its processes, as far as they are known."""
        return ProcessTree(self.run_id, self.launcher, self.known, self.process)

    def opened(self, pane: Pane) -> None:
        """The launcher runs in this pane."""
        self.pane = pane
        self.launcher = ProcessIdentity.of(pane.pid)
