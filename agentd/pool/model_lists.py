"""The models of providers: what their programs list, or else what is written down."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from agentd.files.worker import in_thread
from agentd.model.pool import PoolProvider
from agentd.pool.around import Around
from agentd.pool.results.providers import Model, ProviderModels
from agentd.process.runner import Runner, RunnerError

_ANSWER_LIMIT: Final = 60.0
"""Seconds: codex takes 0.2, opencode 3 on an idle machine, and ten times that on a busy one."""
_LONGEST_ANSWER: Final = 1 << 22
"""Bytes."""

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
                found = await in_thread("pool-models", partial(_codex, around, program, environment))
                source = "codex app-server, model/list"
            case "opencode":
                found = await in_thread("pool-models", partial(_opencode, around, program, environment))
                source = "opencode models"
            case _:
                return ProviderModels(
                    provider.id, declared_models(provider), "its program lists no models: others may work"
                )
    except (RunnerError, ValueError) as error:
        return ProviderModels(provider.id, declared_models(provider), f"its program was asked in vain: {error}")
    own = [each for each in declared_models(provider) if each.id not in found]
    return ProviderModels(provider.id, [*own, *(Model(each, source, "exact") for each in found)], None)


def _opencode(around: Around, program: str, environment: Mapping[str, str]) -> list[str]:
    kept = {
        name: value for name, value in environment.items() if name.startswith(("OPENCODE_", "XDG_")) or name == "HOME"
    }
    done = Runner(around.user, environment).run([program, "models"], environment=kept, limit=_ANSWER_LIMIT)
    if done.status != 0:
        raise ValueError(done.reason)
    lines = done.out.decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if "/" in line and " " not in line.strip()]


def _codex(around: Around, program: str, environment: Mapping[str, str]) -> list[str]:
    initialize = {"clientInfo": {"name": "agentd", "version": "1"}, "capabilities": {"experimentalApi": True}}
    asked: list[dict[str, object]] = [
        {"id": 1, "method": "initialize", "params": initialize},
        {"method": "initialized"},
        {"id": 2, "method": "model/list", "params": {}},
    ]
    own = {name: environment[name] for name in ("CODEX_HOME", "HOME") if name in environment}
    answer = _Answer(2)
    with contextlib.suppress(_AnsweredError):
        Runner(around.user, environment).run(
            [program, "app-server"],
            stdin="".join(f"{json.dumps(each)}\n" for each in asked).encode(),
            # It ends with its input, before it has answered.
            stays_open=True,
            environment=own,
            limit=_ANSWER_LIMIT,
            most=_LONGEST_ANSWER,
            take=answer.take,
        )
    if answer.result is None:
        raise ValueError(answer.error or "it ended without an answer")
    data = answer.result.get("data")
    listed = data if isinstance(data, list) else []
    return [str(each.get("id")) for each in listed if isinstance(each, dict) and not each.get("hidden")]


class _AnsweredError(Exception):
    """What was asked is answered: the program may be ended."""


@dataclass(slots=True)
class _Answer:
    """The answer to a request, among the lines that a program prints."""

    number: int
    result: Mapping[str, object] | None = None
    error: str | None = None
    _begun: bytes = b""

    def take(self, piece: bytes) -> None:
        """Take what was printed; raises `_AnsweredError` once the answer is there."""
        *lines, self._begun = (self._begun + piece).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if isinstance(said, dict) and said.get("id") == self.number:
                result, error = said.get("result"), said.get("error")
                self.result = result if isinstance(result, dict) else None
                self.error = None if error is None else str(error)
                raise _AnsweredError
