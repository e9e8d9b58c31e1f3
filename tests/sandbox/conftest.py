"""A daemon whose agents may be sandboxed: as root, those run as another user, for whom Python is there."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

AGENT_USER = "daemon"
"""A user that every system has, and nobody logs in as."""
PYTHON = "/usr/bin/python3"


RUNSC = Path(os.environ.get("AGENTD_TEST_RUNSC") or Path(__file__).parents[2] / ".cache/runsc/usr/bin/runsc").absolute()
"""Where ``fetch-runsc`` puts it."""

KINDS = pytest.mark.parametrize("kind", ["bubblewrap", pytest.param("gvisor", marks=pytest.mark.gvisor)])
"""What sandboxes are made with."""


class Sandboxed:
    """The daemon, and how it is started."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.flags: tuple[str, ...] = ()
        self.user: pwd.struct_passwd | None = None
        if os.geteuid() != 0:
            return
        self.user = pwd.getpwnam(AGENT_USER)
        self.flags = (f"--agent-user={AGENT_USER}", "--admin-group=adm")
        folder = daemon.runtime / "tmux"
        folder.mkdir(mode=0o750)
        daemon.tmux_socket = folder / "tmux.sock"
        for path in (folder, daemon.workdir):
            self.give(path)

    def give(self, path: Path) -> Path:
        """Make a path the agents' user's."""
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        return path

    def start(self, text: str, *flags: str, path: str | None = None) -> None:
        """Declare agents and start; `path` is found before the PATH."""
        self.daemon.write_jcard(text)
        before = {} if path is None else {"PATH": f"{path}:{os.environ['PATH']}"}
        self.daemon.start(*self.flags, *flags, env={"LANG": "C.UTF-8", **before})


@pytest.fixture
def sandboxed(request: pytest.FixtureRequest, daemon: Daemon) -> Sandboxed:
    """A daemon that is not started yet."""
    if shutil.which("bwrap") is None:
        pytest.skip("there is no sandbox without bubblewrap")
    if not Path(PYTHON).exists():
        pytest.skip(f"no user but root may execute Python: there is no {PYTHON}")
    made = Sandboxed(daemon)
    if request.node.get_closest_marker("gvisor") is not None:
        if not RUNSC.exists():
            pytest.skip("there is no runsc; run tests/sandbox/fetch-runsc")
        made.flags += (f"--runsc-path={RUNSC}",)
    return made
