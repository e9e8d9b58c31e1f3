"""Which commands there are, what each does in one line, and which module has it."""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "status": {
        "status": "show how the daemon and its agents are doing",
        "list": "list the agents and where they run",
    },
    "logs": {"logs": "print what an agent has printed"},
    "screen": {"screen": "print an agent's screen"},
    "attach": {"attach": "go into an agent's terminal"},
    "send": {
        "send": "send a text to an agent",
        "keys": "press keys in an agent's terminal",
        "interrupt": "interrupt what an agent is doing",
    },
    "events": {"events": "print what happened"},
    "wait": {"wait": "wait until an agent is in a state"},
    "hire": {
        "init": "make a workspace for a role",
        "hire": "make a workspace and run an agent in it",
    },
    "add": {"add": "add an agent"},
    "change": {
        "set": "set fields of an agent",
        "unset": "take fields out",
        "scale": "say how many run",
        "rename": "rename an agent",
        "remove": "remove agents",
    },
    "start_stop": {
        "start": "run agents that were stopped",
        "stop": "stop agents and keep their definitions",
        "restart": "run agents anew",
    },
    "worktrees": {"worktrees": "list the agents' git worktrees, or remove unused ones"},
    "diff": {"diff": "show what an agent changed in its worktree"},
    "collect": {"collect": "put what an agent did into a folder"},
    "validate": {"validate": "check a jcard"},
    "plan": {"plan": "show what would start, stop, restart or change, and why"},
    "schema": {"schema": "print the JSON Schema of the jcard, for editors"},
    "doctor": {"doctor": "look for what could be in the way"},
    "service": {"service": "run agentd as a service of systemd"},
    "completion": {"completion": "print a script that completes agentctl in a shell"},
    "help": {"help": "explain a topic or a command"},
}
"""The commands of each module of this package with their summaries, in the order of the help.

Only the module of the command that is called is imported: together they cost 60 ms.
"""

SUMMARIES: Mapping[str, str] = {name: summary for module in COMMANDS.values() for name, summary in module.items()}
"""All commands."""
