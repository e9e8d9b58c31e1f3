"""What status and plan say of a sandbox is what is so in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.support import Client
from tests.sandbox.conftest import Sandboxed
from tests.support.agents import jcard
from tests.support.thorough import everyday


def writable_mounts(mountinfo: str, folder: Path) -> set[str]:
    """Where something in a folder can be written."""
    fields = [line.split(" ") for line in mountinfo.splitlines()]
    return {
        point for point, options in (each[4:6] for each in fields) if "rw" in options and point.startswith(f"{folder}/")
    }


@pytest.mark.parametrize("network", everyday(["none"], ["host", "none"]))
def test_what_status_shows_is_what_was_composed(sandboxed: Sandboxed, network: str) -> None:
    daemon = sandboxed.daemon
    for name in ("TOKEN", "OTHER"):
        daemon.write_secret(name, "s3cret")
    cache, notes = (daemon.folder / name for name in ("cache", "notes"))
    for path in (cache, notes):
        path.mkdir()
        sandboxed.give(path)
    script = (
        "cat /proc/self/mountinfo >mounts; cat /proc/net/dev >net; env >env; touch ~/mine; touch done; exec sleep 600"
    )
    agent = {
        "name": "a",
        "type": "sandboxed",
        "command": ["sh", "-c", script],
        "workdir": "work",
        "network": network,
        "secrets": ["TOKEN"],
        "read_only_paths": ["notes"],
        "writable_paths": ["cache"],
    }
    sandboxed.start(jcard(agent, {"name": "n", "command": ["sleep", "600"]}))
    daemon.wait_for((daemon.workdir / "done").exists, what="it has looked around")
    status = daemon.wait_state("a", "running")
    shown = status["sandbox"]
    assert shown is not None
    assert daemon.wait_state("n", "running")["sandbox"] is None
    writable = writable_mounts((daemon.workdir / "mounts").read_text(), daemon.folder) - {str(daemon.home)}
    assert writable == {str(daemon.workdir), str(cache)}
    assert shown["writable_paths"] == [str(daemon.workdir), str(cache)]
    assert shown["read_only_paths"] == [str(notes)]
    assert shown["home"] == str(daemon.data / "sandboxes/a")
    assert shown["network"] == network
    interfaces = [line.split(":")[0].strip() for line in (daemon.workdir / "net").read_text().splitlines()[2:]]
    assert (interfaces == ["lo"]) == (network == "none")
    names = {line.partition("=")[0] for line in (daemon.workdir / "env").read_text().splitlines()}
    assert shown["secrets"] == ["TOKEN"]
    assert names & {"TOKEN", "OTHER"} == {"TOKEN"}
    assert (daemon.data / "sandboxes/a/mine").exists()


def test_what_is_planned_is_what_status_shows_then(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    for name in ("TOKEN", "OTHER", "KEY"):
        daemon.write_secret(name, "s3cret")
    stay: dict[str, object] = {"type": "sandboxed", "command": ["sleep", "600"], "workdir": "work"}
    sandboxed.start(jcard({"name": "a", **stay}))
    before = daemon.wait_state("a", "running")["sandbox"]
    later = jcard(
        {"name": "a", **stay, "network": "none", "network_allow": ["example.com:443"], "env": {"OTHER": "mine"}},
        {"name": "b", **stay, "secrets": ["KEY", "MISSING"], "read_only_paths": ["/etc/hostname"]},
    )
    file = daemon.folder / "later.toml"
    file.write_text(later)
    env = {"AGENTD_API_SOCKET": str(daemon.api_socket), "AGENTD_CONFIG": str(daemon.jcard)}
    document = Client(daemon.folder, env)("plan", "--json", file).document
    assert isinstance(document, dict)
    restart, start = document["operations"]
    assert (restart["action"], restart["sandbox_before"]) == ("restart", before)
    assert "changed: env, network, network_allow" in restart["reason"]
    assert (start["action"], start["sandbox_before"]) == ("start", None)
    daemon.write_jcard(later)
    planned = {operation["agent"]: operation["sandbox"] for operation in (restart, start)}
    daemon.wait_for(
        lambda: {name: agent["sandbox"] for name, agent in daemon.agents().items()} == planned,
        what="each has the sandbox that was planned",
    )
    for name in planned:
        daemon.wait_state(name, "running")
