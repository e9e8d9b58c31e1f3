"""The gateway beside agent-proxy, in the same run, with the same codex and the same stub of a model.

``benchmarks/gateway/install-agent-proxy``, then ``python -m benchmarks.gateway.beside_proxy [--rounds N]``. Each gets
one codex agent, asked by ``POST /v1/responses`` with ``stream``: how long until the first piece of the answer, how long
for one answer and for some at once, and what becomes of an answer when the program is stopped and started again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median

from tests.harness.real_clis import REAL_CLIS, Place, RealCli
from tests.harness.stub_model import stub_model
from tests.support.daemon import Daemon
from tests.support.gateway import Gateway

PROGRAM = Path(__file__).parents[2] / ".cache/agent-proxy/bin/agent-proxy"

_KEY = "stub-key"
_PATIENCE = 120.0
_AT_ONCE = 4
_THINKS = 2
"""Seconds for which the model thinks before an answer, or goes on after the first piece."""
_LONG = 12
"""Seconds of the turn in which it is stopped."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a client saw of one answer, in seconds since it asked."""

    first: float | None
    whole: float
    text: str
    pieces: int
    ended: bool


def ask(url: str, model: str, text: str, previous: str | None = None) -> tuple[Answered, str]:
    """Have a text answered; gives the response's id too."""
    body: dict[str, object] = {"model": model, "input": text, "stream": True}
    if previous is not None:
        body["previous_response_id"] = previous
    connection = HTTPConnection(url.removeprefix("http://"), timeout=_PATIENCE)
    begun = time.monotonic()
    first, pieces, ended, identity = None, [], False, ""
    try:
        connection.request("POST", "/v1/responses", json.dumps(body), {"Content-Type": "application/json"})
        for line in connection.getresponse():
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event["type"] == "response.created":
                identity = event["response"]["id"]
            if event["type"] == "response.output_text.delta":
                first = first or time.monotonic() - begun
                pieces.append(event["delta"])
            ended = ended or event["type"] == "response.completed"
    except (OSError, HTTPException):
        pass
    finally:
        connection.close()
    return Answered(first, time.monotonic() - begun, "".join(pieces), len(pieces), ended), identity


@dataclass(slots=True)
class Contender:
    """One of the two, running."""

    name: str
    url: str
    model: str
    stop: Callable[[], float]
    """Ends it as its operator does; the seconds that took."""
    start: Callable[[], None]
    recovered: Callable[[str], str | None]
    """What becomes of a response after the restart."""
    goes_on: bool
    """Whether a conversation goes on by the id of a response; the other always goes on with its only one."""
    notes: list[str] = field(default_factory=list)

    def turn(self, text: str, previous: str | None = None) -> tuple[Answered, str]:
        """Have a text answered in a conversation that is there already, if one is named."""
        return ask(self.url, self.model, text, previous if self.goes_on else None)


def measured(contender: Contender, rounds: int) -> Iterator[tuple[str, str]]:
    """Measure one of them."""
    opened, last = contender.turn("hello")
    yield "the first answer after the start [s]", shown(opened)
    quick, late = [], []
    for number in range(rounds):
        answered, last = contender.turn(f"hello {number}", last)
        quick.append(answered)
        answered, last = contender.turn(f"STUB-LINGER:{_THINKS} {number}", last)
        late.append(answered)
    yield "a turn in a conversation [s]", spread(each.whole for each in quick)
    yield "its first delta [s]", spread(each.first for each in quick)
    yield f"the first delta of an answer of {_THINKS} s [s]", spread(each.first for each in late)
    yield (
        "answers as they should be",
        f"{sum(each.ended and bool(each.text) for each in (*quick, *late))} of {2 * rounds}",
    )
    begun = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [pool.submit(contender.turn, f"STUB-SLEEP:{_THINKS} at once {number}") for number in range(_AT_ONCE)]
        answers = [job.result()[0] for job in jobs]
    right = sum(f"at once {number}" in answer.text for number, answer in enumerate(answers))
    yield (
        f"{_AT_ONCE} conversations at once, each thinking for {_THINKS} s [s]",
        f"{time.monotonic() - begun:.2f}, {right} of {_AT_ONCE} answered",
    )
    yield from stopped(contender)


def stopped(contender: Contender) -> Iterator[tuple[str, str]]:
    """Stop it in a turn, and start it again."""
    with ThreadPoolExecutor(1) as pool:
        seen: list[str] = []
        job = pool.submit(follow, contender, f"STUB-SLEEP:{_LONG} over a restart", seen)
        time.sleep(3)
        took = contender.stop()
        answered = job.result()
    yield "stopped in a turn, gone after [s]", f"{took:.2f}"
    begun = time.monotonic()
    contender.start()
    yield "started again, answers after [s]", f"{time.monotonic() - begun:.2f}"
    text = answered or (contender.recovered(seen[0]) if seen else None)
    yield "the answer of that turn", "there" if text is not None and "over a restart" in text else "lost"
    again, _ = contender.turn("and now?")
    yield "the next answer [s]", shown(again)


def follow(contender: Contender, text: str, seen: list[str]) -> str | None:
    """Ask, and note the response's id."""
    answered, identity = contender.turn(text)
    seen.append(identity)
    return answered.text if answered.ended and answered.text else None


def shown(answered: Answered) -> str:
    """Say how long an answer took."""
    return f"{answered.whole:.2f}" if answered.ended and answered.text else f"none after {answered.whole:.2f}"


