"""What the daemon logs to stderr."""

from __future__ import annotations

import json
import os

from tests.daemon.support import running, script, start, stay
from tests.support.daemon import Daemon


def events(daemon: Daemon) -> list[dict[str, object]]:
    return [json.loads(line) for line in daemon.log_text().splitlines()]


def test_without_a_terminal_every_line_is_a_json_event(daemon: Daemon) -> None:
    start(daemon, script("a", "echo marked-words; exit 3"), stay("b"))
    daemon.wait_state("a", "failed")
    running(daemon, "b")
    assert daemon.stop() == 0
    assert all({"event", "level", "timestamp"} <= set(event) for event in events(daemon))
    assert any(event.get("agent") == "a" and event.get("exit_code") == 3 for event in events(daemon))
    # Neither argv nor screens without --debug.
    assert "marked-words" not in daemon.log_text()


def test_the_console_format_is_for_people(daemon: Daemon) -> None:
    start(daemon, stay("a"), flags=["--log-format=console"])
    running(daemon, "a")
    assert not [line for line in daemon.log_text().splitlines() if line.startswith("{")]
    assert "started" in daemon.log_text()
    assert "\x1b[" not in daemon.log_text()


def test_a_debug_log_shows_what_was_launched_and_the_last_screen(daemon: Daemon) -> None:
    prints = script("a", "echo last words; exit 3", env={"NAME_ONLY": "not-the-value"}, workdir="work")
    start(daemon, prints, flags=["--debug"])
    daemon.wait_state("a", "failed")
    daemon.wait_for(lambda: "last words" in str([event.get("screen") for event in events(daemon)]))
    (launch,) = [event for event in events(daemon) if "argv" in event]
    assert launch["argv"] == prints["command"]
    assert launch["workdir"] == os.path.realpath(daemon.workdir)
    assert isinstance(launch["environment"], list)
    assert "NAME_ONLY" in launch["environment"]
    assert "not-the-value" not in daemon.log_text()
