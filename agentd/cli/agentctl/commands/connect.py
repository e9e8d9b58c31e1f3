"""``agentctl connect``."""

from __future__ import annotations

from agentd.cli.agentctl.command import (
    CommandError,
    Commands,
    Invocation,
    Status,
    UsageError,
    add_gateway_options,
    not_empty,
)

_DETAILS = """\
Begins a conversation with an agent through agentd-gateway, or with --session goes on with one. Each line is a message;
with DIR the first message asks the agent to work there. Answers are printed as they come, each use of a tool in a line.
What the agent wants to be allowed is asked for. C-c interrupts the agent's turn. /exit and the end of input leave; the
conversation stays."""

_EXAMPLES = """\
agentctl connect reviewer
agentctl connect reviewer ~/src/app
agentctl connect reviewer --main
agentctl connect --session ses_01ABC
echo "which tests fail?" | agentctl connect reviewer"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("connect", _connect, details=_DETAILS, examples=_EXAMPLES)
    parser.add_argument("name", metavar="AGENT", nargs="?", help="name of the agent")
    parser.add_argument("folder", metavar="DIR", nargs="?", type=not_empty, help="the folder to work in")
    parser.add_argument("--main", action="store_true", help="the conversation that the agent has already")
    parser.add_argument("--session", metavar="ID", type=not_empty, help="go on with this one")
    add_gateway_options(parser)


def _connect(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.gateway.chat import Chat
    from agentd.cli.agentctl.gateway.client import Gateway

    arguments = invocation.arguments
    if invocation.as_json:
        raise UsageError("connect is a conversation, not one JSON document: see agentctl message send, run wait")
    if (arguments.name is None) == (arguments.session is None):
        raise UsageError("give AGENT, or --session ID")
    gateway = Gateway.of(invocation)
    if arguments.session is None:
        body = {"agent": arguments.name, "main": True if arguments.main else None}
        document = gateway.post("/sessions", body).get("session")
    else:
        from urllib.parse import quote

        document = gateway.get(f"/sessions/{quote(arguments.session, safe='')}").get("session")
    if not isinstance(document, dict):
        raise CommandError(f"expected a session from {gateway.url}: is this agentd-gateway?")
    return Chat(gateway, str(document["id"]), str(document["agent"]), invocation).talk(arguments.folder)
