from __future__ import annotations

from typing import cast

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
