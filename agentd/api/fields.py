"""What each field of the API's answers means: the one place of their descriptions.

Names and types are the dataclasses'; `agentd.api.openapi` joins the two, and a test holds them to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from agentd.api.views import ErrorBody, RecordedEvent
from agentd.model.spec import AgentType
from agentd.model.states import AgentState
from agentd.model.status import (
    AgentCounts,
    AgentStatus,
    ConfigFileStatus,
    ConfigStatus,
    GapView,
    Health,
    ObservedAgentView,
    PlannedOperation,
    PlanReport,
    Recording,
    RecordingHealth,
    RunView,
    Screen,
    SizeView,
    SlowRead,
    WorktreeStatus,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one field says."""

    text: str
    schema: Mapping[str, JsonValue] = field(default_factory=dict)
    """What JSON Schema can say beyond the Python type, where the value is not null."""


_COUNT: Mapping[str, JsonValue] = {"minimum": 0}
_PROCESS: Mapping[str, JsonValue] = {"minimum": 1}
_TIME: Mapping[str, JsonValue] = {"format": "date-time"}
_DIGEST: Mapping[str, JsonValue] = {"pattern": "^[0-9a-f]{64}$"}
_STATE: Mapping[str, JsonValue] = {"enum": [*AgentState]}

MEANINGS: Mapping[type, Mapping[str, Meaning]] = {
    AgentStatus: {
        "name": Meaning("Name in the jcard; a replica's ends in its number."),
        "running": Meaning("Whether the agent's own process lives: true exactly in the states running and stopping."),
        "session": Meaning("Name of the tmux session."),
        "restarts": Meaning(
            "How often the agent was restarted by its policy, since its definition last changed.", _COUNT
        ),
        "type": Meaning("Where the agent runs.", {"enum": [*AgentType]}),
        "harness": Meaning("The coding agent that is run."),
        "state": Meaning("Where the agent is in its life.", _STATE),
        "pid": Meaning("Process of the run in progress.", _PROCESS),
        "started_at": Meaning("Start of the latest run.", _TIME),
        "uptime_seconds": Meaning("Age of the run in progress, else 0.", _COUNT),
        "exit_code": Meaning("Exit status of the last run that ended, if it ended by itself.", _COUNT),
        "exit_signal": Meaning("Signal that ended the last run that ended.", _PROCESS),
        "error": Meaning("Why the agent is not as declared."),
        "next_restart_at": Meaning("When the back-off is over.", _TIME),
        "deadline": Meaning("When the agent's timeout is over.", _TIME),
        "workdir": Meaning("Folder the agent works in."),
        "model": Meaning("As the jcard has it."),
        "command": Meaning("The first word of the jcard's command; the others may be confidential."),
        "worktree": Meaning("The agent's own git worktree, if it has one."),
        "recording": Meaning("Why what the agent prints is not being kept, and what to do; null while all is well."),
        "pane": Meaning(
            "Id of the agent's pane in tmux, wherever an operator moved it; null while it has none.",
            {"pattern": "^%[0-9]+$"},
        ),
        "pane_pid": Meaning(
            "Process that tmux started in the pane, the launcher; it tells one run and one tmux server from another.",
            _PROCESS,
        ),
        "owner": Meaning("Subfolder of the drop-in folder that its file is in; null for any other file."),
        "source": Meaning("The jcard or drop-in that declares it, or did last; null where that is not known."),
    },
    WorktreeStatus: {
        "path": Meaning("Folder of the worktree."),
        "branch": Meaning("Branch of its own; null for a checkout that is not to be changed."),
        "base": Meaning("What it starts from, as declared; null is what the repository had checked out."),
        "repo": Meaning("The repository."),
    },
    ConfigStatus: {
        "path": Meaning("The jcard's path."),
        "valid": Meaning("Whether all files as they are now can be used; if not, see files."),
        "error": Meaning("What is wrong with the first file that cannot be used: where, found what, allowed is what."),
        "warnings": Meaning("What is suspicious in the files, and in what they name."),
        "loaded_at": Meaning("When the configuration in force was taken.", _TIME),
        "digest": Meaning("SHA-256 of the jcard as it was last taken, valid or not.", _DIGEST),
        "files": Meaning("The jcard, then the drop-ins by path."),
    },
    ConfigFileStatus: {
        "path": Meaning("The file's path."),
        "valid": Meaning("Whether the file as it is now can be used; if not, its last good content stays in force."),
        "error": Meaning("What is wrong with the file: where, what was found, what is allowed."),
        "warnings": Meaning("What is suspicious in the file."),
        "agents": Meaning("How many agents it declares.", _COUNT),
        "loaded_at": Meaning("When its content in force was taken; null if it never was good.", _TIME),
        "digest": Meaning(
            "SHA-256 of the file as it was last taken, valid or not: what agentctl --wait waits for.", _DIGEST
        ),
    },
    AgentCounts: {
        "total": Meaning("Agents declared.", _COUNT),
        "running": Meaning("Agents whose own process lives.", _COUNT),
        "failed": Meaning("Agents in the state failed.", _COUNT),
    },
    Health: {
        "state": Meaning("running, or stopping while the daemon shuts down."),
        "uptime_seconds": Meaning("Age of the daemon.", _COUNT),
        "version": Meaning("Version of the daemon."),
        "pid": Meaning("Process of the daemon.", _PROCESS),
        "config": Meaning("The jcard and its drop-ins."),
        "agents": Meaning("The agents in numbers."),
        "recording": Meaning("What is kept of what happened; trouble with it affects no agent."),
        "slow_reads": Meaning(
            "Looks at paths that you have named which take over a second, the slowest first: a file system that does "
            "not answer. What needs such a path waits for it or fails; nothing else does."
        ),
    },
    SlowRead: {
        "path": Meaning("What does not answer."),
        "seconds": Meaning("For how long.", _COUNT),
    },
    Recording: {
        "transcripts": Meaning("What agents print."),
        "journal": Meaning("Events."),
    },
    RecordingHealth: {
        "state": Meaning("How it is doing.", {"enum": ["ok", "failing", "off"]}),
        "error": Meaning("What cannot be written, why, and what to do."),
        "bytes": Meaning("What is kept on disk.", _COUNT),
        "lost": Meaning("Entries that could not be kept, or were found damaged, since the daemon started.", _COUNT),
    },
    RecordedEvent: {
        "seq": Meaning(
            "Number: higher than that of all events before, over restarts of the daemon too. Some are left out.",
            {"minimum": 1},
        ),
        "time": Meaning("When it happened, with milliseconds.", _TIME),
        "agent": Meaning("Name of the agent; null for the daemon itself."),
        "kind": Meaning("What happened; more kinds may be added: docs/reference/events.md."),
        "reason": Meaning("Why, or what is wrong, for people."),
        "data": Meaning("What programs want to know; which values there are depends on the kind."),
    },
    PlannedOperation: {
        "action": Meaning("start, stop, restart, or change for what applies without a restart."),
        "agent": Meaning("Name of the agent."),
        "reason": Meaning("Why."),
        "fields": Meaning("What differs, for restart and change."),
        "source": Meaning("The jcard or drop-in that declares the agent, or did last."),
    },
    ObservedAgentView: {
        "name": Meaning("Name of the agent."),
        "state": Meaning("Where the agent is in its life.", _STATE),
        "launch": Meaning("Keyed digests of the launch in force, by its parts; never the values."),
        "policy": Meaning("The policy in force."),
        "source": Meaning("The jcard or drop-in that declares it, or did last."),
    },
    SizeView: {
        "offset": Meaning("Bytes of the output before it.", _COUNT),
        "columns": Meaning("Columns of the terminal from there on.", _COUNT),
        "rows": Meaning("Rows of the terminal from there on.", _COUNT),
    },
    GapView: {
        "end": Meaning("When recording went on.", _TIME),
        "reason": Meaning("Why the output was not kept before."),
        "offset": Meaning("Bytes of the output before the gap.", _COUNT),
    },
    RunView: {
        "agent": Meaning("Name of the agent."),
        "run": Meaning("Number of the run, counted for each agent, for ever.", _PROCESS),
        "run_id": Meaning("Id of the run, as in the agent's AGENTD_RUN_ID."),
        "harness": Meaning("The coding agent that was run."),
        "workdir": Meaning("Folder it worked in."),
        "argv": Meaning("Its command line, secret values taken out."),
        "start": Meaning("When it was launched.", _TIME),
        "end": Meaning("When it ended.", _TIME),
        "exit_code": Meaning("Its exit status, if it ended by itself.", _COUNT),
        "exit_signal": Meaning("The signal that ended it.", _PROCESS),
        "reason": Meaning("Why it ended: what was asked of it, or how it ended by itself."),
        "first_byte": Meaning("Offset of the first byte of its output that is kept.", _COUNT),
        "end_byte": Meaning("Offset after the last byte of its output.", _COUNT),
        "columns": Meaning("Columns of its terminal when it began.", _COUNT),
        "rows": Meaning("Rows of its terminal when it began.", _COUNT),
        "gaps": Meaning("When its output was not kept."),
        "sizes": Meaning("Other sizes that its terminal got, in the order of their offsets."),
    },
    Screen: {
        "name": Meaning("Name of the agent."),
        "session": Meaning("Name of the tmux session."),
        "width": Meaning("Columns of the terminal.", _PROCESS),
        "height": Meaning("Rows of the terminal.", _PROCESS),
        "cursor_x": Meaning("Column of the cursor, from 0.", _COUNT),
        "cursor_y": Meaning("Row of the cursor, from 0.", _COUNT),
        "cursor_visible": Meaning("Whether the cursor is shown."),
        "lines": Meaning("Rows from the top, without blank ones at the end and spaces at their ends."),
    },
    PlanReport: {
        "operations": Meaning("What the daemon would still do."),
        "observed": Meaning("What is there now."),
        "digest_key": Meaning("Key of the digests, with which a client computes comparable ones."),
        "agent_user": Meaning("User the agents run as."),
        "home": Meaning("Home of that user."),
        "default_workdir": Meaning("Folder of agents that declare none."),
        "data_dir": Meaning("Folder of worktrees and workspaces."),
    },
    ErrorBody: {
        "error": Meaning("What is wrong, in one line."),
    },
}
