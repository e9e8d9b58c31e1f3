"""What the doctor says of [otel]."""

from __future__ import annotations

import json
import socket

import pytest

from agentd.cli.agentctl.doctor import telemetry as module
from agentd.cli.agentctl.doctor.telemetry import check_telemetry
from agentd.model.telemetry import Telemetry
from tests.cli.support import Client
from tests.support.daemon import Daemon


def found(telemetry: Telemetry, *secrets: str) -> list[tuple[str, str]]:
    return [(finding.level.value, finding.text) for finding in check_telemetry(telemetry, secrets)]


def test_somebody_who_takes_it_is_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        telemetry = Telemetry(f"http://127.0.0.1:{port}/otlp", headers=(("authorization", "TOKEN"),))
        assert found(telemetry, "TOKEN") == [("ok", f"logs, metrics, traces are sent to 127.0.0.1:{port}")]
        assert found(telemetry)[0] == ("error", 'secret "TOKEN" does not exist: nothing is sent')


def test_nobody_there_is_a_warning() -> None:
    assert found(Telemetry("http://127.0.0.1:9")) == [
        ("warning", "nobody takes telemetry at 127.0.0.1:9: Connection refused")
    ]


def test_an_extra_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NEEDED", ("opentelemetry", "nowhere.at_all"))
    assert found(Telemetry("http://127.0.0.1:9"))[0] == ("error", "[otel] needs an extra that is not installed")


def test_the_doctor_looks_where_it_is_declared(daemon: Daemon) -> None:
    environment = daemon.environment()
    client = Client(daemon.folder, {**daemon.places, "HOME": environment["HOME"], "PATH": environment["PATH"]})
    daemon.write_jcard('[otel]\nendpoint = "http://127.0.0.1:9"\n')
    topics = [each["topic"] for each in json.loads(client("doctor", "--json").out)["findings"]]
    assert "otel" in topics
