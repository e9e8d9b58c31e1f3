"""The families of faults, and what each needs of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.files import jcard_storm, secrets_storm
from tests.faults.kills import killed_at_a_step
from tests.faults.operators import operators
from tests.faults.starts import daemons_at_once, something_at_the_path
from tests.faults.tmux import client_cut, client_killed, client_stopped, launcher_killed, server_killed
from tests.faults.world import World

Round = Callable[[World], str]
"""Breaks something, waits until everything is as declared, and says what it broke."""


@dataclass(frozen=True, slots=True)
class Family:
    """Rounds of one kind."""

    name: str
    round: Round
    share: int
    """Of the rounds of a run, in proportion."""
    per_life: int = 25
    """Rounds that one world goes through."""


FAMILIES = (
    Family("kills", killed_at_a_step, 60),
    Family("tmux-server", server_killed, 6, 10),
    Family("client-killed", client_killed, 4, 10),
    Family("client-stopped", client_stopped, 2, 5),
    Family("client-cut", client_cut, 4, 10),
    Family("launcher", launcher_killed, 4, 10),
    Family("operators", operators, 8, 20),
    Family("jcard", jcard_storm, 4, 10),
    Family("secrets", secrets_storm, 2, 5),
    Family("daemons", daemons_at_once, 3, 10),
    Family("sockets", something_at_the_path, 3, 10),
)
