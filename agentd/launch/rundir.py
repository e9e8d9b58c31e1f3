"""The runtime directory: launch scripts, records of runs, launchers' reports, and the FIFO that announces these.

It belongs to the agent user, mode 0700, on tmpfs by default, since launch scripts hold secrets until they have been
read. The agent user may put anything there: see `agentd.launch.owned_folder`.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from agentd.files.locks import stands_at
from agentd.harness.additions import COPY
from agentd.launch.exit_report import ExitReport
from agentd.launch.hints import HintPipe
from agentd.launch.hooks_folder import HOOKS_SUFFIX, HooksFolder
from agentd.launch.launcher import (
    GO_SUFFIX,
    HINTS,
    LAUNCH_FAILED,
    SANDBOX_INPUT,
    SANDBOX_SUFFIX,
    LaunchScript,
    render,
)
from agentd.launch.owned_folder import OwnedFolder, RuntimeDirectoryError
from agentd.launch.pipes import NETWORK_SUFFIX, READY_SUFFIX, TRUSTED_SUFFIX
from agentd.launch.script_path import SUFFIX, launched_run
from agentd.process.identity import ProcessIdentity, started_by
from agentd.process.proc import PROC, read_bytes

log = structlog.get_logger(__name__)

CLOSING = "closing"
_PID, _EXIT, _RECORD = ".pid", ".exit", ".record"
_NEW_RECORD = ".record-new"
_GO = os.fsdecode(GO_SUFFIX)
_OF_SANDBOX = (os.fsdecode(SANDBOX_SUFFIX), os.fsdecode(SANDBOX_INPUT), TRUSTED_SUFFIX, NETWORK_SUFFIX, READY_SUFFIX)
_MEMO, _FILE, _SOCKET, _PASTE = ".turns", ".turns-file", ".turns-socket", ".turns-paste"
_SUFFIXES = (SUFFIX, _PID, _EXIT, _RECORD, _NEW_RECORD, _GO, *_OF_SANDBOX, _MEMO, _FILE, _PASTE, COPY)
_LARGEST_STATUS = 255
_ENDED = re.compile(r"([0-9]{1,3})(?: ([0-9]{1,12}\.[0-9]{1,9}))?", re.ASCII)
"""An exit status, and the first number of /proc/uptime (proc(5)) where there is one."""
_FRESH = 2_000_000_000
"""Nanoseconds after a change of a folder in which another one may bear the same time."""
_REPORT_LIMIT = 4096
"""Bytes; a report is one short line."""
_RECORD_LIMIT = 1 << 20
"""Bytes; a record is one line of some hundred, plus an error's text."""


