"""What agents' terminals show, asked of tmux for the API."""

from __future__ import annotations

from dataclasses import dataclass

from agentd.model.screen import NoScreenError, Screen
from agentd.supervise.reconciler import Reconciler
from agentd.tmux.errors import TmuxError, TmuxUnreachableError


@dataclass(frozen=True, slots=True)
class DaemonScreens:
    """Answers the API over the control connection, without a fork."""

    reconciler: Reconciler

    async def screen(self, name: str, *, styled: bool) -> Screen | None:
        """The screen of an agent; raises as `agentd.model.screen.ScreenSource` says."""
        agent = self.reconciler.find(name)
        if agent is None:
            return None
        pane = agent.pane
        if pane is None:
            reason = f": {agent.life.error}" if agent.life.error else ""
            raise NoScreenError(f"{agent.name} has no tmux session; it is {agent.life.state}{reason}")
        try:
            shown = await agent.host.tmux.show(pane, styled=styled)
        except (TmuxError, TmuxUnreachableError) as error:
            raise NoScreenError(f"tmux does not show {agent.name}: {error}") from error
        lines = list(shown.rows)
        while lines and not lines[-1].strip():
            lines.pop()
        return Screen(agent.name, agent.session, shown.width, shown.height, *shown.cursor, shown.cursor_visible, lines)
