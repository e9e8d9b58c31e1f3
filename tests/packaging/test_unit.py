"""The packaged systemd unit, as far as it can be checked without a booted systemd."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "packaging/agentd.service"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def lint(unit: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "scripts/lint-unit", unit], capture_output=True, text=True, check=False)


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_packaged_unit() -> None:
    done = lint(UNIT)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize(
    ("correct", "typo"),
    [("OOMPolicy=continue", "OOMPolicy=contine"), ("RuntimeDirectoryPreserve", "RuntimeDirectoryPreserved")],
)
def test_a_typo_in_the_unit_is_noticed(short_folder: Path, correct: str, typo: str) -> None:
    text = UNIT.read_text()
    assert correct in text
    broken = short_folder / "agentd.service"
    broken.write_text(text.replace(correct, typo))
    done = lint(broken)
    assert done.returncode == 1
    assert typo.rpartition("=")[2] in done.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("KillMode", "process"),  # measured: any other mode kills the tmux server at each restart
        ("RuntimeDirectoryPreserve", "yes"),
        ("OOMPolicy", "continue"),
        ("Type", "notify"),
        ("Restart", "on-failure"),
        ("ExecStart", "/usr/bin/agentd --on-shutdown keep"),
    ],
)
def test_agents_survive_a_restart_of_the_unit_by_what_it_says(key: str, value: str) -> None:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",))
    parser.read(UNIT)
    assert parser["Service"][key] == value
