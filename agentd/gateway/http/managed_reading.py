"""From the body of a managed agent to what it is to be: what does not fit together is refused, by field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from agentd.gateway.http.body import JsonObject
from agentd.gateway.http.managed_bodies import AgentBody, ServerBody, SubagentBody
from agentd.gateway.model.errors import InvalidRequestError
from agentd.gateway.model.managed import SEPARATOR
from agentd.gateway.model.requests import DEFAULT_HARNESS
from agentd.gateway.model.wanted import WantedAgent, WantedServer, WantedSubagent, WantedTool
from agentd.gateway.talk.definitions import OWN
from agentd.jcard.checks import LONGEST_NAME
from agentd.jcard.pubsub import PubsubError, read_pubsub
from agentd.text.quoting import unfit

HIDDEN: Final = "***"
"""Stands for what is not shown."""

_SECRET: Final = re.compile(r"password|passwd|secret|token|api_?key|credential|sasl_plain|private", re.IGNORECASE)
_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]*(?=@)")
"""The user and password of a URL."""


def read(body: AgentBody) -> WantedAgent:
    """Read it.

    Raises
    ------
    InvalidRequestError
        If something does not fit together.
    """
    agent = f"{body.username}{SEPARATOR}{body.name}"
    if len(agent) > LONGEST_NAME:
        # Both are good by themselves.
        most = LONGEST_NAME - len(body.username) - len(SEPARATOR)
        expected = (
            f"expected at most {most}: agentd's name of it is {body.username}{SEPARATOR}NAME, of at most {LONGEST_NAME}"
        )
        raise InvalidRequestError("name", unfit(body.name, expected, most))
    if OWN.fullmatch(agent):
        raise InvalidRequestError("name", f"found {body.name}, which is the form of a session's own agent")
    config = body.json_config
    servers = tuple(_server(name, server) for name, server in config.mcp.servers.items())
    if config.pubsub_enabled and not config.pubsub_config:
        raise InvalidRequestError("json_config.pubsub_config", "missing, though pubsub_enabled says that there is one")
    if config.pubsub_config:
        try:
            read_pubsub(config.pubsub_config)
        except PubsubError as error:
            raise InvalidRequestError(f"json_config.pubsub_config.{error.field}", error.problem) from None
    shown, secret = parted(config.pubsub_config or {})
    return WantedAgent(
        body.username,
        body.name,
        body.harness or DEFAULT_HARNESS,
        _subagents(body.subagents, {server.name for server in servers}),
        servers,
        config.default_model,
        body.initial_task,
        _definition(body, shown),
        secret,
    )


def _subagents(bodies: list[SubagentBody], servers: set[str]) -> tuple[WantedSubagent, ...]:
    names: set[str] = set()
    for index, body in enumerate(bodies):
        if body.name.lower() in names:
            raise InvalidRequestError(f"subagents.{index}.name", f"{body.name} is there twice")
        names.add(body.name.lower())
        for place, server in enumerate(body.servers):
            if server not in servers:
                known = ", ".join(sorted(servers)) or "none: there are none in json_config.mcp.servers"
                raise InvalidRequestError(
                    f"subagents.{index}.servers.{place}", f"found {server}, expected one of {known}"
                )
    return tuple(WantedSubagent(body.name, body.instruction, tuple(body.servers), body.model) for body in bodies)


def _server(name: str, body: ServerBody) -> WantedServer:
    place = f"json_config.mcp.servers.{name}"
    transport = body.transport or body.type
    if (body.command is None) == (body.url is None):
        raise InvalidRequestError(place, "expected a command or a url, and not both")
    if transport is not None and (transport == "stdio") != (body.url is None):
        raise InvalidRequestError(
            f"{place}.transport", f"found {transport}, which does not fit what there is to talk to"
        )
    if body.url is None and body.headers:
        raise InvalidRequestError(f"{place}.headers", "they are for a url; a command has env")
    if body.url is not None and (body.env or body.args or body.cwd):
        raise InvalidRequestError(place, "env, args and cwd are for a command; a url has headers")
    names = [tool.name for tool in body.tool_calls]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise InvalidRequestError(f"{place}.tool_calls", f"{twice} is there twice")
    tools = tuple(
        WantedTool(tool.name, tool.seek_confirm, tool.time_to_confirm, tool.default) for tool in body.tool_calls
    )
    return WantedServer(
        name, body.command, tuple(body.args), body.env, body.url, body.headers, transport == "sse", body.cwd, tools
    )


def _definition(body: AgentBody, pubsub: JsonObject) -> JsonObject:
    """Give what may be shown: as it was sent, with its defaults, and without what may be secret."""
    shown: JsonObject = body.model_dump(mode="json", exclude={"idempotency_key", "username", "name", "harness"})
    config = shown["json_config"]
    assert isinstance(config, dict)
    config["pubsub_config"] = pubsub or None
    mcp = config["mcp"]
    assert isinstance(mcp, dict)
    servers = mcp["servers"]
    assert isinstance(servers, dict)
    for server in servers.values():
        assert isinstance(server, dict)
        for name in ("env", "headers"):
            given = server[name]
            assert isinstance(given, dict)
            server[name] = dict.fromkeys(given, HIDDEN)
        # Some programs are given their key on the command line.
        args = server["args"]
        assert isinstance(args, list)
        server["args"] = [HIDDEN] * len(args)
        if isinstance(url := server["url"], str):
            server["url"] = _IN_URL.sub(HIDDEN, url).partition("?")[0]
    return shown


def parted(settings: Mapping[str, JsonValue]) -> tuple[JsonObject, JsonObject]:
    """Part the settings of a channel in what may be shown, and what may be secret, as it was."""
    shown: JsonObject = {}
    secret: JsonObject = {}
    for name, value in settings.items():
        if _SECRET.search(name) and not _names_secret(name):
            shown[name], secret[name] = HIDDEN, value
        elif isinstance(value, str) and _IN_URL.search(value):
            shown[name], secret[name] = _IN_URL.sub(HIDDEN, value), value
        elif isinstance(value, dict):
            inside, hidden = parted(value)
            shown[name] = inside
            if hidden:
                # Whole: it takes the place of what is shown.
                secret[name] = value
        else:
            shown[name] = value
    return shown, secret


def _names_secret(field: str) -> bool:
    """Whether a field names a secret of agentd's, instead of being one."""
    return field.endswith(("_secret", "_secret_name")) or field == "secret"
