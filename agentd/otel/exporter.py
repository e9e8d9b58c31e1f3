"""Tells a collector what happens, where the jcard has ``[otel]``; nothing waits for it, and it harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, TypeAlias

import structlog

from agentd import __version__
from agentd.files.worker import in_thread
from agentd.model.events import Event, EventKind, redacted
from agentd.model.telemetry import Signal, Telemetry
from agentd.otel.genai import TurnMeasures
from agentd.otel.records import Record, record_of
from agentd.otel.spans import USAGE_AFTER, Tracing, next_due, settle, step
from agentd.otel.values import AgentFacts, Span
from agentd.recording.metrics.measures import TELEMETRY, Family
from agentd.settings.extras import how_to_install
from agentd.text.quoting import quote

log = structlog.get_logger(__name__)

LAST_MOMENT: Final = 3.0
"""Seconds that the daemon's end waits for what is still to be sent; the SDK alone takes 0.3 s to be imported."""

EXTRA: Final = "agentd[otel]"

_MOST_WAITING: Final = 1024
"""Of spans, and of log records, that wait until it can be sent at all: the SDK is being imported."""
_MOST_UNREAD: Final = 8192
"""Events before the first declaration is read: what became of a thousand agents while no agentd ran."""
_A_LITTLE: Final = 0.1
_AT_ONCE: Final = 50
"""Turns that are told in one turn of the loop: 2 ms."""
_OF_RUNS: Final = frozenset({EventKind.LAUNCHED, EventKind.STARTED, EventKind.ADOPTED, EventKind.REMOVED})
"""Kinds that are followed also where nothing is declared, so that a run's trace is known if it is later."""


class Sending(Protocol):
    """What sends (`agentd.otel.sending.sender.Sender`)."""

    def spans(self, spans: Sequence[Span]) -> None:
        """Put spans into the queue."""
        ...

    def records(self, records: Sequence[Record]) -> None:
        """Put log records into the queue."""
        ...

    def metrics(self, families: Sequence[Family], since: float, at: float) -> None:
        """Send metrics, blocking."""
        ...

    def outcomes(self) -> dict[tuple[str, ...], float]:
        """How many had each outcome."""
        ...

    def close(self) -> None:
        """Send what waits, blocking, and end."""
        ...


Make: TypeAlias = Callable[[Telemetry, Mapping[str, str], Mapping[str, str]], Sending]
"""Makes what sends, in a thread; `ImportError` where the extra is not installed."""


def make_sender(telemetry: Telemetry, headers: Mapping[str, str], resource: Mapping[str, str]) -> Sending:
    """Make what sends.

    Raises
    ------
    ImportError
        If the extra is not installed.
    """
    from agentd.otel.sending.sender import Sender

    return Sender(telemetry, headers, resource)


