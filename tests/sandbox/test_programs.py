"""A sandboxed agent's program is there, wherever its user has it."""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import Sandboxed
from tests.support.agents import jcard
from tests.support.thorough import everyday


def test_a_folder_of_the_path_that_is_a_link_is_there(sandboxed: Sandboxed) -> None:
    """As a profile of Nix is."""
    daemon = sandboxed.daemon
    store = daemon.folder / "store/profile-7/bin"
    store.mkdir(parents=True)
    program = store / "tool"
    program.write_text("#!/bin/sh\ncommand -v tool >said\nexec sleep 600\n")
    program.chmod(0o755)
    (daemon.folder / "profile-7").symlink_to("store/profile-7")
    (daemon.folder / "profile").symlink_to(daemon.folder / "profile-7")
    folder = daemon.folder / "profile/bin"
    env = {"PATH": f"{folder}:{daemon.environment()['PATH']}"}
    sandboxed.start(jcard({"name": "a", "type": "sandboxed", "command": ["tool"], "workdir": "work", "env": env}))
    said = daemon.workdir / "said"
    daemon.wait_for(lambda: said.exists() and said.read_text() == f"{folder}/tool\n", what="the program runs")


@pytest.mark.parametrize("relative", everyday([True], [False, True]), ids=["absolute", "relative"])
def test_a_program_that_its_folder_has_only_a_link_to_runs_with_its_package(
    sandboxed: Sandboxed, relative: bool
) -> None:
    daemon = sandboxed.daemon
    package = daemon.folder / "lib/node_modules/tool"
    package.mkdir(parents=True)
    (package / "word").write_text("beside it\n")
    program = package / "cli.sh"
    program.write_text('#!/bin/sh\ncat "$(dirname "$(readlink -f "$0")")/word" >said\nexec sleep 600\n')
    program.chmod(0o755)
    (daemon.folder / "versions").mkdir()
    (daemon.folder / "versions/tool").symlink_to(program)
    target = "../versions/tool" if relative else daemon.folder / "versions/tool"
    (daemon.bin / "tool").symlink_to(target)
    sandboxed.start(jcard({"name": "a", "type": "sandboxed", "command": ["tool"], "workdir": "work"}))
    said = daemon.workdir / "said"
    daemon.wait_for(lambda: said.exists() and said.read_text() == "beside it\n", what="the program runs")
