"""The real agent CLIs, where they are installed, each with a daemon and a model server of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.harness.driven import KEY, DrivenCli
from tests.harness.loopback import loopback_only
from tests.harness.real_clis import REAL_CLIS, Place, RealCli
from tests.harness.stub_model import StubModel, stub_model
from tests.support.daemon import Daemon


@pytest.fixture(scope="module")
def _no_other_host() -> Iterator[None]:
    with loopback_only():
        yield


@pytest.fixture
def model() -> Iterator[StubModel]:
    with stub_model() as running:
        yield running


def installed(cli: RealCli, name: str) -> ParameterSet:
    """Give a CLI as a parameter of tests, which are skipped where it is not installed."""
    reason = f"{name} is not installed; run tests/harness/install-clis"
    return pytest.param(cli, id=name, marks=pytest.mark.skipif(not cli.package.installed, reason=reason))


@pytest.fixture(params=[installed(cli, cli.harness) for cli in REAL_CLIS])
def cli(request: pytest.FixtureRequest) -> RealCli:
    assert isinstance(request.param, RealCli)
    return request.param


@pytest.fixture
def driven(daemon: Daemon, cli: RealCli, model: StubModel) -> DrivenCli:
    """Install the CLI's program and files for one agentd, which is started without a jcard."""
    (daemon.bin / cli.package.binary).symlink_to(cli.package.program)
    temporary = daemon.folder / "tmp"
    temporary.mkdir()
    daemon.write_secret(cli.secret, KEY)
    env = cli.prepare(Place(daemon.home, daemon.workdir, model.url, KEY))
    daemon.start()
    return DrivenCli(daemon, cli, {"HOME": str(daemon.home), "TMPDIR": str(temporary), **env})