class Exporter:
    """Tells a collector.

    Parameters
    ----------
    instance
        What this agentd is called among those of its host.
    redact
        Takes secrets out of a text.
    wall
        Seconds since the epoch.
    """

    def __init__(
        self, instance: str, redact: Callable[[str], str], wall: Callable[[], float], make: Make = make_sender
    ) -> None:
        self._instance = instance
        self._redact = redact
        self._wall = wall
        self._make = make
        self._since = wall()
        self._facts: Mapping[str, AgentFacts] = {}
        self._tracing = Tracing()
        self._turns = TurnMeasures()
        self._telemetry: Telemetry | None = None
        self._headers: Mapping[str, str] = {}
        self._unread: deque[tuple[float, Event]] | None = deque(maxlen=_MOST_UNREAD)
        """What happened before the first declaration, and when: what is secret is not known yet."""
        self._sending: Sending | None = None
        self._early: deque[Span | Record] = deque(maxlen=_MOST_WAITING)
        """What happened before it could be sent."""
        self._changing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.families: Callable[[], Awaitable[Sequence[Family]]] | None = None
        """Gives the metrics; assigned once they are made, since they count what the exporter has sent, too."""

    def configure(
        self, telemetry: Telemetry | None, secrets: Mapping[str, str], facts: Mapping[str, AgentFacts]
    ) -> None:
        """Follow this declaration from now on.

        Parameters
        ----------
        secrets
            The values of those that it names, of those that there are.
        facts
            What is known of the agents.
        """
        self._facts = facts
        headers = {} if telemetry is None else _headers(telemetry, secrets)
        if headers is None:
            telemetry, headers = None, {}
        if (telemetry, headers) != (self._telemetry, self._headers):
            self._follow(telemetry, headers)
        if self._unread is not None:
            unread, self._unread = self._unread, None
            for at, event in unread:
                self._take(event, at)

    def _follow(self, telemetry: Telemetry | None, headers: Mapping[str, str]) -> None:
        self._telemetry, self._headers = telemetry, headers
        self._tracing = replace(self._tracing, content=telemetry is not None and telemetry.content)
        if telemetry is None:
            self._early.clear()
        former, self._sending = self._sending, None
        changing = self._change(self._changing, former, telemetry, headers)
        self._changing = asyncio.get_running_loop().create_task(changing, name="telemetry")

    def take(self, event: Event) -> None:
        """Tell of an event; at once, and never raising."""
        if self._unread is None:
            self._take(event, self._wall())
        else:
            self._unread.append((self._wall(), event))

    def _take(self, event: Event, at: float) -> None:
        if self._telemetry is None and event.kind not in _OF_RUNS:
            return
        told = event if self._telemetry is None else redacted(event, self._redact)
        facts = None if event.agent is None else self._facts.get(event.agent)
        self._tracing, spans = step(self._tracing, told, at, facts)
        self._tell(spans)
        if self._telemetry is not None:
            self._tell_record(record_of(told, at, content=self._telemetry.content))
        if self._timer is None and event.kind is EventKind.TURN_ENDED:
            self._timer = asyncio.get_running_loop().call_later(USAGE_AFTER + _A_LITTLE, self._settle)

    def _tell_record(self, record: Record) -> None:
        if self._sending is None:
            self._early.append(record)
        else:
            self._sending.records((record,))

    def outcomes(self) -> Family:
        """What became of what was sent, for /metrics."""
        return Family(TELEMETRY, {} if self._sending is None else self._sending.outcomes())

    async def close(self) -> None:
        """Send what is still to be sent, for a moment, and end."""
        if self._timer is not None:
            self._timer.cancel()
        self._tracing, spans = settle(self._tracing, float("inf"))
        self._tell(spans)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_MOMENT):
                if self._changing is not None:
                    await asyncio.wait([self._changing])
                if self._sending is not None:
                    await self._end(self._sending)
        for task in (self._reading, self._changing):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    def _tell(self, spans: Sequence[Span]) -> None:
        for span in spans:
            self._turns.take(span)
        if self._sending is not None:
            self._sending.spans(spans)
        elif self._telemetry is not None:
            self._early.extend(spans)

    def _settle(self) -> None:
        self._timer = None
        self._tracing, spans = settle(self._tracing, self._wall(), _AT_ONCE)
        self._tell(spans)
        due = next_due(self._tracing)
        if due is not None:
            wait = max(0.0, due - self._wall()) + (0.0 if spans else _A_LITTLE)
            # The wall clock may have been set back.
            self._timer = asyncio.get_running_loop().call_later(min(wait, USAGE_AFTER), self._settle)

    async def _change(
        self,
        before: asyncio.Task[None] | None,
        former: Sending | None,
        telemetry: Telemetry | None,
        headers: Mapping[str, str],
    ) -> None:
        """Begin to send by another declaration, and end by the one before."""
        if before is not None:
            await asyncio.wait([before])
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if telemetry is not None and telemetry is self._telemetry:
            await self._begin(telemetry, headers)
        if former is not None:
            await in_thread("telemetry end", former.close)

    async def _begin(self, telemetry: Telemetry, headers: Mapping[str, str]) -> None:
        try:
            made = await in_thread(
                "telemetry start", partial(self._make, telemetry, headers, self._resource(telemetry))
            )
        except ImportError as error:
            log.error(
                "telemetry_not_sent",
                reason=f"[otel] needs {EXTRA}: {error}",
                advice=f"{how_to_install('otel')}, and restart agentd",
            )
            self._early.clear()
            return
        except (OSError, ValueError) as error:
            log.error("telemetry_not_sent", reason=f"[otel]: {error}")
            self._early.clear()
            return
        if telemetry is not self._telemetry:
            await in_thread("telemetry end", made.close)
            return
        self._sending = made
        early, self._early = self._early, deque(maxlen=_MOST_WAITING)
        made.spans([each for each in early if isinstance(each, Span)])
        made.records([each for each in early if isinstance(each, Record)])
        if Signal.METRICS in telemetry.send:
            reading = self._read(made, telemetry.interval)
            self._reading = asyncio.get_running_loop().create_task(reading, name="telemetry metrics")

    async def _read(self, sending: Sending, interval: float) -> None:
        """Send the metrics again and again; one that hangs holds up the next."""
        while True:
            await self._read_once(sending)
            await asyncio.sleep(interval)

    async def _read_once(self, sending: Sending) -> None:
        families = [*self._turns.families()]
        if self.families is not None:
            families += await self.families()
        await in_thread("telemetry metrics", partial(sending.metrics, families, self._since, self._wall()))

    async def _end(self, sending: Sending) -> None:
        """Send the last values, then what waits."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
            await self._read_once(sending)
        await in_thread("telemetry end", sending.close)

    def _resource(self, telemetry: Telemetry) -> Mapping[str, str]:
        return {
            "host.name": socket.gethostname(),
            "service.instance.id": self._instance,
            **dict(telemetry.attributes),
            "service.name": telemetry.service_name,
            "service.version": __version__,
        }


def _headers(telemetry: Telemetry, secrets: Mapping[str, str]) -> Mapping[str, str] | None:
    """The headers, or ``None`` where a secret is missing or cannot be one: nothing is sent without."""
    headers = {}
    for name, secret in telemetry.headers:
        value = secrets.get(secret)
        if value is None:
            # The configuration's warnings say so.
            return None
        if not value.isascii() or not value.isprintable() or value != value.strip():
            log.error("telemetry_not_sent", reason=f"the secret {quote(secret)} cannot be the value of a header")
            return None
        headers[name] = value
    return headers
