"""What a real daemon says at /metrics, and that it costs nothing until somebody asks."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from agentd.recording.metrics.measures import METRICS, MetricType
from tests.daemon.support import counting, declare, script, start, stay
from tests.support.daemon import Daemon
from tests.support.processes import children_named

DASHBOARD = Path(__file__).parents[2] / "packaging" / "grafana-dashboard.json"

Samples = dict[str, dict[tuple[str, ...], float]]


def scrape(daemon: Daemon) -> Samples:
    """The values of each sample's labels, in order of the labels' names, by the sample's name."""
    answer = daemon.request("GET", "/metrics")
    assert answer.status == 200
    found: Samples = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_agents_and_the_daemon_are_measured(daemon: Daemon) -> None:
    start(
        daemon,
        stay("calm"),
        script("tree", "sh -c 'while :; do :; done' & sleep 600"),
        counting("fails", daemon.folder, "exit 3", restart="on-failure", max_restarts=1),
        stay("off", enabled=False),
    )
    daemon.wait_state("fails", "failed")
    for name in ("calm", "tree"):
        daemon.wait_state(name, "running")
    tree = daemon.agent("tree")
    assert tree is not None
    assert tree["pid"] is not None
    pid = tree["pid"]
    # It may still be its launcher, and the second of them a shell.
    daemon.wait_for(lambda: children_named(pid, "sleep"), what="the agent has started both")
    (loop,) = children_named(pid, "sh")
    daemon.wait_for(lambda: sum(loop.cpu_times()[:2]) > 0.2, what="the loop has used some CPU")
    found = scrape(daemon)
    assert found["agentd_agents"]["running",] == 2
    assert found["agentd_agents"]["pending",] == 0
    assert found["agentd_agents"]["unknown",] == 2
    assert found["agentd_agents"]["idle",] == 0
    assert found["agentd_agent_state"] == {
        ("calm", "running"): 1, ("fails", "failed"): 1, ("off", "disabled"): 1, ("tree", "running"): 1
    }  # fmt: skip
    assert found["agentd_agent_restarts_total"] == {("calm",): 0, ("fails",): 1, ("off",): 0, ("tree",): 0}
    assert found["agentd_agent_exits_total"] == {("fails", "3", ""): 2}
    assert found["agentd_agent_cpu_seconds_total"]["tree",] >= 0.2
    assert found["agentd_agent_cpu_seconds_total"]["calm",] < 0.2
    assert found["agentd_agent_memory_bytes"]["tree",] > found["agentd_agent_memory_bytes"]["calm",] > 0
    assert found["agentd_agent_memory_bytes"]["fails",] == 0
    assert found["agentd_launch_duration_seconds_count"][()] == 4
    assert found["agentd_reconcile_duration_seconds_count"][()] >= 1
    assert found["agentd_config_valid"][()] == 1
    assert found["agentd_reconciling"][()] == 1
    assert found["agentd_recording_ok"]["journal",] == 1
    assert found["agentd_recording_bytes"]["journal",] > 0
    assert found["agentd_events_total"]["launched",] == 4
    assert found["process_resident_memory_bytes"][()] > 1e7
    # One look in 15 s, however often somebody asks: what the loop has used since is not seen yet.
    assert scrape(daemon)["agentd_agent_cpu_seconds_total"] == found["agentd_agent_cpu_seconds_total"]

    declare(daemon, stay("calm"))
    for name in ("fails", "tree", "off"):
        daemon.wait_gone(name)
    found = scrape(daemon)
    assert ("fails",) not in found["agentd_agent_restarts_total"]
    assert not found.get("agentd_agent_exits_total", {}).keys() & {("fails", "3", "")}
    assert found["agentd_agent_state"] == {("calm", "running"): 1}

    # The dashboard asks for nothing that is not there.
    documented = {metric.name for metric in METRICS}
    suffixes = ("_bucket", "_sum", "_count")
    shown = set(found) | {m.name + s for m in METRICS if m.type is MetricType.HISTOGRAM for s in suffixes} | documented
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(queries) >= 12
    for query in queries:
        names = set(re.findall(r"\b(?:agentd|process)_[a-z_]+", query))
        assert names, query
        assert names <= shown, query
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert dashboard["uid"]
    assert dashboard["title"]
