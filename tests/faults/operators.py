"""Operators who kill, rename and add sessions and windows, and set options, on the agents' tmux server."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.kills import operate
from tests.faults.waits import pause
from tests.faults.world import World

FOREIGN = "operator"
_LEFT_OPEN = {
    "new-window": ("kill-window", "-t", "={}:7"),
    "split-window": ("kill-pane", "-a", "-t", "={}:0.0"),
}
"""How an operator closes again what they opened beside an agent."""
_MOVED = f"move-window to a session of the {FOREIGN}"


def operators(world: World) -> str:
    """Operators kill, rename, move and add sessions and windows, and set remain-on-exit."""
    way = world.chance.choice(sorted(_WAYS))
    running = [name for name in world.running() if world.agents[name].kind == "plain"]
    if not running:
        running = [world.add().name]
        world.write()
        world.converge()
    name = world.chance.choice(running)
    _WAYS[way](world, name)
    operate(world, {name})
    world.converge()
    if way in _LEFT_OPEN:
        # With that alone in it, the session would be the operator's, and the agent's next run refused.
        world.daemon.tmux(*(word.format(name) for word in _LEFT_OPEN[way]), check=False)
    if FOREIGN in way:
        sessions = world.daemon.sessions()
        world.await_true(lambda: FOREIGN in sessions, "the operator's session is left alone")
        world.daemon.tmux("kill-session", "-t", f"={FOREIGN}")
        if way == _MOVED:
            world.disturbed(name)
            world.converge()
    world.await_true(lambda: set(world.running()) <= set(world.daemon.sessions()), "sessions have their names")
    return way


def _closing(*words: str) -> Callable[[World, str], None]:
    def close(world: World, name: str) -> None:
        world.daemon.tmux(*(word.format(name) for word in words))
        world.disturbed(name)

    return close


def _harmless(*words: str) -> Callable[[World, str], None]:
    def act(world: World, name: str) -> None:
        # The anchor may be on its way back still since it was closed last.
        world.daemon.tmux(*(word.format(name) for word in words), check=False)

    return act


def _close_the_ended(world: World, _: str) -> None:
    """Close the session of another agent, which has ended and stays ended."""
    delay = world.chance.choice((0.0, world.chance.uniform(0.0, 1.0)))
    agent = world.add(restart="no")
    world.write()
    world.converge()
    world.end(agent.name, 3)
    world.converge()
    world.daemon.tmux("kill-session", "-t", f"={agent.name}")
    pause(delay)
    world.daemon.kill()
    world.daemon.start(ready=False)


def _move_window(world: World, name: str) -> None:
    world.daemon.tmux("new-session", "-d", "-s", f"{FOREIGN}", "sleep 3600")
    world.daemon.tmux("move-window", "-s", f"={name}:0", "-t", f"={FOREIGN}:5")


def _remain(world: World, name: str) -> None:
    """Set remain-on-exit, then let the agent end and change: dead panes must not count as runs."""
    world.daemon.tmux("set-option", "-g", "remain-on-exit", "on")
    world.daemon.tmux("set-option", "-w", "-t", f"={name}:0", "remain-on-exit", "on")
    world.kill(name)
    world.converge()


_WAYS: dict[str, Callable[[World, str], None]] = {
    "kill-session": _closing("kill-session", "-t", "={}"),
    "kill-window": _closing("kill-window", "-t", "={}:0"),
    "kill-pane": _closing("kill-pane", "-t", "={}:0"),
    "respawn-pane": _closing("respawn-pane", "-k", "-t", "={}:0", "sleep 3600"),
    "kill-session of an ended agent": _close_the_ended,
    "rename-session": _harmless("rename-session", "-t", "={}", "mine"),
    "rename-window": _harmless("rename-window", "-t", "={}:0", "mine"),
    "kill the anchor": _harmless("kill-session", "-t", "=_agentd"),
    "detach all": _harmless("detach-client", "-s", "=_agentd"),
    "copy-mode": _harmless("copy-mode", "-t", "={}:0"),
    "a session of the operator": _harmless("new-session", "-d", "-s", FOREIGN, "sleep 3600"),
    "split-window": _harmless("split-window", "-d", "-t", "={}:0", "sleep 3600"),
    "new-window": _harmless("new-window", "-d", "-t", "={}:7", "sleep 3600"),
    _MOVED: _move_window,
    "remain-on-exit": _remain,
    "C-z": _harmless("send-keys", "-t", "={}:0", "C-z"),
    "resize": _harmless("resize-window", "-t", "={}:0", "-x", "20", "-y", "5"),
    "pipe-pane": _harmless("pipe-pane", "-t", "={}:0", "cat >/dev/null"),
}