class RuntimeDirectory:
    """The folder where launchers and agentd meet.

    Parameters
    ----------
    path
        Created with mode 0700 if missing.
    owner, group
        Numeric agent user and group.
    is_ours
        Whether a run's id is one of this agentd's: others that files are named after are not believed.
    """

    def __init__(
        self, path: Path, owner: int, group: int, is_ours: Callable[[str], bool] = lambda _run_id: True
    ) -> None:
        self.path = path
        self._owner = owner
        self._group = group
        self._is_ours = is_ours
        self._folder = OwnedFolder(path, owner, group)
        self._hints: HintPipe | None = None
        self._found: dict[str, ProcessIdentity] = {}
        """Agents' processes, by run, that were found without a report."""
        self._listed: tuple[tuple[int, int], frozenset[str]] | None = None
        """When names in the folder changed last, in nanoseconds, which folder it is, and the names there were then."""
        self._hooked: set[str] = set()
        """Runs whose socket for hooks we have bound."""
        self._memos: dict[str, str] = {}
        """How runs are watched."""
        self._watching: dict[str, tuple[Path, Path]] = {}
        """Where whoever watches a run has its file and its socket: asked for before and after its launch."""

    def prepare(self) -> None:
        """Create or check the folder, and remove the mark of a former shutdown.

        Raises
        ------
        RuntimeDirectoryError
            If it is not a folder that only the agent user can enter.
        """
        self._folder.open()
        self._folder.remove(CLOSING)
        if self._folder.exists(CLOSING):
            raise RuntimeDirectoryError(f"expected no {self.path}/{CLOSING} that cannot be removed; remove it")

    def keep(self, on_hint: Callable[[str], None]) -> list[Path]:
        """Create the folder and its FIFO again if they are gone from their paths; says which were.

        What stood in it is to be written again by those who hold it.

        Raises
        ------
        RuntimeDirectoryError
            If something else stands there; launches fail until that is gone.
        """
        made = []
        if not stands_at(self._folder.descriptor, self.path):
            self.prepare()
            made.append(self.path)
        if self._hints is None or not stands_at(self._hints.descriptor, self.path / HINTS):
            self._stop_listening()
            self.listen(on_hint)
            made.append(self.path / HINTS)
        return made

    def script_path(self, run_id: str) -> str:
        """Where the launch script of a run stands."""
        return f"{self.path}/{run_id}{SUFFIX}"

    def write_script(self, script: LaunchScript) -> str:
        """Write a launch script that only the agent user can read; return its path.

        Raises
        ------
        OSError
            If it cannot be written: disk full, folder gone.
        """
        self._folder.create(script.run_id + SUFFIX, render(script, self.path))
        if script.held:
            self._folder.create_fifo(script.run_id + _GO)
        return self.script_path(script.run_id)

    def write_trusted(self, run_id: str, content: bytes) -> None:
        """Write the authorities that a run's sandbox trusts.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        self._folder.create(run_id + TRUSTED_SUFFIX, content)

    def write_record(self, run_id: str, text: str) -> None:
        """Write a run's record for a later daemon; the former one stays until the new one is there.

        Raises
        ------
        OSError
            If it cannot be written: disk full, folder gone.
        """
        content = text.encode("utf-8", "surrogateescape") + b"\n"
        try:
            self._folder.create(run_id + _RECORD, content)
        except FileExistsError:
            self._folder.remove(run_id + _NEW_RECORD)
            self._folder.create(run_id + _NEW_RECORD, content)
            folder = self._folder.descriptor
            os.rename(run_id + _NEW_RECORD, run_id + _RECORD, src_dir_fd=folder, dst_dir_fd=folder)

    def read_record(self, run_id: str) -> str | None:
        """Read a run's record."""
        found = self._folder.read(run_id + _RECORD, _RECORD_LIMIT)
        return None if found is None else found[0]

    def watching_paths(self, run_id: str, agent: str) -> tuple[Path, Path]:
        """Where whoever watches a run has a file of the run's and a socket, the same for all runs of an agent."""
        known = self._watching.get(run_id)
        if known is None:
            known = self._watching[run_id] = self.path / (run_id + _FILE), self.path / (agent + _SOCKET)
        return known

    def write_watching(self, run_id: str, memo: str, file: bytes | None) -> None:
        """Write what whoever watches a run needs: a note for a later daemon, and perhaps a file for the program.

        Raises
        ------
        OSError
            If it cannot be written: disk full, folder gone.
        """
        self._folder.create(run_id + _MEMO, memo.encode() + b"\n")
        self._memos[run_id] = memo
        if file is not None:
            self._folder.create(run_id + _FILE, file)

    def write_hooks(self, run_id: str, file: bytes | None) -> None:
        """Make the folder that the sandbox of a run shows to its agent.

        Raises
        ------
        OSError
            If it cannot be made: disk full, folder gone.
        """
        self._hooks(run_id).write(file)

    def hooks_path(self, run_id: str) -> Path:
        """Where that folder stands."""
        return self.path / (run_id + HOOKS_SUFFIX)

    def bind_hooks(self, run_id: str) -> socket.socket | None:
        """Bind the socket for hooks in that folder; ``None`` if that was done.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        if run_id in self._hooked:
            return None
        bound = self._hooks(run_id).bind()
        self._hooked.add(run_id)
        return bound

    def _hooks(self, run_id: str) -> HooksFolder:
        return HooksFolder(self._folder.descriptor, run_id, self._owner, self._group)

    def write_paste(self, run_id: str, text: bytes) -> Path:
        """Write what tmux is to paste into a run's terminal, in place of what was left there.

        Raises
        ------
        OSError
            If it cannot be written: disk full, folder gone.
        """
        self._folder.remove(run_id + _PASTE)
        self._folder.create(run_id + _PASTE, text)
        return self.path / (run_id + _PASTE)

    def remove_paste(self, run_id: str) -> None:
        """Remove what was to be pasted."""
        self._folder.remove(run_id + _PASTE)

    def read_memo(self, run_id: str) -> str | None:
        """Give the note on how a run is watched, of one that a former daemon launched from its file."""
        known = self._memos.get(run_id)
        if known is not None:
            return known
        found = self._folder.read(run_id + _MEMO, _REPORT_LIMIT)
        if found is not None:
            self._memos[run_id] = found[0]
        return self._memos.get(run_id)

    def launched(self, command: str) -> str | None:
        """The run, if there is a record of it, whose launch script a pane's start command names."""
        run_id = launched_run(command)
        return run_id if run_id is not None and self._folder.exists(run_id + _RECORD) else None

    def file_names(self) -> frozenset[str]:
        """The names in the folder, listed where one came or went since."""
        found = os.fstat(self._folder.descriptor)
        changed = found.st_ctime_ns, found.st_ino
        if self._listed is None or self._listed[0] != changed:
            with os.scandir(self._folder.descriptor) as entries:
                names = frozenset(entry.name for entry in entries)
            # Another change may leave the time as it was for a moment.
            self._listed = None if time.time_ns() - changed[0] < _FRESH else (changed, names)
            return names
        return self._listed[1]

    def has_record(self, run_id: str) -> bool:
        """Whether there is a record of a run."""
        return self._folder.exists(run_id + _RECORD)

    def is_held(self, run_id: str) -> bool:
        """Whether a run waits to be released, or will."""
        return self._folder.exists(run_id + _GO)

    def release(self, run_id: str) -> None:
        """Have a run that waits execute its agent."""
        # Read and write, so that it opens also while nobody waits: a former daemon may have released the run, or its
        # launcher has yet to come here. That finds the line if it opens the FIFO before it is removed; later it makes a
        # file of that name, whose end it reads.
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(run_id + _GO, flags, dir_fd=self._folder.descriptor)
        except OSError as error:
            log.debug("run_not_released", run=run_id, error=error.strerror)
            self._folder.remove(run_id + _GO)
            return
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, b"\n")
            self._folder.remove(run_id + _GO)
        except OSError as error:
            log.debug("run_not_released", run=run_id, error=error.strerror)
        finally:
            os.close(descriptor)

    def report_process(self, run_id: str, process: ProcessIdentity) -> None:
        """Write the launcher's report of the agent's process again, where it was removed or replaced.

        Raises
        ------
        OSError
            If it cannot be written, for the next daemon.
        """
        if run_id in self._memos and not self._folder.exists(run_id + _MEMO):
            self._folder.create(run_id + _MEMO, self._memos[run_id].encode() + b"\n")
        if self.read_process(run_id) is not None:
            return
        self._found[run_id] = process
        line = read_bytes(f"{PROC}/{process.pid}/stat", _REPORT_LIMIT)
        if line and process.alive():
            self._folder.remove(run_id + _PID)
            self._folder.create(run_id + _PID, line)

    def lacks(self, run_id: str, present: frozenset[str]) -> tuple[bool, bool]:
        """Whether a run's record, and the report of its process, are missing from these names."""
        return run_id + _RECORD not in present, run_id + _PID not in present

    def remove_script(self, run_id: str) -> None:
        """Remove the script; sh has it open by the time the agent runs."""
        self._folder.remove(run_id + SUFFIX)

    def remove_run(self, run_id: str) -> None:
        """Remove everything of a run."""
        self._found.pop(run_id, None)
        self._memos.pop(run_id, None)
        self._watching.pop(run_id, None)
        self._hooked.discard(run_id)
        for suffix in _SUFFIXES:
            self._folder.forget(run_id + suffix)
        self._hooks(run_id).remove()

    def run_ids(self) -> set[str]:
        """Every run of ours that has a file here."""
        return {stem for stem, _ in self._run_files() if self._is_ours(stem)}

    def _run_files(self) -> list[tuple[str, str]]:
        with os.scandir(self._folder.descriptor) as entries:
            folders = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        names = [name for name, folder in folders.items() if folder == name.endswith(HOOKS_SUFFIX)]
        split = [name.rpartition(".") for name in names]
        return [
            (stem, f".{suffix}") for stem, dot, suffix in split if dot and f".{suffix}" in (*_SUFFIXES, HOOKS_SUFFIX)
        ]

    def remove_all_but(self, run_ids: set[str]) -> None:
        """Remove what runs of former daemons left, launch scripts with their secrets first of all."""
        for stem, suffix in self._run_files():
            if stem in run_ids:
                continue
            if suffix == HOOKS_SUFFIX:
                self._hooks(stem).remove()
            else:
                self._folder.remove(stem + suffix)

    def announce_closing(self) -> None:
        """Tell launchers to wait when their agent ends, not to become a shell: everything is about to be closed."""
        try:
            self._folder.create(CLOSING, b"")
        except FileExistsError:
            pass
        except OSError as error:
            # Then launchers become shells that are closed a moment later.
            log.warning("closing_not_announced", error=error.strerror)

    def remove(self) -> None:
        """Remove the folder, after the last run."""
        self.remove_all_but(set())
        sockets = [name for name in self.file_names() if _SOCKET in name]
        for name in (CLOSING, HINTS, *sockets):
            self._folder.remove(name)
        try:
            self.path.rmdir()
        except OSError as error:
            log.warning("runtime_directory_stays", path=str(self.path), error=error.strerror)

    def read_process(self, run_id: str) -> ProcessIdentity | None:
        """Which process is the agent of this run, once it exists."""
        report = self._folder.read(run_id + _PID, _REPORT_LIMIT)
        if report is None:
            return self._found.get(run_id)
        try:
            process = ProcessIdentity.parse(report[0])
        except ValueError as error:
            self._folder.complain(run_id + _PID, str(error))
            return None
        if os.geteuid() == self._owner:
            # What is not ours the kernel keeps us from signalling.
            return process
        # The agent user writes this file, and agentd will signal what it names: no later process with that pid.
        known = ProcessIdentity.of(process.pid) if process.alive() else None
        if known is None:
            return process.gone()
        process = known if process.started is None else process
        if not started_by(self._owner, process.pid):
            log.warning("launcher_report_forged", run=run_id, pid=process.pid, error="not a process of the agent user")
            return None
        return process

    def read_exit(self, run_id: str) -> ExitReport | None:
        """How the run ended, once it has."""
        report = self._folder.read(run_id + _EXIT, _REPORT_LIMIT)
        if report is None:
            return None
        line, written = report
        word, _, rest = line.partition(" ")
        if word == LAUNCH_FAILED:
            return ExitReport(None, rest, written)
        match = _ENDED.fullmatch(line)
        if match is None or int(match[1]) > _LARGEST_STATUS:
            self._folder.complain(run_id + _EXIT, f"expected an exit status, found {line[:80]!r}")
            return None
        return ExitReport(int(match[1]), None, written, None if match[2] is None else float(match[2]))

    def listen(self, on_hint: Callable[[str], None]) -> None:
        """Call back with a run's id whenever its launcher wrote a report.

        Raises
        ------
        RuntimeDirectoryError
            If the FIFO cannot be made.
        """
        try:
            self._hints = HintPipe(self._folder.descriptor, self._owner, self._group, on_hint)
        except OSError as error:
            raise RuntimeDirectoryError(f"cannot open the FIFO {self.path}/{HINTS}: {error.strerror}") from error

    def _stop_listening(self) -> None:
        if self._hints is not None:
            self._hints.close()
            self._hints = None

    def close(self) -> None:
        """Stop listening, and let go of the folder."""
        self._stop_listening()
        self._folder.close()