def spread(seconds: Iterator[float | None]) -> str:
    """Give the median and the longest."""
    known = [each for each in seconds if each is not None]
    return f"{median(known):.2f} (longest {max(known):.2f})" if known else "none"


@contextmanager
def ours(folder: Path, codex: RealCli, model_url: str) -> Iterator[Contender]:
    """Run agentd and the gateway, with one codex agent."""
    daemon = Daemon(folder)
    gateway = Gateway(daemon)
    (daemon.bin / codex.package.binary).symlink_to(codex.package.program)
    daemon.write_secret(codex.secret, _KEY)
    env = codex.prepare(Place(daemon.home, daemon.workdir, model_url, _KEY))
    table = "".join(f"{name} = {json.dumps(value)}\n" for name, value in {"HOME": str(daemon.home), **env}.items())
    daemon.write_jcard(
        f'[[agents]]\nname = "coder"\nharness = "codex"\nworkdir = "{daemon.workdir}"\n'
        f"args = {json.dumps(codex.unasked)}\n"
        f"[agents.env]\n{table}"
    )
    daemon.start(f"--agent-user={pwd.getpwuid(os.geteuid()).pw_name}")
    listen = [f"127.0.0.1:{free_port()}"]
    gateway.start(listen=listen)

    def stop() -> float:
        begun = time.monotonic()
        gateway.stop()
        return time.monotonic() - begun

    def recovered(identity: str) -> str | None:
        def answer() -> str | None:
            response = fetch(gateway.url, f"/v1/responses/{identity}")
            return None if response.get("status") in ("in_progress", "queued") else json.dumps(response.get("output"))

        return until(answer)

    try:
        yield Contender(
            "agentd-gateway", gateway.url, "coder", stop, lambda: gateway.start(listen=listen), recovered, goes_on=True
        )
    finally:
        gateway.close()
        daemon.close()


@contextmanager
def theirs(folder: Path, codex: RealCli, model_url: str) -> Iterator[Contender]:
    """Run agent-proxy; it sends every request to its agent ``manager``."""
    home, binaries = folder / "home", folder / "bin"
    workspace = home / ".agent_proxy" / "manager"
    for each in (home, binaries):
        each.mkdir()
    (binaries / codex.package.binary).symlink_to(codex.package.program)
    env = {
        "HOME": str(home),
        # Its sessions start python3 -m agent_proxy.session.
        "PATH": f"{PROGRAM.parent}:{binaries}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        codex.secret: _KEY,
        **codex.prepare(Place(home, workspace, model_url, _KEY)),
    }
    port = free_port()
    command = [str(PROGRAM), "daemon", "--api-host", "127.0.0.1", "--api-port", str(port), "--interval", "1"]
    running: list[subprocess.Popen[bytes]] = []
    url = f"http://127.0.0.1:{port}"

    def start() -> None:
        with (folder / "log").open("ab") as log:
            running.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True))
        until(lambda: fetch(url, "/health") or None)

    def stop() -> float:
        begun = time.monotonic()
        running[-1].terminate()
        running[-1].wait()
        return time.monotonic() - begun

    start()
    try:
        # It resumes the last session, and makes none.
        subprocess.run(
            [str(binaries / codex.package.binary), "exec", "--skip-git-repo-check", "hello"],
            cwd=workspace, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_PATIENCE,
        )  # fmt: skip
        yield Contender("agent-proxy", url, "manager", stop, start, lambda _: None, goes_on=False)
    finally:
        with contextlib.suppress(ProcessLookupError):
            stop()
        end_left(home)


def end_left(home: Path) -> None:
    """End what it left running: its sessions are in sessions of their own."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"HOME={home}".encode() in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)


def fetch(url: str, path: str) -> Mapping[str, object]:
    """Ask for a document; nothing while there is no answer."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        read: Mapping[str, object] = json.loads(connection.getresponse().read())
    except (OSError, HTTPException):
        return {}
    finally:
        connection.close()
    return read


def until(look: Callable[[], object]) -> str | None:
    """Look until there is something."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if (found := look()) is not None:
            return str(found)
        time.sleep(0.05)
    return None


def free_port() -> int:
    """Find a port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def main() -> int:
    """Measure both, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway.beside_proxy")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    given = parser.parse_args()
    codex = next(cli for cli in REAL_CLIS if cli.harness == "codex")
    if not PROGRAM.exists():
        sys.stderr.write("agent-proxy is not installed; run benchmarks/gateway/install-agent-proxy\n")
        return 1
    if not codex.package.installed:
        sys.stderr.write("codex is not installed; run tests/harness/install-clis\n")
        return 1
    found: dict[str, dict[str, str]] = {}
    before = os.getloadavg()[0]
    for run in (ours, theirs):
        with (
            stub_model() as model,
            tempfile.TemporaryDirectory(prefix="agentd-bench-", dir="/var/tmp") as folder,
            run(Path(folder), codex, model.url) as contender,
        ):
            for name, value in measured(contender, given.rounds):
                found.setdefault(name, {})[contender.name] = value
                sys.stderr.write(f"{contender.name}: {name}: {value}\n")
    sys.stdout.write("| | agentd-gateway | agent-proxy 0.1.0 |\n| --- | --- | --- |\n")
    for name, values in found.items():
        sys.stdout.write(f"| {name} | {values['agentd-gateway']} | {values['agent-proxy']} |\n")
    sys.stdout.write(
        f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after; codex {codex.package.version}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
