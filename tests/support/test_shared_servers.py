from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import program
from tests.support.forked import ForkServer

pytestmark = pytest.mark.thorough  # of what the tests stand on, which every other shows too


def version_by(server: ForkServer, folder: Path) -> str:
    with (folder / "out").open("w+b") as out, Path(os.devnull).open("rb") as nothing:
        argv = [program("agentctl"), "--version"]
        run = server.start(argv, env=dict(os.environ), cwd=folder, stdin=nothing, stdout=out, stderr=out)
        assert run.wait(30) == 0
    return (folder / "out").read_text()


def test_a_shared_server_serves_all_that_connect_until_its_owner_ends_it(short_folder: Path) -> None:
    owner, first, second = (ForkServer("agentctl") for _ in range(3))
    owner.share(short_folder)
    for each in (first, second):
        each.use_shared(short_folder)
    assert version_by(first, short_folder) == version_by(second, short_folder)
    first.close()
    assert version_by(second, short_folder).startswith("agentctl ")
    owner.close()
    second.close()


def test_a_shared_server_that_nobody_needs_imports_nothing(short_folder: Path) -> None:
    owner = ForkServer("agentctl")
    owner.share(short_folder)
    before = os.times().children_user
    owner.close()
    spent = os.times().children_user - before
    # What it would have imported takes a second; its own start a twentieth of it.
    once = os.times().children_user
    subprocess.run([sys.executable, "-c", "import agentd.cli.agentctl.commands.turns, aiohttp, pydantic"], check=True)
    assert spent < (os.times().children_user - once) / 2
