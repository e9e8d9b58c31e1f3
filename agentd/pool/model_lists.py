"""The models of providers: what their programs list, or else what is written down."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Final

from agentd.files.worker import in_thread
from agentd.model.pool import PoolProvider
from agentd.pool.around import Around
from agentd.pool.results.providers import Model, ProviderModels
from agentd.process.runner import Runner, RunnerError, clean_environment

_ANSWER_LIMIT: Final = 20.0
"""Seconds: codex takes 0.2, opencode 3 on an idle machine."""
_LONGEST_LINE: Final = 1 << 22

_ALIASES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "claude-code": ("aliases of claude --model, by its documentation", ("default", "opus", "sonnet", "haiku")),
    "gemini-cli": ("models of gemini -m, by its documentation", ("gemini-2.5-pro", "gemini-2.5-flash")),
}
"""Names that the programs' documentation gives; these programs list none."""


def declared_models(provider: PoolProvider) -> list[Model]:
    """Give the models that somebody wrote down."""
    own = [] if provider.model is None else [Model(provider.model, "the jcard", "declared")]
    source, names = _ALIASES.get(provider.harness, ("", ()))
    return own + [Model(name, source, "declared") for name in names if name != provider.model]


async def ask_models(around: Around, provider: PoolProvider, program: str) -> ProviderModels:
    """Ask a provider's program; what it does not say is what is declared."""
    environment = around.environment_for(provider)
    try:
        match provider.harness:
            case "codex":
                found = await _codex(around, program, environment)
                source = "codex app-server, model/list"
            case "opencode":
                found = await in_thread("pool-models", partial(_opencode, around, program, environment))
                source = "opencode models"
            case _:
                return ProviderModels(
                    provider.id, declared_models(provider), "its program lists no models: others may work"
                )
    except (OSError, RunnerError, TimeoutError, ValueError) as error:
        reason = str(error) or "it did not answer in time"
        return ProviderModels(provider.id, declared_models(provider), f"its program was asked in vain: {reason}")
    own = [each for each in declared_models(provider) if each.id not in found]
    return ProviderModels(provider.id, [*own, *(Model(each, source, "exact") for each in found)], None)


def _opencode(around: Around, program: str, environment: Mapping[str, str]) -> list[str]:
    kept = {name: value for name, value in environment.items() if name.startswith(("OPENCODE_", "XDG_"))}
    done = Runner(around.user, environment).run([program, "models"], environment=kept, limit=_ANSWER_LIMIT)
    if done.status != 0:
        raise ValueError(done.reason)
    lines = done.out.decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if "/" in line and " " not in line.strip()]


async def _codex(around: Around, program: str, environment: Mapping[str, str]) -> list[str]:
    own = {**clean_environment(around.user, environment)}
    own |= {name: environment[name] for name in ("CODEX_HOME", "HOME") if name in environment}
    async with asyncio.timeout(_ANSWER_LIMIT), _app_server(program, own) as server:
        assert server.stdin is not None and server.stdout is not None  # noqa: PT018
        initialize = {"clientInfo": {"name": "agentd", "version": "1"}, "capabilities": {"experimentalApi": True}}
        _ask(server, 1, "initialize", initialize)
        await _answer(server, 1)
        server.stdin.write(b'{"method":"initialized"}\n')
        _ask(server, 2, "model/list", {})
        answer = await _answer(server, 2)
    data = answer.get("data") if isinstance(answer, dict) else None
    listed = data if isinstance(data, list) else []
    return [str(each.get("id") or each.get("model")) for each in listed if isinstance(each, dict)]


@contextlib.asynccontextmanager
async def _app_server(program: str, environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(
        program, "app-server", stdin=pipe, stdout=pipe, stderr=none, env=environment, cwd="/", limit=_LONGEST_LINE
    )
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.wait()


def _ask(server: asyncio.subprocess.Process, number: int, method: str, params: Mapping[str, object]) -> None:
    assert server.stdin is not None
    server.stdin.write(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")


async def _answer(server: asyncio.subprocess.Process, number: int) -> object:
    assert server.stdout is not None
    while line := await server.stdout.readline():
        said = json.loads(line)
        if isinstance(said, dict) and said.get("id") == number:
            if "error" in said:
                raise ValueError(str(said["error"]))
            return said.get("result")
    raise ValueError("it ended without an answer")
