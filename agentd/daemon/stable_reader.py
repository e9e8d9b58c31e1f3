"""Takes a change of the files once it stands still, so that a half-written file never takes effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agentd.daemon.configuration import Configuration, Reading, Sources
from agentd.daemon.inputs import Inputs
from agentd.jcard.drop_in_folder import FoundFile

SETTLE = 0.01
"""Seconds between the two reads that must agree."""

SETTLE_STOP = 0.1
"""Seconds that a change must stand before it may stop an agent: the rest of a file may still be on its way."""


class StableReader:
    """Waits until the files stand still and hands on what they declare.

    Parameters
    ----------
    stops
        Whether a configuration would stop an agent that runs.
    """

    def __init__(self, inputs: Inputs, stops: Callable[[Configuration], bool]) -> None:
        self._inputs = inputs
        self._stops = stops
        self._taken: Reading | None = None
        self.unsettled = False
        """Whether some file had no time to stand still, while others were taken."""

    @property
    def secret_values(self) -> Sequence[str]:
        """The values of all secrets in force, for redaction."""
        return () if self._taken is None else tuple(self._taken.secrets.values.values())

    async def next_change(self) -> Configuration | None:
        """Read until two reads agree; ``None`` if nothing differs from what was taken last."""
        self.unsettled = False
        reading, hold = await self._inputs.read(), False
        while reading != self._taken:
            # Understood while it settles: 25 ms for 300 agents that need not be waited for twice.
            configuration, _ = await asyncio.gather(
                asyncio.to_thread(self._inputs.understand, reading), asyncio.sleep(SETTLE)
            )
            hold = hold or self._stops(configuration)
            if hold:
                await asyncio.sleep(SETTLE_STOP)
            again = await self._inputs.read()
            if again == reading:
                return self._take(reading, configuration)
            settled = agreed(reading, again, self._taken, stopping=hold)
            if settled is not None and settled != self._taken:
                configuration = await asyncio.to_thread(self._inputs.understand, settled)
                if hold or not self._stops(configuration):
                    self.unsettled = True
                    return self._take(settled, configuration)
                # It would stop an agent only without what is still being written.
                hold = True
            reading = again
        return None

    def _take(self, reading: Reading, configuration: Configuration) -> Configuration:
        self._taken = reading
        self._inputs.take(reading)
        return configuration


def agreed(first: Reading, again: Reading, taken: Reading | None, *, stopping: bool) -> Reading | None:
    """Give what two readings agree on, with each file that they do not agree on as it was taken last.

    ``None`` where that is not known, or where it is no file that declares agents that they do not agree on.

    Parameters
    ----------
    stopping
        Whether what is returned may stop agents. A file that was not taken before and still changes is then one whose
        content is not known, since it may declare an agent that runs; otherwise it is left out.
    """
    if taken is None or (first.prompts, first.prompt_errors, first.secrets) != (
        again.prompts,
        again.prompt_errors,
        again.secrets,
    ):
        return None
    files = _agreed(first.sources.files, again.sources.files, taken.sources.files, stopping=stopping)
    # What was renewed between the two readings has not expired.
    expired = first.sources.expired & again.sources.expired
    # The last good content of a file may name other prompt files than the one that is not taken yet.
    errors = {path: error for path, error in taken.prompt_errors.items() if path not in again.prompts}
    return Reading(
        Sources(files, again.sources.unlisted, expired),
        {**taken.prompts, **again.prompts},
        {**errors, **again.prompt_errors},
        again.secrets,
    )


def _agreed(
    first: Mapping[Path, FoundFile],
    again: Mapping[Path, FoundFile],
    taken: Mapping[Path, FoundFile],
    *,
    stopping: bool,
) -> dict[Path, FoundFile]:
    jcard = next(iter(again))
    files = {}
    for path in (jcard, *sorted({*first, *again, *taken} - {jcard}, key=str)):
        file = again.get(path)
        settled = file if first.get(path) == file else taken.get(path)
        if settled is None and stopping and (changing := file or first.get(path)) is not None:
            settled = FoundFile(path, changing.owner, None, "it is being written")
        if settled is not None:
            files[path] = settled
    return files
