"""From files to desired agents: reads the jcard, its drop-ins, prompt files and secrets, and understands them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from agentd.daemon.config_files import ConfigFiles
from agentd.daemon.configuration import Configuration, Reading, Sources
from agentd.daemon.resolving import Resolver
from agentd.files.answering import NotAnsweringError, Way
from agentd.files.git_root import git_root
from agentd.files.looks import Looks
from agentd.jcard.approve_tables import approvals_in_force, nobody_told
from agentd.jcard.capacity_tables import not_counted
from agentd.jcard.prompts import PromptError, prompt_files, read_prompt
from agentd.jcard.secrets import (
    Secrets,
    headers_of,
    missing_headers,
    missing_secrets,
    missing_signatures,
    read_secret,
    secret_paths,
    secrets_of,
    secrets_unlisted,
    withheld_secrets,
)
from agentd.jcard.unknown import unknown_sources
from agentd.model.pool import NO_POLICIES
from agentd.model.spec import AgentSpec
from agentd.model.user import AgentUser
from agentd.sandbox.granted import sandboxed_places
from agentd.supervise.claims import places, with_roots
from agentd.text.quoting import printable


class Inputs:
    """Reads and understands the files.

    Parameters
    ----------
    account
        Whom prompts are handed to, if it is not us.
    looks
        What the files are looked at with.
    """

    def __init__(
        self,
        files: ConfigFiles,
        secret_dir: Path,
        resolver: Resolver,
        account: AgentUser | None,
        looks: Looks,
    ) -> None:
        self._files = files
        self._secret_dir = secret_dir
        self._resolver = resolver
        self._account = account
        self._looks = looks
        self._taken: Reading | None = None

    async def read(self) -> Reading:
        """Read all files once, none of which is kept waiting for another that does not answer."""
        sources, secrets = await asyncio.gather(self._files.read(), self._read_secrets())
        specs = self._specs(sources)
        prompts, errors = await self._read_prompts(specs)
        jcard = self._files.merged(sources)[0].in_force
        wanted = places(None if jcard is None else jcard.capacity, specs)
        return Reading(sources, prompts, errors, secrets, await self._repositories(wanted))

    async def _repositories(self, wanted: frozenset[Path]) -> dict[Path, str | None]:
        found = await self._looks.each(sorted(wanted), git_root)
        # What does not answer is taken for a repository of its own: two agents that are there may write to one.
        return {path: str(path) if isinstance(root, OSError) else root for path, root in found.items()}

    def _specs(self, sources: Sources) -> Sequence[AgentSpec]:
        return [spec for file in self._files.merged(sources) for spec in file.agents]

    async def _read_prompts(self, specs: Sequence[AgentSpec]) -> tuple[dict[Path, str | None], dict[Path, str]]:
        texts: dict[Path, str | None] = {}
        errors: dict[Path, str] = {}
        paths, read = sorted(prompt_files(specs)), partial(self._read_prompt, sandboxed_places(specs))
        for path, found in (await self._looks.each(paths, read)).items():
            texts[path] = found if isinstance(found, str) else None
            if isinstance(found, NotAnsweringError):
                errors[path] = f"prompt file {printable(str(path))}: {found.strerror}"
            elif isinstance(found, PromptError):
                errors[path] = str(found)
        return texts, errors

    def _read_prompt(self, places: Iterable[Path], path: Path) -> str | PromptError:
        try:
            return read_prompt(path, self._account, places)
        except PromptError as problem:
            return problem

    async def _read_secrets(self) -> Secrets:
        folder, last = self._secret_dir, None if self._taken is None else self._taken.secrets
        unlisted: list[Secrets] = []

        def paths(way: Way) -> Sequence[Path]:
            way.to(folder)
            found = secret_paths(folder)
            if isinstance(found, Secrets):
                unlisted.append(found)
                return ()
            return found

        try:
            found = await self._looks.each(paths, read_secret, joined=True)
        except NotAnsweringError as error:
            return secrets_unlisted(folder, error, last)
        return unlisted[0] if unlisted else secrets_of(found, last)

    def understand(self, reading: Reading) -> Configuration:
        """Work out what a reading declares; of a file that cannot be used, its last good agents."""
        sources, secrets = reading.sources, reading.secrets
        merged = self._files.merged(sources)
        specs = self._specs(sources)
        files = tuple(
            self._files.described(file, taken) for file, taken in zip(sources.files.values(), merged, strict=True)
        )
        unlisted = (
            f"drop-in folder {printable(str(folder))}: {reason}; what was declared in it stays in force"
            for folder, reason in sources.unlisted.items()
        )
        in_force = [file.in_force for file in merged if file.in_force is not None]
        notify = tuple(rule for content in in_force for rule in content.notify)
        approvals = approvals_in_force(merged[0].in_force, [file.in_force for file in merged[1:]])
        reading = replace(reading, secrets=replace(secrets, withheld=withheld_secrets(in_force)))
        jcard = merged[0].in_force
        pool = NO_POLICIES if jcard is None or jcard.pool is None else jcard.pool
        capacity = None if jcard is None else jcard.capacity
        telemetry = None if jcard is None else jcard.telemetry
        if capacity is not None:
            capacity = with_roots(capacity, reading.repositories)
        warnings = (
            *(warning for file in files for warning in file.warnings),
            *unlisted,
            *missing_secrets(specs, secrets, self._resolver.keys_of),
            *missing_signatures(notify, secrets),
            *missing_headers(telemetry, secrets),
            *nobody_told(approvals, notify),
            *not_counted(capacity, specs),
            *secrets.warnings,
        )
        return Configuration(
            files=files,
            warnings=warnings,
            desired=self._resolver.resolve(specs, reading, pool, counted=capacity is not None),
            unknown=unknown_sources(self._files.folder, merged, sources.unlisted),
            skipped_secrets=frozenset(secrets.warnings),
            secret_names=frozenset(secrets.values),
            notify=notify,
            approvals=approvals,
            pool=pool,
            capacity=capacity,
            telemetry=telemetry,
            telemetry_secrets={name: secrets.values[name] for name in headers_of(telemetry) if name in secrets.values},
            signing={name: secrets.values[name] for rule in notify if (name := rule.secret or "") in secrets.values},
        )

    def take(self, reading: Reading) -> None:
        """Remember a reading as the last one that was taken, and what is good of it as the last good content."""
        self._taken = reading
        self._files.take(reading.sources)

    @property
    def next_expiry(self) -> float | None:
        """When the next lease of a drop-in will be over, monotonic."""
        return self._files.next_expiry

    def watched_files(self) -> frozenset[Path]:
        """The jcard, drop-ins that are symlinks, and the prompt files of the configuration in force."""
        prompts = () if self._taken is None else prompt_files(self._specs(self._taken.sources))
        return frozenset({self._files.config, *self._files.links(), *prompts})

    def watched_folders(self) -> tuple[Path, ...]:
        """The folders of which every entry counts."""
        return (self._secret_dir, *self._files.folders())
