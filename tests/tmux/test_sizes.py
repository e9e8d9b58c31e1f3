"""Which windows get their default size back, and when tmux is asked."""

from __future__ import annotations

from agentd.tmux.protocol import Notification
from agentd.tmux.sizes import WindowSizes


class Tmux:
    """Answers as tmux does, and counts."""

    def __init__(self, *windows: str) -> None:
        self.windows = windows
        self.looks = 0
        self.resized: list[str] = []

    async def run(self, *commands: str) -> list[tuple[str, ...]]:
        """Execute commands."""
        if commands[0].startswith("list-windows"):
            self.looks += 1
            return [self.windows]
        self.resized.append(commands[0].split()[2].strip("'\""))
        return [(), ()]


async def test_a_window_whose_agent_was_between_two_runs_when_the_client_left_is_resized_after_that() -> None:
    tmux = Tmux("@1 40x11 latest 0.", "@2 70x30 latest 0.", "@3 90x20 manual 0.", "@4 40x11 latest 1.")
    sizes = WindowSizes(tmux.run)
    sizes.noticed(Notification("client-detached", ""))
    await sizes.restore(set())
    assert (tmux.looks, tmux.resized) == (1, [])
    await sizes.restore({"@3", "@4", "@5"})
    assert tmux.looks == 1, "nothing is asked for windows that have their size"
    await sizes.restore({"@1", "@3", "@4"})
    assert (tmux.looks, tmux.resized) == (2, ["@1"])
    tmux.windows = ("@1 200x50 latest 0.", *tmux.windows[1:])
    await sizes.restore({"@1", "@3", "@4"})
    assert tmux.looks == 2
