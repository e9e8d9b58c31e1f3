"""Doing something in a pane only while it holds the run that is meant.

A pane's place (``session:0.0``) is no identity: an operator splits, swaps, moves and renumbers. Its id belongs to it as
long as the tmux server lives, and the process that tmux started in it tells one run from the next. That process stays
when the agent has ended: the launcher turns into a shell, which would execute what is typed. So it marks the pane then
(`agentd.launch.launcher`). tmux looks at the condition and types without anything between.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentd.tmux.syntax import command, sequence

ENDED_MARK = "agentd:ended:"
"""With its own pid, what the launcher gives as the pane's folder (OSC 7) once its agent has ended: for tmux to tell
us, and no folder."""

_REFUSED = "agentd refuses"
TOLD = "#{pane_pid} #{pane_synchronized} #{pane_path}"
"""What a pane is asked for to know that it holds the run that is meant."""
_FIELDS = 3


def guarded(pane_id: str, pid: int, *commands: str) -> tuple[str, ...]:
    """Give the words of one tmux command that executes commands, or else prints what `refusal` reads.

    Parameters
    ----------
    pane_id
        The pane; it may be gone.
    pid
        The process that tmux started in it.
    commands
        Written for tmux' parser. A control client gets an answer for each of them, and one more, also where they are
        not executed.
    """
    same, lives = f"#{{==:#{{pane_pid}},{pid}}}", f"#{{!=:#{{pane_path}},{ENDED_MARK}{pid}}}"
    # Keys for a synchronized pane go to its neighbours too.
    condition = f"#{{&&:#{{&&:{same},{lives}}},#{{!=:#{{pane_synchronized}},1}}}}"
    otherwise = [command("display-message", "-p", "-t", pane_id, f"{_REFUSED} {TOLD}")]
    otherwise += [command("display-message", "-p", "")] * (len(commands) - 1)
    return ("if-shell", "-F", "-t", pane_id, condition, sequence(commands), sequence(otherwise))


def refusal(lines: Sequence[str], pid: int) -> str | None:
    """Say why the commands of `guarded` were not executed, from what it printed; ``None`` if they were."""
    told = next((line.removeprefix(_REFUSED).strip() for line in lines if line.startswith(_REFUSED)), None)
    return None if told is None else hindrance(told, pid) or "its pane was another a moment ago; try again"


def hindrance(told: str, pid: int) -> str | None:
    """Say why nothing may be typed into a pane, from what it tells as `TOLD`; ``None`` if nothing speaks against it."""
    fields = told.split(" ", _FIELDS - 1)
    if fields[0] != str(pid):
        return "its pane is gone, or another run is in it"
    if f"{ENDED_MARK}{pid}" in fields:
        return "it has ended, and a shell is in its pane"
    if fields[1:2] != ["1"]:
        return None
    return "its pane is synchronized with others, which would get this too; tmux setw synchronize-panes off ends that"
