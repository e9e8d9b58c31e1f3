"""Has an unexpected error, while files are read, reported in place of ending the daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from agentd.daemon.configuration import Configuration

log = structlog.get_logger(__name__)

_NOTHING = Configuration(files=(), warnings=(), desired=None)


class ErrorBoundary:
    """Reads the files, and reports a defect on the way: of agentd, of a harness, of the installation.

    Parameters
    ----------
    read
        Gives what the files declare, or ``None`` if that is as before.
    """

    def __init__(self, read: Callable[[], Awaitable[Configuration | None]]) -> None:
        self._read = read
        self._defect: str | None = None
        self._before: Configuration | None = None
        """What the files said last before the defect."""

    async def next_change(self, current: Configuration | None) -> Configuration | None:
        """Read the files; give what has changed, a defect or its end included, and ``None`` otherwise.

        Parameters
        ----------
        current
            What was given last.
        """
        try:
            configuration = await self._read()
        except Exception as error:  # noqa: BLE001 (whatever it is, agents and API go on)
            return self._failed(error, current)
        if self._defect is None:
            return configuration
        self._defect = None
        return self._before if configuration is None else configuration

    def _failed(self, error: Exception, current: Configuration | None) -> Configuration | None:
        # Not its text: that may repeat a secret, which the log takes out.
        defect = f"{type(error).__name__} while the files were read, which agentd did not expect"
        if defect == self._defect:
            return None
        if self._defect is None:
            self._before = current
        self._defect = defect
        log.error("files_not_read", exc_info=error, effect="the last good configuration stays in force")
        advice = "the last good configuration stays in force; see agentd's log, and restart agentd if it was upgraded"
        return replace(self._before or _NOTHING, defect=f"{defect}: {advice}", desired=None)
