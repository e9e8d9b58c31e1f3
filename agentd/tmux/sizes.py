"""The size of agents' windows: that of whoever is attached, and the default again once nobody is.

tmux leaves a window at the size of the client that left last: one of 40x12 left 40x11 to the agent, and to its next
runs. tmux tells of each client that goes, so nothing is asked while none does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from agentd.tmux.protocol import Notification
from agentd.tmux.syntax import command

SIZE = (200, 50)
"""Columns and rows of a session nobody is attached to."""

_LEFT = frozenset({"client-detached", "client-session-changed"})
"""Notifications after which nobody may be attached to a session any more; also of clients that were killed."""
_FORMAT = "#{window_id} #{window_width}x#{window_height} #{window-size} #{session_attached}.#{session_group_attached}"
_DEFAULT = "{}x{}".format(*SIZE)
_UNATTENDED = frozenset({"0.", "0.0"})


class WindowSizes:
    """Gives agents' windows their default size back.

    Parameters
    ----------
    run
        Has tmux execute commands.
    """

    def __init__(self, run: Callable[..., Awaitable[list[tuple[str, ...]]]]) -> None:
        self._run = run
        self.due = True
        """Whether a client may have left; at first, while there was no daemon."""
        self._unclaimed: frozenset[str] = frozenset()
        """Windows of another size that were no agent's at the last look: between two runs an agent has none."""

    def noticed(self, notification: Notification) -> bool:
        """Take a notification, and say whether it means that a client has left."""
        left = notification.name in _LEFT
        self.due = self.due or left
        return left

    async def restore(self, windows: Collection[str]) -> None:
        """Set the size of those of these windows that nobody is attached to, if a client may have left.

        One whose size somebody has set by hand stays as it is.

        Raises
        ------
        TmuxError
            If tmux refuses: a window is gone.
        TmuxUnreachableError
            If it does not answer.
        """
        if not self.due and self._unclaimed.isdisjoint(windows):
            return
        self.due = False
        (lines,) = await self._run(command("list-windows", "-a", "-F", _FORMAT))
        listed = [fields for line in lines if len(fields := line.split(" ")) == _FORMAT.count(" ") + 1]
        # One window may be in several sessions.
        attended = {window for window, _, _, clients in listed if clients not in _UNATTENDED}
        other = {window for window, size, mode, _ in listed if size != _DEFAULT and mode != "manual"} - attended
        self._unclaimed = frozenset(other.difference(windows))
        for window in sorted(other.intersection(windows)):
            await self._run(
                command("resize-window", "-t", window, "-x", str(SIZE[0]), "-y", str(SIZE[1])),
                # Resizing marks the size as set by hand, which no client would change.
                command("set-option", "-wu", "-t", window, "window-size"),
            )
