"""A sandboxed agent finds packages of nixpkgs on its PATH, by a scripted Nix and by a real one with a small nixpkgs."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from agentd.sandbox.packages import Packages
from agentd.sandbox.support import SandboxError
from agentd.settings.context import resolve_agent_user
from tests.cli.support import Client
from tests.sandbox.conftest import AGENT_USER, Sandboxed
from tests.support.agents import jcard
from tests.support.processes import command_lines

PROGRAM = "#!/bin/sh\necho from Nix\n"
NIX = """#!/bin/sh
echo "$@" >>{folder}/calls
case $* in
  *nixpkgs#nope*) echo "warning: slow" >&2; echo "error: flake 'nixpkgs' does not provide 'nope'" >&2; exit 1;;
  *nixpkgs#slow*) exec sleep 6300;;
esac
echo '[{{"drvPath":"/x.drv","outputs":{{"out":"{folder}/out","man":"{folder}/man"}}}}]'
"""


def script(path: Path, text: str) -> Path:
    """Make a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def scripted(sandboxed: Sandboxed) -> Path:
    """Put a stand-in for Nix on agentd's PATH; give where it says what it was asked."""
    folder = sandboxed.daemon.folder / "nix"
    folder.mkdir()
    sandboxed.give(folder)
    script(folder / "out/bin/hello-extra", PROGRAM)
    (folder / "man").mkdir()
    script(sandboxed.daemon.bin / "nix", NIX.format(folder=folder))
    data = sandboxed.daemon.data
    data.mkdir(mode=0o755)
    sandboxed.give(data)
    return folder / "calls"


def agent(name: str, *packages: str, command: str = "hello-extra >$AGENTD_AGENT; exec sleep 600") -> dict[str, object]:
    """An agent that wants packages."""
    fields = {"name": name, "type": "sandboxed", "workdir": "work", "extra_packages": [*packages]}
    return {**fields, "command": ["sh", "-c", command]}


def wait_said(sandboxed: Sandboxed, name: str) -> None:
    """Wait until the program of the package has run."""
    said = sandboxed.daemon.workdir / name
    sandboxed.daemon.wait_for(
        lambda: said.exists() and said.read_text() == "from Nix\n", 30, what="the program has run"
    )


def test_packages_are_on_the_path_and_asked_for_once(sandboxed: Sandboxed) -> None:
    calls, daemon = scripted(sandboxed), sandboxed.daemon
    sandboxed.start(jcard(agent("a", "hello-extra", "sub.tool"), agent("b", "hello-extra", "sub.tool")))
    for name in ("a", "b"):
        wait_said(sandboxed, name)
    [call] = calls.read_text().splitlines()
    assert call.endswith("nixpkgs#hello-extra nixpkgs#sub.tool")
    assert f"--out-link {daemon.data}/packages/" in call


def test_a_program_of_a_package_is_an_agents_own_program(sandboxed: Sandboxed) -> None:
    scripted(sandboxed)
    sandboxed.start(jcard({**agent("a", "hello-extra"), "command": ["hello-extra"]}))
    assert sandboxed.daemon.wait_state("a", "exited", "failed")["exit_code"] == 0
    sandboxed.daemon.wait_for(
        lambda: "from Nix" in sandboxed.daemon.screen("a", history=True), what="tmux shows what it said"
    )


@pytest.mark.thorough
def test_a_command_in_its_sandbox_finds_them_too(sandboxed: Sandboxed) -> None:
    scripted(sandboxed)
    daemon = sandboxed.daemon
    sandboxed.start(jcard(agent("a", "hello-extra")))
    wait_said(sandboxed, "a")
    client = Client(daemon.folder, daemon.places)
    done = client("sandbox", "a", "--", "hello-extra")
    assert (done.status, done.out) == (0, "from Nix\n"), done.err


