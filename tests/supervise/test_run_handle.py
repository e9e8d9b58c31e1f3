from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import cast

import pytest

from agentd.process.identity import ProcessIdentity
from agentd.supervise.host import Host
from agentd.supervise.run_handle import RunHandle


async def admit(_run: str, _process: ProcessIdentity, _extra: int) -> None:
    raise AssertionError("nothing is held")


async def test_a_hint_that_comes_after_the_end_is_not_followed() -> None:
    """At agentd's end the runtime directory, where a hint leads to, is closed soon after."""
    handle = RunHandle(cast("Host", None), "run", "session", lambda *_: None, admit)
    await handle.closed()
    handle.wait_for_pane(handle.read_reports)
    assert not handle.early
    handle.read_reports()


async def test_a_launcher_that_cannot_be_looked_at_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """While agentd may open no file, /proc says nothing of a launcher: it is looked at again."""
    runtime = SimpleNamespace(read_process=lambda _: None, read_exit=lambda _: None, path="")
    reported: list[object] = []
    host = cast("Host", SimpleNamespace(runtime=runtime))
    handle = RunHandle(host, "run", "session", lambda _, report: reported.append(report), admit)
    handle.launcher = ProcessIdentity.of(os.getpid())
    watched: list[bool] = []
    monkeypatch.setattr(RunHandle, "_watch_process", lambda _: watched.append(True))

    def no_file(*_: object) -> bool:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("agentd.supervise.run_handle.inspects", no_file)
    handle.read_reports()
    assert reported == []
    assert watched == [True]
    monkeypatch.setattr("agentd.supervise.run_handle.inspects", lambda *_: True)
    handle.read_reports()
    assert len(reported) == 1
