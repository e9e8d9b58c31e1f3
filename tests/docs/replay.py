"""Types what docs/tutorial.md shows, as a new user would; ``python -m tests.docs.replay`` writes what is printed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HOME = "/home/ada"
_DAEMON = "agentd"


@dataclass(slots=True)
class Newcomer:
    """Somebody with an empty HOME and a terminal of 120 columns."""

    folder: Path
    daemon: subprocess.Popen[bytes] | None = None
    _daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "h"

    def environment(self) -> dict[str, str]:
        """As a user's, whoever runs this: root's defaults are elsewhere."""
        runtime, home = self.folder / "r", self.home
        programs = [str(ROOT / "examples" / "stand-in"), str(Path(sys.executable).parent), os.environ["PATH"]]
        return {
            "HOME": str(home),
            "PATH": ":".join(programs),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "NO_COLOR": "1",
            "PAGER": "cat",
            "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig"),
            "AGENTD_CONFIG": str(home / ".config/agentd/jcard.toml"),
            "AGENTD_SECRET_DIR": str(home / ".config/agentd/secrets"),
            "AGENTD_STATE_DIR": str(home / ".local/state/agentd"),
            "AGENTD_DATA_DIR": str(home / ".local/share/agentd"),
            "AGENTD_TMUX_SOCKET": str(runtime / "tmux.sock"),
            "AGENTD_API_SOCKET": str(runtime / "agentd.sock"),
        }

    def type(self, command: str) -> str:
        """Execute one command on a terminal and return what it showed; `agentd` stays in a terminal of its own."""
        if command == _DAEMON:
            self._start()
            return ""
        folder = self.home / "shop" if (self.home / "shop").exists() else self.home
        script = f"stty cols 120 rows 40; cd {folder}; {command}"
        done = subprocess.run(
            ["script", "-qefc", f"bash -c {_quoted(script)}", "/dev/null"],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.replace("\r\n", "\n").replace(str(self.home), _HOME)

    def _start(self) -> None:
        with (self.folder / "agentd.log").open("ab") as log:
            started = subprocess.Popen([_DAEMON], env=self.environment(), stdin=subprocess.DEVNULL, stderr=log)
        self._daemons.append(started)
        socket = self.folder / "r" / "agentd.sock"
        self.daemon = started
        wait_for(lambda: socket.exists() and self.type("agentctl status --json | head -1").startswith("{"), 20)

    def leave(self) -> None:
        """C-c in the daemon's terminal."""
        for daemon in self._daemons:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGINT)
            daemon.wait(30)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@contextmanager
def newcomer() -> Iterator[Newcomer]:
    """A newcomer in a folder that is gone afterwards, with all that was started."""
    folder = Path(tempfile.mkdtemp(prefix="agentd-", dir="/tmp"))
    try:
        made = Newcomer(folder)
        made.home.mkdir(mode=0o700)
        (folder / "r").mkdir(mode=0o700)
        (folder / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
        try:
            yield made
        finally:
            made.leave()
    finally:
        shutil.rmtree(folder)


def replayed(text: str, who: Newcomer) -> str:
    """The page with what its commands print now."""

    def block(match: re.Match[str]) -> str:
        shown = []
        for line in match[1].splitlines():
            if line.startswith("$ "):
                output = who.type(line[2:])
                shown += [line, *(row.rstrip() for row in output.splitlines())]
        return "```console\n" + "\n".join(shown) + "\n```"

    return _BLOCK.sub(block, text)


def alike(text: str) -> list[str]:
    """What a reader would call the same: without pids, times, hashes, and the widths that go with them."""
    text = re.sub(r"\b[0-9a-f]{40}\b|\b[0-9a-f]{7}\b", "HASH", text)
    text = re.sub(r"\b\d{8}T\d{6}\.\d+Z", "DATE", text)
    text = re.sub(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?Z?)?)?", "DATE", text)
    text = re.sub(r"\b\d+(ms|[smh])?\b", "N", text)
    return [re.sub(r"[ \t─-]+", " ", line).strip() for line in text.splitlines()]


if __name__ == "__main__":
    with newcomer() as someone:
        PAGE.write_text(replayed(PAGE.read_text(), someone))
