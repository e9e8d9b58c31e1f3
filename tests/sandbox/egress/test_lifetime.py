"""How long the proxy lasts: over the end of agentd, over its own, and not over that of the runs."""

from __future__ import annotations

import os
import signal

import pytest

from tests.sandbox.egress.conftest import Guests, proxies
from tests.sandbox.egress.servers import Server
from tests.sandbox.egress.test_secrets import SECOND, VALUE, grant, sent
from tests.support.agents import jcard


@pytest.mark.thorough
def test_it_outlives_agentd_and_ends_with_the_runs(guests: Guests, server: Server) -> None:
    daemon = guests.daemon
    daemon.write_secret("GITHUB_TOKEN", VALUE)
    guests.start(
        jcard(guests.table("a", secrets=[grant(server.port)]), guests.table("b", secrets=[grant(server.port)]))
    )
    get = f'curl -sS -H "x-api-key: $GITHUB_TOKEN" https://localhost:{server.port}/'
    for name in ("a", "b"):
        guests.do(get, name)
        assert sent(server)["x-api-key"] == VALUE
    pids, agents = proxies(daemon), {name: agent["pid"] for name, agent in daemon.agents().items()}
    daemon.kill()
    assert guests.do(get, "a").startswith("{"), "the agent has its network without agentd"
    assert len(server.seen) == 3
    assert sent(server)["x-api-key"] == VALUE
    daemon.write_secret("GITHUB_TOKEN", SECOND)
    daemon.start(*guests.sandboxed.flags, env={"SSL_CERT_FILE": str(guests.trusted)})
    daemon.wait_for(
        lambda: guests.do(get, "b") and sent(server)["x-api-key"] == SECOND, what="the next agentd says the new value"
    )
    assert {name: agent["pid"] for name, agent in daemon.agents().items()} == agents
    assert proxies(daemon) == pids
    # Killed, it is started again, for the agents that run.
    os.kill(min(pids), signal.SIGKILL)
    daemon.wait_for(lambda: guests.do(get, "b").startswith("{"), what="there is a proxy again")
    assert sent(server)["x-api-key"] == SECOND
    assert not set(proxies(daemon)) & set(pids)
    daemon.write_jcard(jcard(guests.table("a", secrets=[grant(server.port)])))
    daemon.wait_gone("b")
    assert proxies(daemon)
    kept = daemon.state / "egress"
    daemon.wait_for(lambda: len([*kept.glob("*.json")]) == 1, what="what was kept for the run is removed")
    daemon.write_jcard(jcard())
    daemon.wait_for(lambda: not proxies(daemon), what="without a run there is no proxy")
    assert not [*kept.glob("*.json")]
    daemon.write_jcard(jcard(guests.table("c", secrets=[grant(server.port)])))
    assert guests.do(get, "c").startswith("{"), "there is a proxy again"


def test_without_agentd_it_ends_with_the_last_run(guests: Guests, server: Server) -> None:
    daemon = guests.daemon
    guests.start(jcard(guests.table(network_allow=[f"localhost:{server.port}"])))
    guests.do("true")
    assert proxies(daemon)
    daemon.kill()
    daemon.tmux("kill-server")
    daemon.wait_for(lambda: not proxies(daemon), what="the proxy has ended")


def test_a_launch_fails_if_there_can_be_no_proxy(guests: Guests, server: Server) -> None:
    daemon = guests.daemon
    daemon.state.mkdir()
    (daemon.state / "egress").write_text("in the way")
    guests.start(jcard(guests.table(network_allow=[f"localhost:{server.port}"])))
    error = daemon.wait_state("a", "failed", "backoff")["error"]
    assert error is not None
    assert f"cannot be started in {daemon.state}/egress" in error
