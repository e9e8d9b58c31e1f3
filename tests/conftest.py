"""Fixtures for all tests, and the look at the process table when they are done."""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, settings

from tests.support.account_home import account_home, traces
from tests.support.daemon import Daemon
from tests.support.effort import ASKED_FOR, DEFAULT_PROFILE, EVERYDAY, FULL
from tests.support.forked import SERVERS, launch_of
from tests.support.left_out import is_left_out, left_out
from tests.support.memory_disk import temporary_folder
from tests.support.processes import end_marked, marked
from tests.support.skips import summary

# Until all tests are collected: that makes a million objects which stay, and looking at them again and again took a
# third of its time.
gc.disable()

FUZZ_PROFILE = "fuzz"
"""Hypothesis' profile of ``make fuzz``."""

WHEN_ASKED_FOR = {
    "browser": pytest.mark.skip(reason="a browser takes half of the machine: run it with -m browser"),
    "clis": pytest.mark.skip(reason="takes minutes: run it with -m clis"),
    "crowd": pytest.mark.skip(reason="they measure how long others wait: run them alone, with -m crowd"),
    "days": pytest.mark.skip(reason="they take ten minutes together: run them with -m days"),
    "fleet": pytest.mark.skip(reason="a Ray node takes 0.4 GB and ten seconds: run them with -m fleet"),
    "gateway": pytest.mark.skip(reason="together they take a quarter of the time: run it with -m gateway"),
    "gvisor": pytest.mark.skip(reason="takes half a second each: run them with -m gvisor"),
    "installs": pytest.mark.skip(reason="takes up to ten seconds each: run it with -m installs"),
    "mcp": pytest.mark.skip(reason="each start takes 2 s of CPU: run it with -m mcp"),
    "program": pytest.mark.skip(reason="a start of the program takes ten times a fork's: run them with -m program"),
    "thorough": pytest.mark.skip(reason="others, the fault runs or the demo show the like: run it with -m thorough"),
    "pages": pytest.mark.skip(reason="together they take a fifth of the suite: run it with -m pages"),
}
"""By its marker, what a run leaves out unless it names that."""

# A loaded machine is ten times slower: what a property costs says nothing about whether it holds. In CI the same code
# gets the same examples, so that a failure is the change's; new ones are found by everybody else.
settings.register_profile(
    DEFAULT_PROFILE,
    max_examples=FULL if ASKED_FOR else EVERYDAY,
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# New examples each time; a failure prints the decorator that replays it, and --hypothesis-seed replays a whole run.
settings.register_profile(FUZZ_PROFILE, settings.get_profile(DEFAULT_PROFILE), max_examples=FULL, derandomize=False)
settings.load_profile(DEFAULT_PROFILE)

# For pytest's own folders, and where a test asks for one itself.
tempfile.tempdir = str(temporary_folder())


class _Worker(Protocol):
    """What pytest-xdist knows of a process that is to run tests."""

    workerinput: dict[str, object]


_SHARED = "fork_servers"
_shared: list[Path] = []


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: _Worker) -> None:
    """Give each process that is to run tests the servers that all of them share."""
    if not _shared:
        _shared.append(Path(tempfile.mkdtemp(prefix="agentd-forks-", dir=temporary_folder())))
        for server in SERVERS:
            server.share(_shared[0])
    node.workerinput[_SHARED] = str(_shared[0])


