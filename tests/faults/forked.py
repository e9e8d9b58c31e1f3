"""agentd as a fork of the fault runs' own process: started in 50 ms instead of 500, with its fault points wrapped."""

from __future__ import annotations

import os
import pwd
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agentd.daemon import command_line as entry
from agentd.daemon import run as _imported_before_the_fork  # noqa: F401
from tests.faults.ending import SIGNALS
from tests.faults.points import Trigger
from tests.support.daemon import Daemon, Running
from tests.support.fork_server import highest_descriptor
from tests.support.waiting import WaitError, wait_for


class ForkedProcess:
    """A child process, with the part of ``subprocess.Popen`` that `Daemon` uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Exit status, negative for a signal; ``None`` while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for the end."""
        try:
            wait_for(lambda: self.poll() is not None, timeout)
        except WaitError:
            raise subprocess.TimeoutExpired("agentd", timeout) from None
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL it."""
        self.send_signal(signal.SIGKILL)


class ForkedDaemon(Daemon):
    """An agentd that a fault run starts, kills at a point, and starts again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.trigger = Trigger()
        self.before_start: Callable[[], None] = lambda: None
        """Called in the new process before it becomes agentd."""
        # Not the user "agent", where there is one: agents write their marks as the fault runs' user.
        self.flags: tuple[str, ...] = (f"--agent-user={pwd.getpwuid(os.geteuid()).pw_name}",)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, ready: bool = True) -> None:
        """Start agentd, and wait until its API answers unless ``ready`` is false."""
        assert not self.running, "agentd runs already"
        self._arguments, self._env = (*self.flags, *arguments), env or {}
        self.stopped_cleanly = False
        self.process = self.fork()
        if ready:
            self.wait_for(self._answers, 30, what="agentd's API answers")

    def fork(self) -> Running:
        """Start one, whatever runs already."""
        argv = self.command(*self._arguments)[1:]
        return self.fork_program(entry.main, argv, self.environment(**self._env), self.trigger, self.log)

    def fork_program(
        self,
        main: Callable[[Sequence[str]], int],
        argv: Sequence[str],
        environment: Mapping[str, str],
        trigger: Trigger,
        output: Path,
    ) -> ForkedProcess:
        """Start agentd, or another program of its, with its fault points wrapped."""
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                self._become(environment, output)
                trigger.install()
                status = main(argv)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            except BaseException:  # noqa: BLE001 (a child must not return into the fault runs)
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        return ForkedProcess(pid)

    def _become(self, environment: Mapping[str, str], output: Path) -> None:
        os.setsid()
        log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        # All: a file that fills a disk would go on filling it, open in an agentd that knows nothing of it.
        os.closerange(3, highest_descriptor() + 1)
        os.chdir(self.folder)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(environment)
        random.seed()
        self.before_start()
