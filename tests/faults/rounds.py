"""The families of faults, and what each needs of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.admission import killed_while_they_wait, prepare_admission
from tests.faults.budgets import killed_while_it_is_counted, prepare_budgets
from tests.faults.channels import killed_on_a_channel, lacks_kafka, lacks_redis, prepare_channels, prepare_kafka
from tests.faults.drop_ins import broken_drop_ins, prepare_drop_ins
from tests.faults.edits import killed_while_editing
from tests.faults.files import jcard_storm, secrets_storm
from tests.faults.fleet import killed_in_a_fleet, lacks_flock, prepare_fleet
from tests.faults.forked import ForkedDaemon
from tests.faults.gateway import killed_in_a_conversation, prepare_gateway
from tests.faults.hostile import clock_jumps, hostile_agents
from tests.faults.hung import hung_paths, lacks_hanging, prepare_hung
from tests.faults.kills import killed_at_a_step
from tests.faults.limits import (
    no_descriptors,
    no_disk,
    no_inotify,
    no_processes,
    no_terminals,
    prepare_no_inotify,
    prepare_small_disk,
    prepare_terminals,
)
from tests.faults.machine import no_mounts, no_processes_group, no_user_namespace
from tests.faults.messages import killed_in_a_turn, prepare_messages
from tests.faults.operators import operators
from tests.faults.paths import lost_paths, prepare_paths
from tests.faults.ports import killed_while_ports_are_given, prepare_ports
from tests.faults.records import killed_while_recording, prepare_records
from tests.faults.schedules import killed_at_a_due_start, prepare_schedules
from tests.faults.starts import daemons_at_once, something_at_the_path
from tests.faults.tmux import client_cut, client_killed, client_stopped, launcher_killed, server_killed
from tests.faults.triggers import killed_while_something_comes, prepare_triggers
from tests.faults.upgrades import UpgradedDaemon, upgraded
from tests.faults.worktrees import broken_worktrees, prepare_worktrees
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
    prepare: Callable[[World], None] = lambda _: None
    """Called before its agentd is started."""
    lacking: Callable[[], str | None] = lambda: None
    """What the machine lacks for it."""
    daemon: Callable[[Path], ForkedDaemon] = ForkedDaemon
    """Makes its agentd."""


FAMILIES = (
    Family("kills", killed_at_a_step, 60),
    Family("records", killed_while_recording, 8, 20, prepare_records),
    Family("tmux-server", server_killed, 6, 10),
    Family("client-killed", client_killed, 4, 10),
    Family("client-stopped", client_stopped, 2, 5),
    Family("client-cut", client_cut, 4, 10),
    Family("launcher", launcher_killed, 4, 10),
    Family("operators", operators, 8, 20),
    Family("jcard", jcard_storm, 4, 10),
    Family("drop-ins", broken_drop_ins, 6, 15, prepare_drop_ins),
    Family("edits", killed_while_editing, 4, 10),
    Family("secrets", secrets_storm, 2, 5),
    Family("daemons", daemons_at_once, 3, 10),
    Family("sockets", something_at_the_path, 3, 10),
    Family("paths", lost_paths, 8, 10, prepare_paths),
    Family("hung", hung_paths, 4, 10, prepare_hung, lacks_hanging),
    Family("upgrade", upgraded, 3, 5, daemon=UpgradedDaemon),
    Family("hostile", hostile_agents, 4, 10),
    Family("worktrees", broken_worktrees, 4, 10, prepare_worktrees),
    Family("admission", killed_while_they_wait, 6, 10, prepare_admission),
    Family("schedules", killed_at_a_due_start, 3, 4, prepare_schedules),
    Family("triggers", killed_while_something_comes, 3, 4, prepare_triggers),
    Family("budgets", killed_while_it_is_counted, 3, 4, prepare_budgets),
    Family("ports", killed_while_ports_are_given, 3, 4, prepare_ports),
    Family("messages", killed_in_a_turn, 6, 10, prepare_messages),
    Family("gateway", killed_in_a_conversation, 8, 15, prepare_gateway),
    Family("channels", killed_on_a_channel, 6, 15, prepare_channels, lacks_redis),
    Family("kafka", killed_on_a_channel, 2, 5, prepare_kafka, lacks_kafka),
    Family("fleet", killed_in_a_fleet, 4, 4, prepare_fleet, lacks_flock),
    Family("clock", clock_jumps, 3, 10),
    Family("descriptors", no_descriptors, 3, 10),
    Family("processes", no_processes, 2, 10, lacking=no_processes_group),
    Family("terminals", no_terminals, 2, 10, prepare_terminals, no_mounts),
    Family("inotify", no_inotify, 2, 10, prepare_no_inotify, no_user_namespace),
    Family("disk", no_disk, 4, 10, prepare_small_disk, no_mounts),
)