def pytest_configure(config: pytest.Config) -> None:
    """Let C-c be what it is, and use the servers that all processes share."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell has it for what it starts in the background: every program of the tests would ignore C-c, too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _SHARED in (given := getattr(config, "workerinput", {})):
        for server in SERVERS:
            server.use_shared(Path(given[_SHARED]))


def pytest_unconfigure() -> None:
    """End the servers that were shared."""
    for folder in _shared:
        for server in SERVERS:
            server.close()
        shutil.rmtree(folder)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import a share of the tests first, where several processes are to run all of them.

    What pytest makes of each file for its asserts is kept on the disk. In a fresh clone, five that began at the same
    file made all of it five times: collecting took 46 s of CPU, and takes 27.
    """
    worker = getattr(session.config, "workerinput", None)
    root = session.config.rootpath
    if worker is None or [root / argument for argument in session.config.args] != [root / "tests"]:
        return
    files = sorted(
        path for path in (root / "tests").rglob("test_*.py") if not pytest_ignore_collect(path, session.config)
    )
    for path in files[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        # What is wrong with one is said when it is collected.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not read what is left out whole."""
    return is_left_out(collection_path, config.option.markexpr or "", _named(config)) or None


def _named(config: pytest.Config) -> list[Path]:
    return [config.invocation_params.dir / argument.split("::")[0] for argument in config.args]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is only run when it is asked for; begin with what is slow.

    A test of ten seconds that is the last to begin keeps all workers but one idle.
    """
    asked_for = config.option.markexpr or ""
    left_out = {marker: skip for marker, skip in WHEN_ASKED_FOR.items() if marker not in asked_for}
    slow, others = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        markers = {marker.name for marker in item.iter_markers()}
        (slow if "slow" in markers else others).append(item)
        for marker in left_out.keys() & markers:
            item.add_marker(left_out[marker])
    items[:] = slow + others


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but look at nothing that there is already."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, and how it is run."""
    skipped = terminalreporter.getreports("skipped")
    tests = [report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple)]
    files = left_out(_named(config), config.option.markexpr or "")
    for what, reasons in (("tests", tests), ("files of tests", files)):
        if reasons:
            terminalreporter.section(f"{len(reasons)} {what} were skipped; they are run", sep="-")
            for line in summary(reasons):
                terminalreporter.line(line)


@pytest.fixture(scope="session", autouse=True)
def session_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Make the folder that all tests of this process live in, and look for what they left running.

    It is short, for socket paths. Every process started by a test has it on its PATH, so that the look at the end
    finds whatever is left, however far it went to hide. HOME and the XDG folders lie in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="agentd-", dir=temporary_folder()))
    folder.chmod(0o755)  # an agent user other than root has to get through
    home = folder / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{folder}")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        patch.setenv("XDG_STATE_HOME", str(home / ".local/state"))
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        for name in [name for name in os.environ if name.startswith(("AGENTD_", "TMUX", "NO_COLOR"))]:
            patch.delenv(name)
        yield folder
    left = marked(str(folder))
    end_marked(str(folder))
    shutil.rmtree(folder)
    real_agents = any(marker in (request.config.option.markexpr or "") for marker in ("clis", "days"))
    # The real ones write where they like.
    written = [] if real_agents else traces(account_home(), folder)
    assert not written, f"agents of the tests wrote into the home of this account: {', '.join(map(str, written))}"
    assert not left, "the tests left these processes behind:\n" + "\n".join(str(process) for process in left)


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def short_folder(session_folder: Path, _numbers: Iterator[int]) -> Iterator[Path]:
    """Make a folder of this test alone, with a path short enough for sockets."""
    folder = session_folder / str(next(_numbers))
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _fork_servers(session_folder: Path) -> Iterator[None]:
    assert session_folder.exists(), "or the servers' environment would not have it"
    yield
    for server in SERVERS:
        server.close()


@pytest.fixture
def daemon_factory(
    request: pytest.FixtureRequest, session_folder: Path, _numbers: Iterator[int]
) -> Iterator[Callable[[], Daemon]]:
    """Make daemons that are not started yet; all are ended, and held to leaving nothing, after the test."""
    daemons: list[Daemon] = []

    def make() -> Daemon:
        folder = session_folder / str(next(_numbers))
        folder.mkdir()
        daemons.append(Daemon(folder, launch_of(request)))
        return daemons[-1]

    yield make
    problems = [problem for daemon in daemons if daemon.folder.exists() for problem in daemon.close()]
    assert not problems, "\n".join(problems)


@pytest.fixture
def daemon(daemon_factory: Callable[[], Daemon]) -> Daemon:
    """Make one daemon that is not started yet."""
    return daemon_factory()
