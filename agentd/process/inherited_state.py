"""Signal dispositions and limits, which a process inherits from the one that starts it."""

from __future__ import annotations

import contextlib
import resource
import signal

_IGNORED_BY_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""The interpreter's choice; `subprocess` undoes it in what it starts."""


def reset_signals() -> None:
    """Ignore and block no signal any more, so that what this process starts does not either.

    With SIGCHLD ignored, a child's exit status is lost, and Python takes it for 0: every question to git is answered
    with yes. A tmux server with blocked signals is deaf. SIGHUP stays ignored until the daemon handles it: it means
    "reconcile now", and at its start it is about to do so anyway.
    """
    for number in signal.valid_signals() - _IGNORED_BY_PYTHON:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # As long as it does not handle that either, which asks it to become what is installed.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def reset_child_signals() -> None:
    """Do what a program needs that only waits for children: their exit status, and no signal blocked in them.

    What else the parent ignores stays so, as for any command behind ``nohup``, or with ``&`` in a script.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def raise_file_limit() -> int | None:
    """Raise the soft limit of open files to the hard one, and give the former, which is for what this process starts.

    Each running agent costs a descriptor; the usual soft limit of 1024 exists for programs that use select().

    Returns
    -------
    int | None
        A number of files; ``None`` if nothing was changed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (hard, resource.RLIM_INFINITY):
        return None
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return soft
    return None
