"""All commands: the module that has each, and a summary of one line."""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "status": {
        "status": "show the daemon and its agents",
        "list": "list the agents and where they run",
    },
    "top": {"top": "show all agents live, and talk to them"},
    "ps": {"ps": "list an agent's processes, by command"},
    "logs": {"logs": "print an agent's output"},
    "screen": {"screen": "print an agent's screen"},
    "attach": {"attach": "open an agent's terminal"},
    "send": {
        "send": "send a message to an agent",
        "keys": "press keys in an agent's terminal",
        "interrupt": "interrupt an agent",
    },
    "mailbox": {"mailbox": "show the messages to agents, and what became of them"},
    "turns": {
        "ask": "ask an agent something and print its answer",
        "answer": "allow, deny or answer what an agent asks",
        "last": "print an agent's last answer",
    },
    "approvals": {"approvals": "show who decided what agents asked for, or what the rules would decide"},
    "usage": {"usage": "show the tokens, cost and quota of the agents' models"},
    "events": {"events": "print the daemon's events"},
    "wait": {"wait": "wait until an agent is in a state"},
    "hire": {
        "init": "create a workspace for a role",
        "hire": "create a workspace and run an agent in it",
    },
    "add": {"add": "add an agent"},
    "change": {
        "set": "set fields of an agent",
        "unset": "remove fields of an agent",
        "scale": "set how many replicas run",
        "rename": "rename an agent",
        "remove": "remove agents",
        "start": "start stopped agents",
        "stop": "stop agents and keep their definitions",
        "restart": "restart agents",
        "apply": "apply changes that wait",
    },
    "providers": {
        "inventory": "list the providers of workers, and the policies for them",
        "models": "list the models of providers",
        "smoke": "try a round trip with each provider",
        "skills": "print what agents need to know who hand work to others",
        "setup": "show the first steps with workers",
        "lease": "say who works on which paths",
    },
    "workers": {
        "spawn": "hand a task to a worker",
        "observe": "wait for what happens to workers",
        "transcript": "print a worker's output, page by page",
        "artifacts": "list the files that a worker changed",
        "terminate": "end a worker",
        "workers": "list the workers",
        "stats": "sum up what workers did",
    },
    "worktrees": {"worktrees": "list the agents' git worktrees, remove unused ones, or restore removed ones"},
    "snapshot": {
        "snapshot": "save an agent's worktree, conversation and definition",
        "restore": "bring an agent back as a snapshot has it",
    },
    "diff": {"diff": "show what an agent changed in its worktree"},
    "collect": {"collect": "collect an agent's work in a folder"},
    "sandbox": {"sandbox": "run a command in an agent's sandbox, to try it"},
    "validate": {"validate": "check a jcard"},
    "plan": {"plan": "show what would start, stop, restart or change, and why"},
    "schema": {"schema": "print the JSON Schema of the jcard, for editors"},
    "doctor": {"doctor": "check this machine and agentd for problems"},
    "gateway": {
        "session": "begin, list, show or close sessions of agentd-gateway",
        "message": "send a message to a session",
        "run": "show, await, cancel, answer or diagnose runs",
        "tool": "spawn and message sessions, from agent to agent",
        "daemon": "show how agentd-gateway is doing",
    },
    "fleet": {"fleet": "run agents on many hosts"},
    "connect": {"connect": "talk to an agent through agentd-gateway"},
    "mcp": {
        "mcp": "serve agents' hosts the tools to hand work to workers",
        "mcp-config": "print or install what a host must be told to run it",
    },
    "upgrade": {"upgrade": "have the running agentd become the one that is installed"},
    "service": {"service": "run agentd as a systemd service"},
    "completion": {"completion": "print a shell completion script"},
    "help": {"help": "explain a topic or a command"},
}
"""Summaries by command, by module of `commands`, in the order of the help.

Only the called command's module is imported: all of them cost 60 ms.
"""

HEADINGS: Mapping[str, str] = {
    "status": "look at agents",
    "send": "talk to them",
    "usage": "see what happened",
    "init": "declare and change them",
    "inventory": "hand work to workers",
    "worktrees": "what they have done",
    "validate": "check files and the machine",
    "session": "the gateway, a fleet, hosts of MCP servers",
    "upgrade": "agentd and this help",
}
"""What the help writes above a command and those that follow it."""

STRUCTURED = frozenset(
    {
        *(name for module in ("providers", "workers", "mcp", "send", "usage", "collect") for name in COMMANDS[module]),
        *("answer", "doctor"),
    }
)
"""Commands about workers, whose errors are objects with ``--json``, also where they are about another agent."""

SUMMARIES: Mapping[str, str] = {name: summary for module in COMMANDS.values() for name, summary in module.items()}
"""Summaries by command."""
