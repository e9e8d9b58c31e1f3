"""The packaged systemd units, as far as they can be checked without a booted systemd (tests/systemd boots one)."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = ROOT / "packaging/agentd.service"
USERS = ROOT / "packaging/agentd-user.service"

FLEETS = tuple(ROOT / f"packaging/agentd-fleet{name}.service" for name in ("", "-user", "-head", "-head-user"))
GATEWAYS = (ROOT / "packaging/agentd-gateway.service", ROOT / "packaging/agentd-gateway-user.service")

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
both = pytest.mark.parametrize("unit", [SYSTEM, USERS], ids=lambda unit: unit.stem)


def lint(unit: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "scripts/lint-unit", unit], capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("unit", [SYSTEM, USERS, *FLEETS, *GATEWAYS], ids=lambda unit: unit.stem)
def test_systemd_has_nothing_to_say_about_a_packaged_unit(unit: Path) -> None:
    done = lint(unit)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@both
@pytest.mark.parametrize(
    ("correct", "typo", "named"),
    [("OOMPolicy=continue", "OOMPolicy=contine", "contine"), ("KillMode=process", "KillMod=process", "KillMod")],
)
def test_a_typo_in_a_unit_is_noticed(short_folder: Path, unit: Path, correct: str, typo: str, named: str) -> None:
    text = unit.read_text()
    assert correct in text
    broken = short_folder / unit.name
    broken.write_text(text.replace(correct, typo))
    done = lint(broken)
    assert done.returncode == 1
    assert named in done.stderr


@both
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("KillMode", "process"),  # measured: where tmux is in the unit, any other mode kills it at each restart
        ("OOMPolicy", "continue"),
        ("Type", "notify"),
        ("WatchdogSec", "30s"),
        ("Restart", "on-failure"),
    ],
)
def test_agents_survive_a_restart_of_the_unit_by_what_it_says(unit: Path, key: str, value: str) -> None:
    service = parse(unit)["Service"]
    assert service[key] == value
    assert service["ExecStart"].endswith("/agentd --on-shutdown keep")


def test_systemd_takes_no_folder_away_from_the_agents_user() -> None:
    # Measured: at each start of the unit, RuntimeDirectory= and StateDirectory= chown all that is in there to root.
    service = parse(SYSTEM)["Service"]
    assert not {"RuntimeDirectory", "StateDirectory"} & set(service)
    assert service["RuntimeDirectoryPreserve"] == "yes"


@pytest.mark.parametrize("user", ["", "-user"])
def test_the_first_host_of_a_fleet_has_the_service_of_the_others_with_another_command(user: str) -> None:
    head, joins = (parse(ROOT / f"packaging/agentd-fleet{kind}{user}.service") for kind in ("-head", ""))
    assert joins["Service"].pop("ExecStart").endswith("/agentd-fleet join $FLEET_HEAD $FLEET_ARGS")
    assert head["Service"].pop("ExecStart").endswith("/agentd-fleet head --ip $FLEET_IP $FLEET_ARGS")
    for unit in (head, joins):
        del unit["Unit"]["Description"]
    assert head == joins


def parse(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign] # the documented way to keep the case of keys
    parser.read(unit)
    return parser
