"""Messages to programs that tell nothing of themselves, and throw away what was typed before they were ready."""

from __future__ import annotations

import sys
from typing import cast

from tests.daemon.test_turns import post
from tests.support.agents import jcard
from tests.support.daemon import Daemon

_SLOW = """
import pathlib, termios, time
while not pathlib.Path("go").exists():
    time.sleep(0.02)
termios.tcflush(0, termios.TCIFLUSH)
print("> ", end="", flush=True)
said = input()
pathlib.Path("part").write_text(said)
pathlib.Path("part").rename("heard")
"""


def message(daemon: Daemon) -> dict[str, object]:
    status, found = post(daemon, "/v1/turns/a/messages/m", method="GET")
    assert status == 200, found
    return cast("dict[str, dict[str, object]]", found)["message"]


def test_a_message_waits_until_a_slow_program_reads_its_terminal(daemon: Daemon) -> None:
    command = [sys.executable, "-I", "-S", "-c", _SLOW]
    daemon.write_jcard(jcard({"name": "a", "command": command, "workdir": str(daemon.workdir)}))
    daemon.start()
    daemon.wait_state("a", "running")
    assert post(daemon, "/v1/turns/a/messages", {"id": "m", "text": "hello"})[0] == 202
    daemon.wait_for(lambda: message(daemon)["error"] == "it does not wait for input", what="the message waits for it")
    assert message(daemon)["status"] == "queued"
    (daemon.workdir / "go").touch()
    heard = daemon.workdir / "heard"
    daemon.wait_for(heard.exists, what="it has read the message")
    assert heard.read_text() == "hello"
