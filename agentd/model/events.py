"""What can happen that somebody may want to know of later: the kinds of events, and what each says.

The one home of the kinds' names: the journal keeps them, ``GET /v1/events`` shows them, ``/metrics`` counts them, and
docs/reference/events.md is written from this. The set is open: whoever reads events passes over kinds they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

Detail: TypeAlias = "str | int | float | bool | Sequence[str] | None"


class EventKind(StrEnum):
    """What happened."""

    # An agent
    DECLARED = "declared"
    CHANGED = "changed"
    CHANGE_HELD = "change_held"
    CHANGE_APPLIED = "change_applied"
    CHANGE_WITHDRAWN = "change_withdrawn"
    PORTS_ASSIGNED = "ports_assigned"
    REMOVED = "removed"
    ADOPTED = "adopted"
    NOT_ADOPTED = "not_adopted"
    RECORD_LOST = "record_lost"
    TRUSTED = "trusted"
    QUEUED = "queued"
    SCHEDULE_DUE = "schedule_due"
    SCHEDULE_SKIPPED = "schedule_skipped"
    SCHEDULE_MISSED = "schedule_missed"
    TRIGGERED = "triggered"
    TRIGGER_SKIPPED = "trigger_skipped"
    TRIGGER_REFUSED = "trigger_refused"
    LAUNCHED = "launched"
    LAUNCH_FAILED = "launch_failed"
    STARTED = "started"
    EXITED = "exited"
    RESTARTING = "restarting"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STOPPING = "stopping"
    KILLED = "killed"
    STOPPED = "stopped"
    DISABLED = "disabled"
    SESSION_LOST = "session_lost"
    OOM = "oom"
    PROCESSES_SURVIVE_SIGKILL = "processes_survive_sigkill"
    PROCESSES_GREW = "processes_grew"
    ORPHAN_ENDED = "orphan_ended"
    # What an agent is doing, and its turns
    ACTIVITY = "activity"
    LIMIT_REACHED = "limit_reached"
    LIMIT_RESUMED = "limit_resumed"
    STALLED = "stalled"
    BUDGET_BREACHED = "budget_breached"
    TURN_STARTED = "turn_started"
    TURN_TOOL_STARTED = "turn_tool_started"
    TURN_TOOL_COMPLETED = "turn_tool_completed"
    TURN_PERMISSION_ASKED = "turn_permission_asked"
    TURN_PERMISSION_RESOLVED = "turn_permission_resolved"
    APPROVAL_ASKED = "approval_asked"
    TURN_QUESTION_ASKED = "turn_question_asked"
    TURN_USAGE = "turn_usage"
    TURN_QUOTA = "turn_quota"
    TURN_ENDED = "turn_ended"
    MESSAGE_UNDELIVERED = "message_undelivered"
    # The daemon
    DAEMON_STARTED = "daemon_started"
    DAEMON_STOPPING = "daemon_stopping"
    DAEMON_STOPPED = "daemon_stopped"
    CONFIG_LOADED = "config_loaded"
    CONFIG_REJECTED = "config_rejected"
    CONFIG_WARNING = "config_warning"
    DROP_IN_REMOVED = "drop_in_removed"
    LEASE_EXPIRED = "lease_expired"
    SECRET_SKIPPED = "secret_skipped"  # noqa: S105 (the name of a kind)
    TMUX_RECONNECTED = "tmux_reconnected"
    TMUX_SERVER_DIED = "tmux_server_died"
    PATH_RESTORED = "path_restored"
    PATH_LOST = "path_lost"
    # The journal itself
    EVENTS_LOST = "events_lost"
    EVENTS_EXPIRED = "events_expired"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; whoever keeps it adds number and time."""

    kind: EventKind
    agent: str | None = None
    """Name of the agent, ``None`` for the daemon itself."""
    reason: str | None = None
    """Why, or what is wrong, for people."""
    data: Mapping[str, Detail] = field(default_factory=dict)
    """What programs want to know; which values there are depends on the kind."""


