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

from agentd.files.answering import NotAnsweringError
from agentd.files.looks import Looks
from agentd.harness.base import Harness
from agentd.jcard.load import load_jcard
from agentd.jcard.problems import LoadResult
from agentd.jcard.prompts import PromptError, prompt_files, read_prompt
from agentd.jcard.secrets import (
    Secrets,
    missing_secrets,
    read_secret,
    secret_paths,
    secrets_for,
    secrets_of,
    secrets_unlisted,
    unknown_secret,
)
from agentd.model.spec import AgentSpec, LoadContext
from agentd.model.user import AgentUser
from agentd.settings.context import ConfigUnavailableError, read_config
from agentd.supervise.desired import DesiredAgent, desire
from agentd.text.quoting import printable

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
    """Reads and understands the files.

    Parameters
    ----------
    user
        Whom the agents run as, and prompts are handed to.
    key
        Key of the digests in fingerprints.
    looks
        What the files are looked at with.
    """

    def __init__(
        self,
        config: Path,
        secret_dir: Path,
        context: LoadContext,
        harnesses: Mapping[str, Harness],
        user: AgentUser,
        key: bytes,
        looks: Looks,
    ) -> None:
        self.config = config
        self.secret_dir = secret_dir
        self._context = context
        self._harnesses = harnesses
        self._user = user
        self._key = key
        self._looks = looks
        self._account = user if user.switch else None
        self._loaded: tuple[bytes, LoadResult] | None = None
        self._specs: tuple[AgentSpec, ...] | None = None
        self._secrets: Secrets | None = None
        """As last taken."""

    async def read(self) -> Reading:
        """Read all files once, none of which is kept waiting for another that does not answer."""
        data: bytes | None = None
        error: str | None = None
        specs = self._specs or ()
        try:
            data, result = await self._looks.look(self.config, self._read_config)
            if not result.errors:
                specs = result.agents
        except ConfigUnavailableError as problem:
            error = str(problem)
        except NotAnsweringError as problem:
            error = f"{printable(str(self.config))}: {problem.strerror}"
        prompts, prompt_errors = await self._read_prompts(sorted(prompt_files(specs)))
        return Reading(data, error, prompts, prompt_errors, await self._read_secrets())

    def _read_config(self) -> tuple[bytes, LoadResult]:
        data = read_config(self.config)
        return data, self._load(data)

    async def _read_prompts(self, paths: Sequence[Path]) -> tuple[dict[Path, str | None], dict[Path, str]]:
        texts: dict[Path, str | None] = {}
        errors: dict[Path, str] = {}
        for path, found in (await self._looks.each(paths, self._read_prompt)).items():
            texts[path] = found if isinstance(found, str) else None
            if isinstance(found, NotAnsweringError):
                errors[path] = f"prompt file {printable(str(path))}: {found.strerror}"
            elif isinstance(found, PromptError):
                errors[path] = str(found)
        return texts, errors

    def _read_prompt(self, path: Path) -> str | PromptError:
        try:
            return read_prompt(path, self._account)
        except PromptError as problem:
            return problem

    async def _read_secrets(self) -> Secrets:
        folder = self.secret_dir
        try:
            paths = await self._looks.look(folder, lambda: secret_paths(folder))
        except NotAnsweringError as error:
            return secrets_unlisted(folder, error, self._secrets)
        return (
            paths
            if isinstance(paths, Secrets)
            else secrets_of(await self._looks.each(paths, read_secret), self._secrets)
        )

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
        self._secrets = reading.secrets
        if reading.config is not None:
            result = self._load(reading.config)
            if not result.errors:
                self._specs = result.agents

    def _desire(self, spec: AgentSpec, reading: Reading) -> DesiredAgent:
        path = spec.prompt_file
        return desire(
            spec,
            prompt=None if path is None else reading.prompts.get(path),
            input_error=(None if path is None else reading.prompt_errors.get(path))
            or unknown_secret(spec, reading.secrets),
            secrets=secrets_for(spec, reading.secrets),
            harness=self._harnesses[spec.harness],
            user=self._user.name,
            key=self._key,
        )

    def files(self) -> frozenset[Path]:
        """The jcard, and the prompt files of the configuration in force."""
        return frozenset({self.config, *prompt_files(self._specs or ())})


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
        reading = await self._inputs.read()
        while reading != self._taken:
            # Understood while it settles: 25 ms for 300 agents that need not be waited for twice.
            configuration, _ = await asyncio.gather(
                asyncio.to_thread(self._inputs.understand, reading), asyncio.sleep(SETTLE)
            )
            if configuration.desired is not None and self._stops(configuration.desired):
                await asyncio.sleep(SETTLE_STOP)
            again = await self._inputs.read()
            if again == reading:
                self._taken = reading
                self._inputs.take(reading)
                return configuration
            reading = again
        return None
