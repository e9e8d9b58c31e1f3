"""What became of what was told: counted, and logged now and then."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

import structlog

from agentd.model.telemetry import Signal

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 1024
"""Spans, and log records, in a queue."""
SAY_AGAIN: Final = 600.0
"""Seconds after which it is said again that nothing arrives."""


@dataclass(slots=True)
class Counts:
    """Of one signal: counted up by the thread that tells or by the one that sends, each its own."""

    signal: Signal
    given: int = 0
    taken: int = 0
    """Out of the queue."""
    sent: int = 0
    failed: int = 0
    """The collector did not take them."""
    dropped: int = 0
    """The queue was full."""
    reasons: Reasons | None = None
    _said: float | None = None

    def offered(self) -> None:
        """Count one that is put into the queue, which drops its oldest if it is full."""
        if self.given - self.dropped - self.taken >= MOST_WAITING:
            self.dropped += 1
        self.given += 1

    def done(self, number: int, *, ok: bool) -> None:
        """Count what was sent, or was not; logged once it changes, and then now and then."""
        if ok:
            self.sent += number
            if self._said is not None:
                self._said = None
                log.info("telemetry_sent_again", signal=self.signal.value, lost=self.failed + self.dropped)
            return
        self.failed += number
        now = time.monotonic()
        if self._said is None or now - self._said >= SAY_AGAIN:
            self._said = now
            reason = None if self.reasons is None else self.reasons.last
            lost = self.failed + self.dropped
            log.warning("telemetry_not_sent", signal=self.signal.value, lost=lost, reason=reason or "unknown")
        if self.reasons is not None:
            self.reasons.forget()

    def outcomes(self) -> dict[tuple[str, ...], float]:
        """How many had each outcome, for /metrics."""
        signal = self.signal.value
        return {
            (signal, "sent"): self.sent,
            (signal, "failed"): self.failed,
            (signal, "dropped"): self.dropped,
        }


class Reasons(logging.Handler):
    """Keeps what the SDK logged last in each thread, instead of a line for each attempt."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message; the last one of several attempts does not say why the others failed."""
        text = record.getMessage()
        last = self.last
        again = text.endswith("due to timeout, max retries or shutdown.") and last is not None
        self._last.text = f"{text} {last}" if again else text

    @property
    def last(self) -> str | None:
        """What was logged last in this thread."""
        text = getattr(self._last, "text", None)
        return text if isinstance(text, str) else None

    def forget(self) -> None:
        """Forget it."""
        self._last.text = None


def kept_reasons() -> Reasons:
    """Have the SDK's messages kept instead of logged."""
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    reasons = next((each for each in logger.handlers if isinstance(each, Reasons)), None)
    if reasons is None:
        reasons = Reasons()
        logger.addHandler(reasons)
    return reasons
