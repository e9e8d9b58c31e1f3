from __future__ import annotations

import pytest

from agentd.fleet.command_line import check_address, main


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.1.2.3", "192.168.0.7", "100.64.0.1", "fd00::1"])
def test_a_head_takes_an_address_of_a_private_network(ip: str) -> None:
    check_address(ip, public=False)


@pytest.mark.parametrize("ip", ["8.8.8.8", "0.0.0.0", "::", "2606:4700::1"])  # noqa: S104 (refused)
def test_a_head_refuses_an_address_that_the_internet_reaches_unless_told(ip: str) -> None:
    with pytest.raises(ValueError, match="--public"):
        check_address(ip, public=False)
    check_address(ip, public=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["head", "--ip", "8.8.8.8"], "--public"),
        (["head", "--ip", "here"], "expected an IP address"),
        (["head", "--label", "zone"], "KEY=VALUE"),
        (["head", "--lease", "30"], "30s"),
        (["join", "10.0.0.1"], "HOST:PORT"),
        (["head", "--state-dir", "/a/very/long/folder/for/the/state/of/an/agentd"], "shorter --state-dir"),
    ],
)
def test_what_cannot_be_is_bad_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err
