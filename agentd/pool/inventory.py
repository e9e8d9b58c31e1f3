"""Which providers there are, and what is known of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular
from agentd.files.worker import in_thread
from agentd.harness.base import Harness
from agentd.model.pool import PoolProvider
from agentd.pool.accounts import known_accounts, usage_of
from agentd.pool.around import Around, look_around
from agentd.pool.model_lists import ask_models, declared_models
from agentd.pool.pool import Pool
from agentd.pool.programs import KnownVersions, NoVersionError, credentials_found, version_of
from agentd.pool.results.common import cut, size_of
from agentd.pool.results.providers import Auth, Inventory, ModelList, Policies, Provider, ProviderModels
from agentd.pool.spawning import alive
from agentd.pool.statuses import statuses
from agentd.pool.worker_file import takes_effort, takes_max_turns
from agentd.supervise.worker_policies import by_provider
from agentd.turns.registry import load_adapters

PREFERENCES: Final = "preferences.md"
_LONGEST_PREFERENCES: Final = 2000
"""Characters: an inventory is read by programs that pay for each."""
_EACH_PROVIDER: Final = 8192 // 6
"""Bytes of an inventory: of five providers it has at most 8 KB."""
_LONGEST_NOTE: Final = 200
_LONGEST_VERSION: Final = 80
"""Characters: the PATH that was searched may be long, and what a program prints, too."""
_LARGEST_PREFERENCES: Final = 1 << 20

_QUOTA: Final = ("claude-code", "codex")
"""Harnesses that tell of their account's quota."""

_VERSIONS: Final = "pool/versions.json"
"""In the state directory."""


async def inventory(pool: Pool, provider: str | None = None, *, usage: bool = False) -> Inventory:
    """List the providers.

    Parameters
    ----------
    provider
        Only this one.
    usage
        Whether to say what is known of their accounts, too.

    Raises
    ------
    PoolError
        If there is no such provider.
    """
    around = await look_around(pool)
    chosen = around.chosen(provider)
    versions = KnownVersions(around.daemon.settings.state_dir / _VERSIONS)
    looks = [in_thread("pool-provider", partial(_look, around, each, versions)) for each in chosen]
    found = list(await asyncio.gather(*looks))
    asked = {str(each.binary): each.version for each in found if each.binary and each.version}
    await in_thread("pool-versions", partial(versions.keep, asked))
    if usage:
        known, now = await known_accounts(pool, around, tokens=True), time.time()
        reasons = [None if each.installed and each.allowed else each.note or "it is not installed" for each in found]
        found = [
            replace(each, usage=usage_of(each.id, each.harness, known, around, now, unable))
            for each, unable in zip(found, reasons, strict=True)
        ]
    policies = around.policies
    whole = Inventory(
        found,
        Policies(
            policies.max_workers,
            alive(around, await statuses(pool)),
            None if policies.require_isolation is None else [each.value for each in policies.require_isolation],
            policies.min_remaining_percent,
            policies.max_runtime,
            policies.allow_keys,
        ),
        await in_thread("pool-preferences", partial(_preferences, around.daemon.settings.config.parent)),
    )
    return _bounded(whole)


def _bounded(whole: Inventory) -> Inventory:
    """Cut what the operator wrote to what room there is: a kilobyte and a half for each provider, and that again."""
    text, room = whole.preferences, _EACH_PROVIDER * (len(whole.providers) + 1)
    while text and (over := size_of(whole) - room) > 0:
        # A character takes up to six bytes of JSON.
        text = text[: max(0, len(text) - max(1, over // 6))]
        whole = replace(whole, preferences=f"{text}…" if text else None)
    return whole


def _preferences(folder: Path) -> str | None:
    try:
        text = read_regular(folder / PREFERENCES, _LARGEST_PREFERENCES).decode("utf-8", "replace").strip()
    except OSError:
        return None
    return text if len(text) <= _LONGEST_PREFERENCES else f"{text[: _LONGEST_PREFERENCES - 1]}…"


def _look(around: Around, provider: PoolProvider, versions: KnownVersions) -> Provider:
    harness = around.harnesses[provider.harness]
    environment = around.environment_for(provider)
    program, reason = around.program_for(provider)
    version = None
    if program is not None:
        version = versions.get(program)
        try:
            # Another command than the harness's own may take --version for anything.
            if version is None and not provider.command:
                version = version_of(program, environment, around.user)
        except NoVersionError as error:
            reason = f"{program} {error}"
    refusal = by_provider(provider.id, around.policies)
    credentials = harness.facts.credentials
    login = None if credentials is None else credentials_found(credentials, environment, around.user.home)
    return Provider(
        id=provider.id,
        harness=provider.harness,
        installed=program is not None,
        binary=program,
        version=cut(version, _LONGEST_VERSION),
        auth=Auth(None if credentials is None else login is not None, login),
        models=declared_models(provider)[:8],
        capabilities=_capabilities(provider, harness),
        allowed=refusal is None,
        note=cut(str(refusal) if refusal is not None else reason, _LONGEST_NOTE),
        usage=None,
    )


def _capabilities(provider: PoolProvider, harness: Harness) -> list[str]:
    watched = provider.harness in load_adapters().by_harness
    found = {
        "messages": watched,
        "permissions": watched,
        "usage": watched,
        "quota": provider.harness in _QUOTA,
        "resume": bool(harness.facts.resume),
        "model": harness.takes_model,
        "reasoning_effort": takes_effort(provider.harness),
        "max_turns": takes_max_turns(provider.harness),
        "sandbox": harness.facts.renderer is None,
    }
    return [name for name, able in found.items() if able]


async def models(pool: Pool, provider: str | None = None) -> ModelList:
    """List models, from the providers' programs where they can say; raises as `inventory`."""
    around = await look_around(pool)
    return ModelList(list(await asyncio.gather(*(_models(around, each) for each in around.chosen(provider)))))


async def _models(around: Around, provider: PoolProvider) -> ProviderModels:
    program, reason = await in_thread("pool-program", partial(around.program_for, provider))
    if program is None:
        return ProviderModels(provider.id, declared_models(provider), reason)
    return await ask_models(around, provider, program)