def test_what_nix_does_not_have_is_that_agents_failure(sandboxed: Sandboxed) -> None:
    calls, daemon = scripted(sandboxed), sandboxed.daemon
    sandboxed.start(jcard(agent("a", "nope"), agent("b")), "--interval=100ms")
    failed = daemon.wait_state("a", "failed", "backoff")["error"]
    assert failed == "extra_packages: Nix cannot provide nope: flake 'nixpkgs' does not provide 'nope'"
    daemon.wait_state("b", "running")
    # A later resync does not ask again at once.
    daemon.write_jcard(jcard(agent("a", "nope"), agent("b"), agent("c", command="exec sleep 600")))
    daemon.wait_state("c", "running")
    assert len(calls.read_text().splitlines()) == 1


def test_nix_is_ended_with_the_launch_that_waits_for_it(sandboxed: Sandboxed) -> None:
    calls, daemon = scripted(sandboxed), sandboxed.daemon

    def runs() -> bool:
        return any(line.split(b"\0")[:2] == [b"sleep", b"6300"] for line in command_lines())

    sandboxed.start(jcard(agent("a", "slow")))
    daemon.wait_for(lambda: calls.exists() and runs(), what="Nix works")
    daemon.write_jcard(jcard())
    daemon.wait_gone("a")
    daemon.wait_for(lambda: not runs(), what="Nix was ended")


def test_without_nix_it_is_said_what_is_missing(tmp_path: Path) -> None:
    user = resolve_agent_user(AGENT_USER if os.geteuid() == 0 else None, os.environ)[0]
    packages = Packages(user, {"PATH": str(tmp_path)}, tmp_path)
    with pytest.raises(SandboxError, match=f"need Nix, and there is no nix on agentd's PATH \\({tmp_path}\\)"):
        asyncio.run(packages.get(("ripgrep",)))
    assert asyncio.run(packages.get(())) == ()


FLAKE = """{
  outputs = _: {
    legacyPackages.%s.sub.hello-extra = derivation {
      name = "hello-extra-1.0"; system = "builtin"; builder = "builtin:unpack-channel";
      channelName = "bin"; src = ./programs.tar;
    };
  };
}
"""
WRAPPER = """#!/bin/sh
{nix} --option flake-registry {folder}/registry.json --option substitute false --store {folder}/store "$@" |
  sed 's|"/nix/store|"{folder}/store/nix/store|g'
"""


@pytest.mark.skipif(shutil.which("nix") is None, reason="nix is not installed (nix-bin)")
def test_a_real_nix_builds_it_as_the_agents_user(sandboxed: Sandboxed) -> None:
    """With a nixpkgs of one package, whose builder is Nix itself, in a store of its own."""
    daemon = sandboxed.daemon
    folder = daemon.folder / "nix"
    flake = folder / "nixpkgs"
    flake.mkdir(parents=True)
    sandboxed.give(folder)
    (flake / "flake.nix").write_text(FLAKE % f"{os.uname().machine}-linux")
    with tarfile.open(flake / "programs.tar", "w") as archive:
        entry = tarfile.TarInfo("programs/hello-extra")
        entry.size, entry.mode = len(PROGRAM), 0o755
        archive.addfile(entry, io.BytesIO(PROGRAM.encode()))
    registry = {"from": {"type": "indirect", "id": "nixpkgs"}, "to": {"type": "path", "path": str(flake)}}
    (folder / "registry.json").write_text(json.dumps({"flakes": [registry], "version": 2}))
    script(daemon.bin / "nix", WRAPPER.format(nix=shutil.which("nix"), folder=folder))
    daemon.data.mkdir(mode=0o755)
    sandboxed.give(daemon.data)
    sandboxed.start(jcard(agent("a", "sub.hello-extra")))
    wait_said(sandboxed, "a")
    [link] = [path for path in (daemon.data / "packages").iterdir() if path.is_symlink()]
    assert str(link.readlink()).startswith("/nix/store/")