def redacted(event: Event, redact: Callable[[str], str]) -> Event:
    """Take secrets out of the texts of an event that leaves the machine."""

    def each(value: Detail) -> Detail:
        if isinstance(value, str):
            return redact(value)
        return tuple(map(redact, value)) if isinstance(value, Sequence) else value

    reason = None if event.reason is None else redact(event.reason)
    return replace(event, reason=reason, data={name: each(value) for name, value in event.data.items()})


EventSink: TypeAlias = Callable[[Event], None]
"""Takes an event, at once and without raising."""


@dataclass(frozen=True, slots=True)
class EventDoc:
    """What events of one kind say."""

    meaning: str
    data: tuple[str, ...] = ()
    """Names of the values in ``data``; a value that is not known is left out."""


_STATES = ("state", "was")
_SCHEDULED = ("due", "late_seconds", "schedule")
_TRIGGERED = ("trigger", "delivery", "path", "waiting")
_TURN = ("turn", "conversation")

EVENT_DOCS: Mapping[EventKind, EventDoc] = {
    EventKind.DECLARED: EventDoc(
        "The agent appears in the configuration.", ("state", "provider", "role", "parent", "source")
    ),
    EventKind.CHANGED: EventDoc(
        "The agent's definition changed. It is restarted, or the change applies in place.",
        ("action", "fields", "source"),
    ),
    EventKind.CHANGE_HELD: EventDoc(
        "A change that needs a restart waits, as `apply` says; the reason is what for.",
        ("fields", "waits", "apply", "apply_at"),
    ),
    EventKind.CHANGE_APPLIED: EventDoc("A change that waited is applied: the agent is restarted.", ("fields",)),
    EventKind.CHANGE_WITHDRAWN: EventDoc(
        "A change that waited is not declared any more, or the agent is not; it goes on as it was.", ("fields",)
    ),
    EventKind.PORTS_ASSIGNED: EventDoc(
        "The agent was given ports of its own, or other variables name them.", ("ports",)
    ),
    EventKind.REMOVED: EventDoc("Nothing of the agent is left.", ("source",)),
    EventKind.ADOPTED: EventDoc("A run that a former daemon left was taken over.", ("state", "run", "pid", "restarts")),
    EventKind.NOT_ADOPTED: EventDoc("What a former daemon left cannot be taken over.", ("session",)),
    EventKind.RECORD_LOST: EventDoc(
        "The agent's run was taken over by its processes alone: what a former daemon wrote of it was removed."
    ),
    EventKind.TRUSTED: EventDoc(
        "agentd had the agent's harness trust the folder that agentd made for it.", ("harness", "folder", "path")
    ),
    EventKind.QUEUED: EventDoc(
        "The agent waits for a slot, for another agent, for its schedule or for a trigger; the reason is what for.",
        (*_STATES, "place", "priority"),
    ),
    EventKind.SCHEDULE_DUE: EventDoc("The agent's schedule starts it.", _SCHEDULED),
    EventKind.SCHEDULE_SKIPPED: EventDoc("A start of the agent's schedule is left out; the reason is why.", _SCHEDULED),
    EventKind.SCHEDULE_MISSED: EventDoc(
        "Starts of the agent's schedule were missed, up to the one told; the reason is how late it would be.",
        _SCHEDULED,
    ),
    EventKind.TRIGGERED: EventDoc("Something came by a trigger of the agent: there will be a run for it.", _TRIGGERED),
    EventKind.TRIGGER_SKIPPED: EventDoc(
        "What came by a trigger of the agent is left out, as its `overlap` says; the reason is what is in the way.",
        _TRIGGERED,
    ),
    EventKind.TRIGGER_REFUSED: EventDoc(
        "What came by a trigger of the agent cannot be handed to it; the reason is why.", _TRIGGERED
    ),
    EventKind.LAUNCHED: EventDoc("A launch began.", (*_STATES, "run", "restarts", "queued_seconds")),
    EventKind.LAUNCH_FAILED: EventDoc("A launch failed.", ("state", "run")),
    EventKind.STARTED: EventDoc("The agent's process runs.", (*_STATES, "run", "pid", "restarts")),
    EventKind.EXITED: EventDoc(
        "The agent's process ended.", ("state", "run", "pid", "exit_code", "exit_signal", "exit_reason", "ran_seconds")
    ),
    EventKind.RESTARTING: EventDoc(
        "The agent waits to be launched again.", (*_STATES, "restarts", "restart_in_seconds")
    ),
    EventKind.COMPLETED: EventDoc("The agent ended with success and is not restarted.", _STATES),
    EventKind.FAILED: EventDoc("The agent failed and is not restarted.", _STATES),
    EventKind.TIMED_OUT: EventDoc("The agent reached its timeout and was ended.", _STATES),
    EventKind.STOPPING: EventDoc("The agent was asked to end.", (*_STATES, "cause", "grace_seconds")),
    EventKind.KILLED: EventDoc("The agent did not end in its grace period: SIGKILL.", ("run", "pid")),
    EventKind.STOPPED: EventDoc(
        "A stop is complete: nothing that the run started is left.",
        (*_STATES, "cause", "exit_code", "exit_signal", "exit_reason"),
    ),
    EventKind.DISABLED: EventDoc("The agent is declared and not to run.", _STATES),
    EventKind.SESSION_LOST: EventDoc("The agent's tmux session went away without agentd closing it.", ("state",)),
    EventKind.OOM: EventDoc(
        "The kernel killed processes of the agent for lack of memory; the agent itself may live on.", ("run", "kills")
    ),
    EventKind.PROCESSES_SURVIVE_SIGKILL: EventDoc(
        "Processes of the agent cannot be ended; it is not launched again while they live.", ("pids",)
    ),
    EventKind.PROCESSES_GREW: EventDoc(
        "The agent's processes have grown by `growth_notice`, or by 64, since the run had least; at most once an hour.",
        ("run", "processes", "memory_bytes"),
    ),
    EventKind.ORPHAN_ENDED: EventDoc(
        "A process that the idle agent had left behind was ended, as `reap` says.", ("run", "pid", "command", "signal")
    ),
    EventKind.ACTIVITY: EventDoc(
        "The agent is doing something else than before; the reason is what it asks.",
        ("activity", "was", "activity_source", "conversation"),
    ),
    EventKind.LIMIT_REACHED: EventDoc(
        "The agent has hit its usage limit, or what follows was decided anew; the reason says it. Told of agents with "
        "`on_usage_limit`.",
        ("run", "limit_action", "limit_source", "resets_at", "resume_at", "resumes"),
    ),
    EventKind.LIMIT_RESUMED: EventDoc("The agent was told to go on after its usage limit.", ("run", "resumes")),
    EventKind.STALLED: EventDoc(
        "The agent is at work and does not go on, so the next action of `stall` is tried; the reason is what was seen.",
        ("run", "phase", "stall_action", "tried", "stalled_since"),
    ),
    EventKind.BUDGET_BREACHED: EventDoc(
        "A number of the agent's budget is used up; the reason says which, and by how much.",
        ("run", "budget", "used", "limit", "budget_action", "budget_source"),
    ),
    EventKind.TURN_STARTED: EventDoc("The agent's program took a message.", (*_TURN, "prompt", "characters")),
    EventKind.TURN_TOOL_STARTED: EventDoc("The agent uses a tool; the reason is what for.", (*_TURN, "tool", "name")),
    EventKind.TURN_TOOL_COMPLETED: EventDoc("A tool has run.", (*_TURN, "tool", "ok")),
    EventKind.TURN_PERMISSION_ASKED: EventDoc(
        "The agent asks whether it may do what the reason says.", (*_TURN, "request", "name")
    ),
    EventKind.TURN_PERMISSION_RESOLVED: EventDoc(
        "A request or a question is decided, by whomever.", (*_TURN, "request", "decision", "by")
    ),
    EventKind.APPROVAL_ASKED: EventDoc(
        "A rule of `[[approve]]` has somebody decide what the reason says.",
        ("request", "name", "rule", "why", "whom", "timeout_seconds"),
    ),
    EventKind.TURN_QUESTION_ASKED: EventDoc(
        "The agent asks the question that the reason is.", (*_TURN, "request", "choices")
    ),
    EventKind.TURN_USAGE: EventDoc(
        "What the model used in a turn, told after its end.",
        (*_TURN, "run", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd"),
    ),
    EventKind.TURN_QUOTA: EventDoc(
        "How much of a quota of its account is used, as the agent's program says it.",
        ("run", "window", "used_percent", "window_seconds", "resets_at", "quota_source"),
    ),
    EventKind.TURN_ENDED: EventDoc(
        "It is the user's move again; the reason is what went wrong.",
        (*_TURN, "outcome", "failure", "text", "characters"),
    ),
    EventKind.MESSAGE_UNDELIVERED: EventDoc(
        "A message to the agent was not delivered, or it is not known whether it was; the reason says why.",
        ("message", "sender", "status"),
    ),
    EventKind.DAEMON_STARTED: EventDoc("agentd is up.", ("version", "pid", "adopted")),
    EventKind.DAEMON_STOPPING: EventDoc("agentd was told to end.", ("pid", "agents")),
    EventKind.DAEMON_STOPPED: EventDoc("agentd ends; its last event.", ("pid", "agents")),
    EventKind.CONFIG_LOADED: EventDoc(
        "A jcard or drop-in was taken, or without a source: what such files name.", ("agents", "source")
    ),
    EventKind.CONFIG_REJECTED: EventDoc(
        "A jcard or drop-in cannot be used; its last good content stays in force.", ("source",)
    ),
    EventKind.CONFIG_WARNING: EventDoc("Something in the configuration is suspicious."),
    EventKind.DROP_IN_REMOVED: EventDoc("A drop-in was removed, and with it its agents.", ("source",)),
    EventKind.LEASE_EXPIRED: EventDoc(
        "A drop-in was not renewed for its lease: until it is, it counts as removed.", ("source",)
    ),
    EventKind.SECRET_SKIPPED: EventDoc("A file in the secret directory is no usable secret; its content is not told."),
    EventKind.TMUX_RECONNECTED: EventDoc("The connection to tmux was lost and is there again."),
    EventKind.TMUX_SERVER_DIED: EventDoc("The tmux server died, and its agents with it.", ("pid",)),
    EventKind.PATH_RESTORED: EventDoc(
        "A socket, lock, folder or record of agentd's own was gone from its place, and was made again.", ("path",)
    ),
    EventKind.PATH_LOST: EventDoc(
        "A path of agentd's own is gone or another's, and cannot be made again yet.", ("path",)
    ),
    EventKind.EVENTS_LOST: EventDoc("So many events could not be written and are not in the journal.", ("lost",)),
    EventKind.EVENTS_EXPIRED: EventDoc(
        "Answered, never kept: the events that were asked for are older than what is kept.", ("since", "oldest")
    ),
}

DETAILS: Mapping[str, str] = {
    "action": "`restart`, `change` (in place) or `start` (enabled again)",
    "activity": "`working`, `waiting_permission`, `waiting_input`, `idle`, `usage_limit`, `auth_error` or `unknown`",
    "activity_source": "the witness that tells",
    "apply": "what `apply` says: `idle` or `ask`",
    "apply_at": "when the change is applied at the latest",
    "adopted": "number of agents taken over from a former daemon",
    "agents": "number of agents declared, by `source` if there is one; of a daemon that ends, `stopped` or `kept`",
    "by": "who decided: `rule:NAME`, or by the kernel's account `uid:NUMBER` or `agent:NAME`",
    "cause": "why: `changed`, `removed`, `disabled`, `timeout`, `session lost`, `usage limit`, `stalled` or `shutdown`",
    "cache_read_tokens": "tokens that were read from the provider's cache",
    "cache_write_tokens": "tokens that were written to it",
    "characters": "how long the text is; of a longer one than 4000 characters, that many are kept",
    "choices": "the answers that are offered, an array",
    "command": "the name of the process, as `agentctl ps` shows it",
    "conversation": "the program's own id of the conversation",
    "cost_usd": "what the program says that it cost, in US dollars",
    "delivery": "id of what came",
    "due": "when the start was due",
    "decision": "`allow`, `deny`, `answer`, or `expired`: decided at the terminal, or by the end of the turn",
    "exit_code": "exit status, if the process ended by itself",
    "exit_reason": "`oom` if the kernel killed a process of the run for lack of memory, and the run ended by that",
    "exit_signal": "number of the signal that ended the process",
    "failure": "`usage_limit`, `auth_error` or `other`, of a turn that failed",
    "fields": "what differs, an array",
    "folder": "the folder",
    "grace_seconds": "from the first signal to SIGKILL",
    "harness": "the agent's harness",
    "kills": "number of processes of the run that the kernel has killed for lack of memory so far",
    "input_tokens": "tokens that the model was given",
    "limit_action": "what `on_usage_limit` says: `wait`, `stop` or `notify`",
    "budget": "the number of the budget: usd (dollars in the run), day (dollars in the day) or turns",
    "used": "what was used",
    "limit": "what may be used",
    "budget_action": "what follows: pause, stop or notify",
    "budget_source": "who says what was used",
    "limit_source": "the witness that tells of the limit",
    "late_seconds": "how long ago that was",
    "lost": "how many",
    "memory_bytes": "memory of all its processes, in bytes",
    "message": "id of the message",
    "name": "name of the tool",
    "ok": "whether it succeeded",
    "oldest": "number of the oldest event that is kept",
    "outcome": "`completed`, `interrupted`, `failed`, or `lost` with the agent's process",
    "output_tokens": "tokens that the model gave",
    "parent": "who spawned the worker",
    "path": "the path",
    "phase": "what it waits for: `model` or `tool`",
    "pid": "process id of the agent, or of the daemon; of a tmux server in `tmux_server_died`",
    "pids": "process ids, an array",
    "prompt": "the message, as the program recorded it",
    "place": "its place in the queue, from 1",
    "ports": "the variables and their ports, an array",
    "priority": "the agent's priority",
    "processes": "how many processes it has",
    "provider": "whose account the agent uses: its harness, or of a worker its provider",
    "queued_seconds": "how long the agent waited for a slot",
    "quota_source": "the witness that tells of the quota",
    "ran_seconds": "from the start of the process to its end",
    "request": "id of what is asked",
    "resets_at": "when the limit resets, as the agent's program says; left out where it does not",
    "restart_in_seconds": "what is left of the back-off",
    "restarts": "how often the agent was restarted by its policy so far",
    "resume_at": "when it will be told to go on",
    "resumes": "how often it was told to go on since a turn last ended well",
    "role": "what the worker was spawned as",
    "rule": "name of the rule, or the file and line where it stands",
    "run": "id of the run",
    "schedule": "the cron expression",
    "sender": "who sent it, by the kernel's account: `agent:NAME`, `uid:NUMBER` or `agentd`",
    "session": "name of the tmux session",
    "signal": "what ended it: `SIGTERM`, or `SIGKILL` if it outlived that",
    "since": "the number that was asked for",
    "source": "the jcard or drop-in; of an agent, the one that declares it or did last",
    "stall_action": "what is tried now: `interrupt`, `resume`, `restart` or `notify`",
    "stalled_since": "since when it has not gone on",
    "state": "the agent's state after this",
    "status": "`failed` or `expired`",
    "text": "the answer",
    "timeout_seconds": "after which it is denied, if nobody has answered",
    "tool": "id of this use of the tool",
    "trigger": "name of the trigger",
    "tried": "how many actions of `stall` were tried since it last went on, this one too",
    "turn": "id of the turn, the program's own where it has one",
    "used_percent": "how much of it is used",
    "version": "version of agentd",
    "waits": "what the change waits for, an array",
    "was": "the agent's state before; of an activity, the activity before",
    "whom": "who is told, by the names of `[[notify]]`, an array",
    "why": "why the rule is about it",
    "window": "name of the quota",
    "window_seconds": "span of time that the quota is for",
    "waiting": "how many wait for their run, this one too",
}
"""Meaning of each value in ``data``."""
