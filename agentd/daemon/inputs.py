"""From files to desired agents: reading the jcard, the prompt files and the secrets, and taking them as a whole.

A change counts once two reads agree, so that a half-written file never takes effect; one that would stop an agent must
stand a little longer. A missing or empty jcard changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentd.daemon.context import ConfigUnavailableError, read_config
from agentd.harness.base import Harness
from agentd.jcard.load import load_jcard
from agentd.jcard.problems import LoadResult
from agentd.jcard.prompts import PromptError, prompt_files, read_prompt
from agentd.jcard.regular_files import Account
from agentd.jcard.secrets import Secrets, missing_secrets, read_secrets, secrets_for
from agentd.jcard.spec import AgentSpec, LoadContext
from agentd.supervise.desired import DesiredAgent, desire

SETTLE = 0.01
"""Seconds between the two reads that must agree."""

SETTLE_STOP = 0.1
"""Seconds that a change must stand before it may stop an agent: the rest of a file may still be on its way."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the files said at one moment."""

    config: bytes | None
    config_error: str | None
    prompts: Mapping[Path, str | None]
    """Text by file; ``None`` where it cannot be read."""
    prompt_errors: Mapping[Path, str]
    secrets: Secrets = field(repr=False)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A reading, understood."""

    valid: bool
    error: str | None
    """Why the jcard cannot be used."""
    warnings: tuple[str, ...]
    desired: tuple[DesiredAgent, ...] | None
    """``None`` while there never was a usable jcard."""
    digest: str | None
    """Of the jcard's content, valid or not; ``None`` where there is none to read."""
    skipped_secrets: frozenset[str] = frozenset()
    """Those of the warnings that are about files in the secret directory."""


class Inputs:
    """Reads and understands the files; everything here may block and runs in a thread.

    Parameters
    ----------
    user
        Name of the user the agents run as.
    key
        Key of the digests in fingerprints.
    account
        Whom prompts are handed to, if agentd is someone else.
    """

    def __init__(
        self,
        config: Path,
        secret_dir: Path,
        context: LoadContext,
        harnesses: Mapping[str, Harness],
        user: str,
        key: bytes,
        *,
        account: Account | None = None,
    ) -> None:
        self.config = config
        self.secret_dir = secret_dir
        self._context = context
        self._harnesses = harnesses
        self._user = user
        self._key = key
        self._account = account
        self._loaded: tuple[bytes, LoadResult] | None = None
        self._specs: tuple[AgentSpec, ...] | None = None

    def read(self) -> Reading:
        """Read all files once."""
        data: bytes | None = None
        error: str | None = None
        try:
            data = read_config(self.config)
        except ConfigUnavailableError as problem:
            error = str(problem)
        specs = self._specs or ()
        if data is not None:
            result = self._load(data)
            if not result.errors:
                specs = result.agents
        prompts: dict[Path, str | None] = {}
        prompt_errors: dict[Path, str] = {}
        for path in sorted(prompt_files(specs)):
            try:
                prompts[path] = read_prompt(path, self._account)
            except PromptError as problem:
                prompts[path] = None
                prompt_errors[path] = str(problem)
        return Reading(data, error, prompts, prompt_errors, read_secrets(self.secret_dir))

    def _load(self, data: bytes) -> LoadResult:
        if self._loaded is None or self._loaded[0] != data:
            self._loaded = data, load_jcard(data, str(self.config), self._context)
        return self._loaded[1]

    def understand(self, reading: Reading) -> Configuration:
        """Work out what a reading declares; the last good agents where the jcard cannot be used."""
        error, warnings = reading.config_error, []
        specs = self._specs
        if reading.config is not None:
            result = self._load(reading.config)
            warnings = [str(problem) for problem in result.warnings]
            if result.errors:
                error = "\n".join(str(problem) for problem in result.errors)
            else:
                specs = result.agents
        desired = None if specs is None else tuple(self._desire(spec, reading) for spec in specs)
        if specs is not None:
            warnings += missing_secrets(specs, reading.secrets)
        return Configuration(
            valid=error is None,
            error=error,
            warnings=(*warnings, *reading.secrets.warnings),
            desired=desired,
            skipped_secrets=frozenset(reading.secrets.warnings),
            digest=None if reading.config is None else hashlib.sha256(reading.config).hexdigest(),
        )

    def take(self, reading: Reading) -> None:
        """Remember what a reading declared as the last good configuration, if it is."""
        if reading.config is not None:
            result = self._load(reading.config)
            if not result.errors:
                self._specs = result.agents

    def _desire(self, spec: AgentSpec, reading: Reading) -> DesiredAgent:
        path = spec.prompt_file
        return desire(
            spec,
            prompt=None if path is None else reading.prompts.get(path),
            prompt_error=None if path is None else reading.prompt_errors.get(path),
            secrets=secrets_for(spec, reading.secrets),
            harness=self._harnesses[spec.harness],
            user=self._user,
            key=self._key,
        )

    @property
    def prompt_paths(self) -> frozenset[Path]:
        """The prompt files of the configuration in force."""
        return frozenset(prompt_files(self._specs or ()))


class SettledReader:
    """Waits until the files stand still and hands on what they declare.

    Parameters
    ----------
    stops
        Whether a configuration would stop an agent that runs.
    """

    def __init__(self, inputs: Inputs, stops: Callable[[Sequence[DesiredAgent]], bool]) -> None:
        self._inputs = inputs
        self._stops = stops
        self._taken: Reading | None = None

    @property
    def secret_values(self) -> Sequence[str]:
        """The values of all secrets in force, for redaction."""
        return () if self._taken is None else tuple(self._taken.secrets.values.values())

    async def next_change(self) -> Configuration | None:
        """Read until two reads agree; ``None`` if nothing differs from what was taken last."""
        reading = await asyncio.to_thread(self._inputs.read)
        while reading != self._taken:
            # Understood while it settles: 25 ms for 300 agents that need not be waited for twice.
            configuration, _ = await asyncio.gather(
                asyncio.to_thread(self._inputs.understand, reading), asyncio.sleep(SETTLE)
            )
            if configuration.desired is not None and self._stops(configuration.desired):
                await asyncio.sleep(SETTLE_STOP)
            again = await asyncio.to_thread(self._inputs.read)
            if again == reading:
                self._taken = reading
                self._inputs.take(reading)
                return configuration
            reading = again
        return None
