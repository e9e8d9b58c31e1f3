"""What is done on an agent's host, by ssh."""

from __future__ import annotations

import os
import shlex
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from agentd.cli.agentctl.command import CommandError
from agentd.pool.output_folder import OutputFolder, new_folder
from agentd.text.quoting import printable, quote

SSH_VARIABLE: Final = "AGENTD_FLEET_SSH"
"""The command that the address of a host, and what is to be run there, are added to."""

AGENTCTL_VARIABLE: Final = "AGENTD_FLEET_AGENTCTL"
"""The command that is agentctl there."""

_COLLECT: Final = (
    "at=$(mktemp -d) && trap 'rm -rf \"$at\"' EXIT && "
    '{agentctl} collect {name} --lines {lines} --output "$at/work" >/dev/null && tar -C "$at/work" -cf - .'
)


def attach_argv(address: str, agent: str, environ: Mapping[str, str]) -> list[str]:
    """Give the command line that opens an agent's terminal on its host."""
    return [*_ssh(environ, "-t"), _host(address), f"{_agentctl(environ)} attach {shlex.quote(agent)}"]


def collect_from(address: str, agent: str, lines: int, destination: Path, environ: Mapping[str, str]) -> None:
    """Have the host collect an agent's work, and bring it here.

    Raises
    ------
    CommandError
        If that fails there.
    OutputError
        If it cannot be written here.
    """
    script = _COLLECT.format(agentctl=_agentctl(environ), name=shlex.quote(agent), lines=lines)
    argv = [*_ssh(environ), _host(address), f"sh -c {shlex.quote(script)}"]
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    except OSError as error:
        raise CommandError(
            f"{argv[0]}: {error.strerror}; set {SSH_VARIABLE} to the command that reaches hosts"
        ) from None
    with process, new_folder(destination) as folder:
        assert process.stdout is not None
        try:
            _unpack(process.stdout, folder)
        except tarfile.TarError as error:
            if process.wait() == 0:
                raise CommandError(f"what {printable(address)} sent is no archive: {error}") from None
        if process.wait() != 0:
            raise CommandError(
                f"collecting on {printable(address)} failed with status {process.returncode}; its error is above"
            )


def _unpack(stream: IO[bytes], folder: OutputFolder) -> None:
    """Write an archive's files and links; nothing outside the folder, and nothing over another."""
    links: list[tuple[str, str]] = []
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            path = member.name.removeprefix("./")
            if path.startswith("/") or ".." in path.split("/"):
                raise CommandError(f"the archive names {quote(path)}, which is outside of it")
            if member.issym():
                links.append((path, member.linkname))
            elif member.isreg() and (data := archive.extractfile(member)) is not None:
                with folder.new_file(path, executable=bool(member.mode & 0o100)) as file:
                    while block := data.read(1 << 20):
                        file.write(block)
    for path, target in links:
        folder.new_link(path, os.fsencode(target))


def _ssh(environ: Mapping[str, str], *options: str) -> Sequence[str]:
    given = environ.get(SSH_VARIABLE)
    if given is None:
        return ("ssh", *options)
    words = shlex.split(given)
    if not words:
        raise CommandError(f"{SSH_VARIABLE} is empty: expected the command that reaches hosts, such as ssh")
    return words


def _agentctl(environ: Mapping[str, str]) -> str:
    return environ.get(AGENTCTL_VARIABLE) or "agentctl"


def _host(address: str) -> str:
    if address.startswith("-"):
        raise CommandError(f"the host has the address {quote(address)}, which ssh would take for an option")
    return address
