"""How the gateway starts, or says why it does not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agentd.gateway.command_line import main
from tests.gateway.stand_in import declare, session
from tests.support.gateway import Gateway

TOKEN = "t0ken-of-nobody"


@pytest.fixture(autouse=True)
def _jcard(gateway: Gateway) -> None:
    gateway.daemon.write_jcard("")
    gateway.daemon.jcard.write_text("# no agents\n")


def refused(gateway: Gateway, *arguments: str, listen: list[str] | None = None, **env: str) -> str:
    """Start a gateway that does not, and give what it says."""
    gateway.launch(*arguments, listen=listen, env=env)
    assert gateway.wait_exit() == 1, gateway.log_text()
    said = gateway.log_text()
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.7:0", "gateway.example:0"])
def test_listening_where_others_reach_it_needs_a_token(gateway: Gateway, address: str) -> None:
    said = refused(gateway, listen=["127.0.0.1:0", address])
    assert f"--listen {address}" in said
    assert "AGENTD_AUTH_TOKEN" in said
    assert "--auth-token-file" in said


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[gateway]\nmax_concurrency = 0", "gateway.max_concurrency"),
        ('[gateway]\n[[gateway.tokens]]\nsecret = "KEY"\nuser = "alice"', "secrets/KEY: No such file"),
        ('[[agents]]\nname = "a"', "without errors"),
        (
            '[gateway]\nlisten = ["127.0.0.1:0"]\ndatabase = "mysql://root:pa55@localhost/x"',
            "jcard.toml:3:1: gateway.database: found a URL of mysql, expected a URL such as",
        ),
        (
            '[gateway]\nlisten = ["127.0.0.1:0"]\ndatabase = "sqlite:////nowhere/x.db"',
            "/nowhere/x.db: cannot be opened: No such file or directory; check database in [gateway] of /",
        ),
        ('[gateway]\nlisten = ["unix:jcard.toml"]', "expected a socket or nothing at"),
    ],
)
def test_what_is_wrong_in_the_jcard_is_said(gateway: Gateway, table: str, said: str) -> None:
    gateway.daemon.write_jcard(table)
    found = refused(gateway, listen=[])
    assert said in found
    assert "pa55" not in found


def test_what_is_passed_over_in_its_table_is_said(gateway: Gateway) -> None:
    def said(name: str) -> bool:
        return any("gateway_settings" in line and name in line for line in gateway.log_text().splitlines())

    gateway.daemon.write_jcard("[gateway]\nmax_concurency = 9")
    gateway.start()
    assert said("max_concurency")
    gateway.daemon.write_jcard("[gateway]\nmax_concurency = 9\nturn_timout = 1")
    gateway.daemon.wait_for(lambda: said("turn_timout"), what="the new one is said, too")


def test_without_its_jcard_it_does_not_start_since_tokens_may_stand_there(gateway: Gateway) -> None:
    gateway.daemon.jcard.unlink()
    assert "there is no such file" in refused(gateway)


@pytest.mark.parametrize(
    ("content", "said"), [("\n\n", "found none"), ("a b\n", "printable ASCII"), (None, "No such file")]
)
def test_a_file_of_tokens_that_cannot_be_used_is_named(
    gateway: Gateway, tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    found = refused(gateway, f"--auth-token-file={file}")
    assert str(file) in found
    assert said in found


def test_an_address_that_is_taken_is_named(gateway: Gateway) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused(gateway, listen=[address])
        assert f"--listen {address}: Address already in use; stop the program that listens there" in said


def test_a_misspelt_flag_is_told_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--databse", f"sqlite:///{tmp_path}/x.db"])
    assert "unrecognized arguments: --databse; did you mean --database?" in capsys.readouterr().err


def test_a_database_of_another_schema_is_refused_if_it_must_not_be_migrated(gateway: Gateway) -> None:
    assert "agentd-gateway migrate" in refused(gateway, "--no-migrate")
    gateway.launch("migrate")
    assert gateway.wait_exit() == 0
    assert (gateway.daemon.state / "gateway.db").stat().st_mode & 0o777 == 0o600
    assert "gateway_migrated" in gateway.log_text()


@pytest.mark.program
def test_without_its_extra_it_says_how_to_get_it(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *rest: None if name in ('asyncpg', 'sqlalchemy') else find(name, *rest)\n"
    )
    said = refused(gateway, PYTHONPATH=str(tmp_path))
    assert "pip install 'agentd[gateway]'" in said


def test_every_source_of_tokens_lets_in_and_none_is_told(gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("from-file\n\nfrom-file-2\n")
    gateway.daemon.write_secret("ROOT", "from-secret\n")
    gateway.daemon.write_jcard('[[gateway.tokens]]\nsecret = "ROOT"\nscopes = ["admin"]\n')
    env = {
        "AGENTD_AUTH_TOKEN": "from-variable",
        "AGENTD_AUTH_TOKENS": "from-list-1, from-list-2",
        "AGENTD_API_KEY": "from-key",
    }
    gateway.start(f"--auth-token-file={file}", "--auth-token=from-flag", env=env)
    tokens = [
        "from-file",
        "from-file-2",
        "from-secret",
        "from-variable",
        "from-list-1",
        "from-list-2",
        "from-key",
        "from-flag",
    ]
    assert {gateway.request("GET", "/sessions", token=token).status for token in tokens} == {200}
    for wrong in ("from-list-1, from-list-2", "", "from-fil", "FROM-FILE"):
        assert gateway.request("GET", "/sessions", token=wrong).status == 401
    said = gateway.log_text()
    assert said.count("list of processes") == 1
    assert "gateway_open" not in said
    assert not [token for token in tokens if f'"{token}' in said or f" {token}" in said]


def test_without_tokens_it_is_open_on_loopback_and_says_so_once(gateway: Gateway) -> None:
    gateway.start()
    assert gateway.ask("GET", "/sessions") == {"sessions": [], "next_cursor": None}
    assert gateway.log_text().count("gateway_open") == 1
    assert gateway.socket.stat().st_mode & 0o777 == 0o660
    health = gateway.ask("GET", "/health")
    assert (health["ok"], health["agentd"]) == (True, "unreachable"), "agentd was never started"
    assert gateway.ask("GET", "/daemon/status")["daemon_health"] == "degraded"


def test_a_second_gateway_is_refused_where_one_runs(gateway: Gateway) -> None:
    gateway.start()
    first = gateway.process
    gateway.process = None
    try:
        said = refused(gateway, listen=["127.0.0.1:0"])
        assert "another agentd-gateway runs" in said
    finally:
        gateway.process = first


def test_more_runs_than_may_wait_are_refused_for_a_while(gateway: Gateway) -> None:
    declare(gateway, max_queue=1, max_concurrency=1)
    gateway.daemon.start()
    gateway.start()
    made = session(gateway)
    body = {"session_id": made, "prompt": "STUB-SLEEP:60"}
    running = gateway.ask("POST", "/runs", body)["run"]["id"]
    gateway.daemon.wait_for(lambda: gateway.ask("GET", f"/runs/{running}")["run"]["status"] == "running")
    gateway.ask("POST", "/runs", body)
    refusal = gateway.request("POST", "/runs", body)
    assert (refusal.status, refusal.json()["error"]["code"]) == (429, "queue_full")  # type: ignore[index]
    assert int(refusal.headers["retry-after"]) > 0
