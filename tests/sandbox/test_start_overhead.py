"""What a sandbox costs at the start of a run, beside native runs on the same machine at the same time."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.sandbox.conftest import Sandboxed
from tests.support.agents import jcard

RUNS = 12
MOST = 0.025
"""Seconds."""
LIMITS = {"memory": "2GiB", "pid_limit": 512}
"""Of both, since to hold an agent to limits takes time of its own."""


@pytest.mark.crowd
def test_a_sandbox_is_made_in_25_ms(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    took: dict[str, list[float]] = {"native": [], "sandboxed": []}
    command = ["sh", "-c", "date +%s%N >$AGENTD_AGENT.part; mv $AGENTD_AGENT.part $AGENTD_AGENT; exec sleep 600"]
    runs = Path(f"{daemon.tmux_socket}.runs")
    for number in range(RUNS):
        for kind, seconds in took.items():
            begun = daemon.workdir / kind
            begun.unlink(missing_ok=True)
            agent = {"name": kind, "type": kind, "command": command, "workdir": "work", "env": {"N": str(number)}}
            text = jcard({**agent, **LIMITS})
            if daemon.running:
                daemon.write_jcard(text)
            else:
                sandboxed.start(text)
            daemon.wait_for(begun.exists, what="the agent has begun")
            # The launcher writes it just before it executes the agent, or what makes its sandbox.
            [launched] = [path for path in runs.glob("*.pid") if path.stat().st_size]
            seconds.append(int(begun.read_text()) / 1e9 - launched.stat().st_mtime_ns / 1e9)
            daemon.write_jcard(jcard())
            daemon.wait_gone(kind)
    native, inside = (statistics.median(seconds) for seconds in took.values())
    figures = f"median of {RUNS}: {native * 1000:.1f} ms native, {inside * 1000:.1f} ms in a sandbox"
    # A busy machine takes longer for both.
    assert inside - native < max(MOST, 2 * native), figures
