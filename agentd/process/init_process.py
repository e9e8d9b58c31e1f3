"""What the first process of a container owes to the others: reaping the orphans it is given.

Agents leave orphans behind, and a container hands them to the process that was started first. If that is agentd, it
forks: the child is the daemon, and the parent does what ``tini`` or ``docker run --init`` would.
"""

from __future__ import annotations

import os
import signal

_FIRST = 1
_OWN_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP})
_SHELL_SIGNAL_BASE = 128


def become_init() -> None:
    """Return in a child if this is the first process of a PID namespace; the parent never returns.

    Call it before there are threads or an event loop. The parent hands on the signals it gets, reaps whatever ends,
    and exits with the child's status, by shell convention where a signal ended it. The kernel then ends all others.
    """
    if os.getpid() != _FIRST:
        return
    handled = signal.valid_signals() - _OWN_SIGNALS
    former = signal.pthread_sigmask(signal.SIG_BLOCK, handled | {signal.SIGCHLD})
    daemon = os.fork()
    if daemon == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
        return
    os._exit(_tend(daemon, handled | {signal.SIGCHLD}))


def _tend(daemon: int, awaited: set[int]) -> int:
    """Hand signals on and reap until the daemon has ended; its exit status."""
    while True:
        told = signal.sigwaitinfo(awaited)
        if told.si_signo == signal.SIGCHLD:
            status = _reap(daemon)
            if status is not None:
                return status
        elif told.si_code <= 0:
            # A positive code is the kernel's, as for C-c: it told the daemon as well, being in the same group.
            os.kill(daemon, told.si_signo)


def _reap(daemon: int) -> int | None:
    """Reap all that has ended; the daemon's exit status if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == daemon:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else _SHELL_SIGNAL_BASE - code
