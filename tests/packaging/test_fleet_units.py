from __future__ import annotations

from pathlib import Path

import pytest

UNITS = sorted(Path(__file__).parents[2].glob("packaging/agentd-fleet*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_fleets_unit_sees_the_boot_that_agentd_sees(unit: Path) -> None:
    # In a container it would see that of the machine, and agentd take none of its drop-ins: tests/systemd has shown it.
    assert not [line for line in unit.read_text().splitlines() if line.startswith("ProtectKernelTunables")]
