"""systemd's notification protocol (sd_notify(3)): readiness, stopping, and the watchdog that shows a living loop."""

from __future__ import annotations

import asyncio
import os
import socket

import structlog

log = structlog.get_logger(__name__)


class ServiceNotifier:
    """Tells the service manager, if there is one.

    Parameters
    ----------
    environ
        ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` are read from it.
    """

    def __init__(self, environ: os._Environ[str] | dict[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        interval = environ.get("WATCHDOG_USEC", "")
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_seconds = int(interval) / 1e6 if interval.isdecimal() and for_us else None

    def send(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``; silent where nobody listens."""
        if not self._address:
            return
        # A leading @ stands for the NUL of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("service_manager_not_notified", socket=self._address, error=error.strerror)

    async def feed_watchdog(self) -> None:
        """Report that the event loop turns, at half of the watchdog's interval, until cancelled."""
        while self.watchdog_seconds is not None:
            self.send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / 2)
