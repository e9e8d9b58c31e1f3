"""Logging: one event a line, fields instead of sentences, and no secret in any of them."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable, MutableMapping
from typing import TextIO, cast

import structlog

from agentd.settings.flags import LogFormat
from agentd.text.quoting import printable
from agentd.text.terminal import display_of

SHORTEST_REDACTED = 4
"""Characters; shorter secrets would take ordinary words out of every line."""

_REPLACEMENT = "[secret]"


class Redactor:
    """Replaces secret values in texts."""

    def __init__(self) -> None:
        self._pattern: re.Pattern[str] | None = None

    def update(self, values: Iterable[str]) -> None:
        """Redact these values from now on."""
        # A value of several lines may be shown line by line.
        texts = {text for value in values for text in (value, *value.splitlines())}
        kept = sorted((text for text in texts if len(text.strip()) >= SHORTEST_REDACTED), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, kept))) if kept else None

    def __call__(self, text: str) -> str:
        """Replace every secret value in a text."""
        return text if self._pattern is None else self._pattern.sub(_REPLACEMENT, text)

    def processor(self, _logger: object, _name: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
        """Redact the fields of a log event."""
        if self._pattern is not None:
            for key, value in event.items():
                if type(value) is str:
                    event[key] = self(value)
        return event


class _Batched:
    """Writes what one turn of the event loop logs in one go; without a loop, at once.

    300 agents that start log 600 lines; a write each took 0.2 s of the daemon's time.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def write(self, text: str) -> None:
        """Take a line."""
        if threading.current_thread() is not threading.main_thread():
            # Its loop may be held up, and must not hold up these lines.
            self._write(text)
            return
        self._lines.append(text)
        if len(self._lines) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self.write_out)
        except RuntimeError:
            self.write_out()

    def write_out(self) -> None:
        """Write what was taken."""
        lines, self._lines = self._lines, []
        if lines:
            self._write("".join(lines))

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # Nobody reads the log any more, or its disk is full: agents go on without it.
            return

    def flush(self) -> None:
        """Nothing to do: `write` arranges for it."""


class _Forward(logging.Handler):
    """Hands what libraries log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, "library_message", text=record.getMessage(), exc_info=record.exc_info)


def _printable_fields(_logger: object, _name: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """Escape what a terminal would act on: an error may repeat what an agent wrote. JSON escapes it anyway."""
    for key, value in event.items():
        if type(value) is str:
            event[key] = printable(value)
    return event


def _write_traceback(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """Write a traceback, without local variables: secrets may be among them."""
    lines = (line for text in traceback.format_exception(*exc_info) for line in text.splitlines())
    stream.write("\n" + "\n".join(map(printable, lines)))


def configure(log_format: LogFormat | None, *, debug: bool, redactor: Redactor, stream: TextIO | None = None) -> None:
    """Set up logging to stderr: for people on a terminal, JSON otherwise."""
    stream = stream if stream is not None else sys.stderr
    console = log_format is LogFormat.CONSOLE or (log_format is None and stream.isatty())
    batched = _Batched(stream)
    processors: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not console),
    ]
    if not console:
        processors.append(structlog.processors.format_exc_info)
    processors.append(cast("structlog.types.Processor", redactor.processor))
    if console:
        processors.append(_printable_fields)
        colors = display_of(stream, os.environ).colour
        processors.append(structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_write_traceback))
    else:
        processors.append(structlog.processors.JSONRenderer())
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", batched)),
        cache_logger_on_first_use=True,
    )
    # What was logged in the last turn of the loop, or before a crash.
    atexit.register(batched.write_out)
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)
    # On a loaded machine a callback may take over 100 ms; that is nothing to report.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
