"""Check files and folders: the jcard, secrets, sockets, state, workdirs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from agentd.cli.agentctl.doctor.finding import Finding, error, note, ok, unanswered, warning
from agentd.files.answering import NotAnsweringError, within
from agentd.files.permissions import closed_folder, group_name, user_name
from agentd.jcard.problems import Problem
from agentd.jcard.secrets import Secrets, read_secret, secret_paths, secrets_of, secrets_unlisted
from agentd.model.spec import AgentSpec
from agentd.model.user import AgentUser
from agentd.text.quoting import some

_LITTLE_SPACE = 256 * 1024 * 1024
_NO_SPACE = 16 * 1024 * 1024
RESTORED = "wait: agentd makes it again at its next resync (--interval); if not, its log says why, as own_path_lost"
"""Advice where a path of a running agentd is gone: nothing that could stop a run or start it twice."""

_OTHERS = 0o007
_GROUP = 0o070


def check_jcard(path: Path, agents: int, errors: Sequence[Problem], warnings: Sequence[Problem]) -> Iterator[Finding]:
    """Report what ``agentctl validate`` would."""
    for problem in errors:
        yield error("jcard", str(problem), "correct it, and check it with agentctl validate")
    for problem in warnings:
        yield warning("jcard", str(problem), "correct it, and check it with agentctl validate")
    if not errors:
        yield ok("jcard", f"{path}: {agents} {'agent' if agents == 1 else 'agents'}")


def secrets_in(folder: Path) -> Secrets:
    """Read the secrets; any of them may be on a dead mount."""
    try:
        paths = within(folder, lambda: secret_paths(folder))
    except NotAnsweringError as failure:
        return secrets_unlisted(folder, failure, None)
    if isinstance(paths, Secrets):
        return paths
    return secrets_of({path: _secret(path) for path in paths})


def _secret(path: Path) -> str | OSError | None:
    try:
        return within(path, lambda: read_secret(path))
    except NotAnsweringError as failure:
        return failure


def answering_entries(search: str) -> tuple[str, list[Finding]]:
    """Split a PATH into the entries that answer, and findings about the others."""
    kept, findings = [], []
    for entry in search.split(":"):
        failure = _unanswered(Path(entry)) if entry.startswith("/") else None
        if failure is None:
            kept.append(entry)
        else:
            findings.append(unanswered("path", failure))
    return ":".join(kept), findings


def check_folders(agents: Sequence[AgentSpec]) -> Iterator[Finding]:
    """Check that workdirs and repositories answer; other problems with them are errors of their agents."""
    folders: dict[Path, list[str]] = {}
    for agent in agents:
        if agent.enabled:
            for folder in (agent.workdir, *([] if agent.checkout is None else [agent.checkout.repo])):
                folders.setdefault(folder, []).append(agent.name)
    for folder, names in folders.items():
        failure = _unanswered(folder)
        if failure is not None:
            text = f"{some(names)}: {folder} cannot be read: {failure.strerror}"
            yield error("workdir", text, "mount it again, or unmount it")


def _unanswered(path: Path) -> NotAnsweringError | None:
    try:
        within(path, lambda: os.path.lexists(path))
    except NotAnsweringError as failure:
        return failure
    return None


def check_secrets(folder: Path, secrets: Secrets) -> Iterator[Finding]:
    """Check that nobody else can read the secrets."""
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        yield note("secrets", f"{folder} does not exist: no secrets", f"to add some: mkdir -m 700 {folder}")
        return
    except OSError as failure:
        yield error("secrets", f"{folder}: {failure.strerror}", "replace it with a folder that agentd may read")
        return
    open_to_all = _open_files(folder, _OTHERS) if mode & 0o001 else []
    if open_to_all:
        yield warning(
            "secrets", f"everybody on this machine can read {some(open_to_all)} in {folder}", f"chmod 700 {folder}"
        )
    elif mode & (_OTHERS | _GROUP):
        yield note(
            "secrets", f"{folder} has mode {_octal(mode)}; its files are closed to others", f"chmod 700 {folder}"
        )
    else:
        yield ok("secrets", f"{folder}: {len(secrets.values)} secrets, mode {_octal(mode)}")
    for text in secrets.warnings:
        yield warning("secrets", text, "correct or remove that file")


def _open_files(folder: Path, bits: int) -> list[str]:
    try:
        return [path.name for path in sorted(folder.iterdir()) if _unanswered(path) is None and _is_open(path, bits)]
    except OSError:
        return []


def _is_open(path: Path, bits: int) -> bool:
    return path.is_file() and bool(path.stat().st_mode & bits)


def check_socket(topic: str, path: Path, wanted: int) -> Iterator[Finding]:
    """Check that a running daemon's socket has its owner and the mode `wanted`."""
    try:
        found = path.stat()
    except FileNotFoundError:
        yield error(topic, f"{path} does not exist although agentd runs", RESTORED)
        return
    except OSError as failure:
        yield error(topic, f"{path}: {failure.strerror}", "ask whoever runs agentd to add you to its admin group")
        return
    mode = stat.S_IMODE(found.st_mode)
    text = f"{path}: mode {_octal(mode)}, owner {user_name(found.st_uid)}, group {group_name(found.st_gid)}"
    if mode & _OTHERS:
        yield warning(topic, f"{text}; everyone may use it", f"chmod {_octal(wanted)} {path}")
    elif mode != wanted:
        yield note(topic, f"{text}; agentd creates it with {_octal(wanted)}", f"chmod {_octal(wanted)} {path}")
    else:
        yield ok(topic, text)


def check_space(topic: str, folder: Path) -> Iterator[Finding]:
    """Check that a folder is writable and has space left."""
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(existing, os.W_OK):
        verb = "is not writable" if existing == folder else f"cannot be created in {existing}"
        yield warning(
            topic, f"{folder} {verb} by this user", f"chown it to the user who runs agentd: chown … {existing}"
        )
        return
    found = os.statvfs(existing)
    free = found.f_bavail * found.f_frsize
    text = f"{folder}: {free // (1024 * 1024)} MiB free"
    if free < _LITTLE_SPACE:
        yield (error if free < _NO_SPACE else warning)(topic, text, "free some space on that file system")
    else:
        yield ok(topic, text)


def check_ways(user: AgentUser, tmux_folder: Path, state: Path) -> Iterator[Finding]:
    """Check that agents of another user can reach what they have to create and write."""
    if not user.switch:
        return
    # agentd itself lets the user through the state directory.
    for topic, folder, option in (("user", tmux_folder, "--tmux-socket"), ("state", state.parent, "--state-dir")):
        try:
            closed = closed_folder(folder, user)
        except OSError:
            # agentd creates it.
            continue
        if closed is not None:
            yield error(
                topic,
                f"user {user.name} may not enter {closed}, on the way to {folder}",
                f"chmod o+x {closed}, or name another path with {option}",
            )


def _octal(mode: int) -> str:
    return f"{stat.S_IMODE(mode):04o}"
