"""One test at a time works on this machine's users, or covers their files by others."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.memory_disk import temporary_folder


@contextmanager
def alone_with_users() -> Iterator[None]:
    """Wait for the other tests that need this, and keep them waiting.

    ``useradd`` renames a new ``/etc/passwd`` into place, and the kernel then takes away what other mount namespaces
    have mounted there: a guest would see this machine's users again.
    """
    with (temporary_folder() / "agentd-users.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
