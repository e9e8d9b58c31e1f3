"""Shows what agentd is for: runs it and its gateway on a copy of the jcard beside this file, with throw-away sockets.

Interactive, it prints what happens until C-c. With DEMO_SECONDS=N in the environment it does itself what it would ask
of its user, takes at most N seconds, and exits 0 if all went as told, 1 otherwise.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import TypedDict, cast

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
POLL_SECONDS = 0.05
START_SECONDS = 30.0
STOP_SECONDS = 30.0
MODEL = "helper"  # the agent that is talked to, as its name is for OpenAI clients
BRIEF_STATES = ("pending", "starting")  # a few milliseconds: not worth a line
EDIT_FROM, EDIT_TO = "water the plants", "feed the cat"


class Agent(TypedDict):
    """The fields of an agent's status that the demo shows."""

    name: str
    state: str
    pid: int | None
    restarts: int
    exit_code: int | None
    exit_signal: int | None
    error: str | None
    next_restart_at: str | None


class Config(TypedDict):
    """What ``/v1/health`` says of the jcard."""

    error: str | None
    warnings: list[str]


class Health(TypedDict):
    """The part of ``/v1/health`` that the demo shows."""

    config: Config


class DemoError(Exception):
    """Something did not go as it should; the text is for the user."""


class Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Demo:
    """One agentd and its gateway in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jcard = folder / "jcard.toml"
        self.api = folder / "api.sock"
        self.tmux = folder / "tmux.sock"
        self.log = folder / "agentd.log"
        self.mark = f"{os.pathsep}{folder}/bin"  # at the end of the PATH of everything that agentd starts
        for path in (HERE / "jcard.toml", HERE / "scripted_agent.sh", HERE.parent / "gateway" / "stand_in.py"):
            shutil.copy(path, folder)
        self.port = free_port()
        self.process = self.launch("agentd", f"--tmux-socket={self.tmux}")
        self.gateway = self.launch("agentd-gateway", f"--listen=127.0.0.1:{self.port}")

    def launch(self, program: str, option: str) -> subprocess.Popen[bytes]:
        """Start one of the two programs, which find each other by their folders."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    BIN / program,
                    f"--config={self.jcard}",
                    f"--secret-dir={self.folder / 'secrets'}",
                    f"--api-socket={self.api}",
                    f"--state-dir={self.folder / 'state'}",
                    f"--data-dir={self.folder / 'data'}",
                    *as_invoking_user(),
                    "--log-format=console",
                    option,
                ],
                env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}{self.mark}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # C-c is for the demo, which then asks them to end
            )

    @property
    def url(self) -> str:
        """Of the gateway."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, text: str) -> str:
        """Say something to an agent through the gateway, as an OpenAI client does, and give the answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            body = json.dumps({"model": MODEL, "input": text})
            connection.request("POST", "/v1/responses", body, {"Content-Type": "application/json"})
            answer = json.load(connection.getresponse())
        if answer.get("status") != "completed":
            raise DemoError(f"{MODEL} did not answer: {answer}{self.end_of_log()}")
        return str(answer["output"][-1]["content"][0]["text"])

    def get(self, path: str) -> object:
        """Ask the status API, as anybody could with curl."""
        with closing(Unix(self.api)) as connection:
            connection.request("GET", path)
            return json.load(connection.getresponse())

    def agents(self) -> list[Agent]:
        """Give the agents, sorted by name."""
        return cast("list[Agent]", self.get("/v1/agents"))

    def verdict(self) -> str:
        """Say what agentd thinks of the jcard."""
        config = cast("Health", self.get("/v1/health"))["config"]
        if config["error"] is not None:
            return f"not taken, the last good one stays in force: {config['error']}"
        return "; ".join(["taken", *config["warnings"]])

    def wait_until_ready(self) -> None:
        """Wait until the API answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise DemoError(f"agentd ended with status {self.process.returncode}{self.end_of_log()}")
            if self.gateway.poll() is not None:
                raise DemoError(f"agentd-gateway ended with status {self.gateway.returncode}{self.end_of_log()}")
            try:
                self.get("/v1/health")
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError as error:
                if time.monotonic() > deadline:
                    why = f"{error}{self.end_of_log()}"
                    raise DemoError(f"agentd does not answer within {START_SECONDS:.0f} s: {why}") from error
                time.sleep(POLL_SECONDS)
            else:
                return

    def looks(self) -> Iterator[dict[str, Agent]]:
        """Look again and again, print what changed, and yield all agents by name."""
        known: dict[str, Agent] = {}
        verdict = "taken"
        while self.process.poll() is None:
            before_edit, verdict = verdict, self.verdict()
            if verdict != before_edit:
                say(f"jcard.toml {verdict}")
            now = {agent["name"]: agent for agent in self.agents()}
            for name, agent in now.items():
                before = known.get(name)
                changed = before is None or any(before[key] != agent[key] for key in ("state", "pid"))
                if changed and agent["state"] not in BRIEF_STATES:
                    say(describe(agent))
            for name in known.keys() - now.keys():
                say(f"{name:<9} removed")
            known = now
            yield now
            time.sleep(POLL_SECONDS)
        raise DemoError(f"agentd ended with status {self.process.returncode}{self.end_of_log()}")

    def show_status(self) -> None:
        """Run ``agentctl status`` as a user would."""
        sys.stdout.flush()
        subprocess.run(
            [BIN / "agentctl", "status"], env={**os.environ, "AGENTD_API_SOCKET": str(self.api)}, check=False
        )

    def screen(self, session: str) -> str:
        """Read an agent's terminal."""
        return run("tmux", "-S", self.tmux, "capture-pane", "-p", "-t", f"={session}:")

    def type(self, session: str, line: str) -> None:
        """Type a line into an agent's terminal."""
        run("tmux", "-S", self.tmux, "send-keys", "-t", f"={session}:", line, "Enter")

    def edit(self) -> None:
        """Change the worker's prompt in the jcard, by rename as editors do."""
        part = self.folder / ".jcard.toml.part"
        part.write_text(self.jcard.read_text().replace(EDIT_FROM, EDIT_TO))
        part.rename(self.jcard)

    def stop(self) -> None:
        """Ask agentd to end, wait, and see that nothing is left."""
        deadline = time.monotonic() + STOP_SECONDS
        for name, process in (("agentd-gateway", self.gateway), ("agentd", self.process)):
            process.send_signal(signal.SIGTERM)
            while process.poll() is None:
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except KeyboardInterrupt:
                    process.send_signal(signal.SIGTERM)  # the second one stops at once
                except subprocess.TimeoutExpired:
                    for each in (self.gateway, self.process):
                        each.kill()
                        each.wait()
                    self.end_left_overs()
                    raise DemoError(f"{name} did not end within {STOP_SECONDS:.0f} s{self.end_of_log()}") from None
        left = self.end_left_overs()
        statuses = self.process.returncode, self.gateway.returncode
        if any(statuses) or left:
            raise DemoError(f"agentd and its gateway ended with {statuses} and left {left}{self.end_of_log()}")

    def end_left_overs(self) -> list[str]:
        """SIGKILL what agentd started and left running (seen where there is a /proc), and list it."""
        left = [path.name for path in (self.api, self.tmux) if path.exists()]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.fsencode(self.mark) in (process / "environ").read_bytes():
                    left.append((process / "cmdline").read_text().replace("\0", " "))
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue  # ended meanwhile, or another user's
        return left

    def end_of_log(self) -> str:
        """Quote the end of agentd's log, for an error."""
        return "; the end of its log:\n" + "\n".join(self.log.read_text().splitlines()[-15:])


def free_port() -> int:
    """Find a port of loopback that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def as_invoking_user() -> list[str]:
    """Have all in the demo run as the invoking user, root too; others are that by default, with a name or without."""
    return ["--agent-user=root"] if os.geteuid() == 0 else []


def run(*command: str | Path) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"{shlex.join(map(str, command))} failed: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")


@contextmanager
def throw_away_folder() -> Iterator[Path]:
    """Make a folder for everything the demo writes, with a path short enough for sockets, and remove it at the end."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    parent = Path(runtime) if 0 < len(os.fsencode(runtime)) < 60 and os.access(runtime, os.W_OK) else Path("/tmp")
    folder = Path(tempfile.mkdtemp(prefix="agentd-demo-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def say(line: str) -> None:
    """Print one event with the time."""
    print(f"{datetime.now().astimezone():%H:%M:%S} {line}", flush=True)


def describe(agent: Agent) -> str:
    """Put an agent's state into a line."""
    words = f"{agent['name']:<9} {agent['state']:<9}"
    match agent["state"]:
        case "running":
            times = f", restart {agent['restarts']}" if agent["restarts"] else ""
            return f"{words} pid {agent['pid']}{times}"
        case "backoff":
            return f"{words} {ending(agent)}, next run in {seconds_until(agent['next_restart_at'])} s"
        case "exited" | "failed" | "timed_out":
            return f"{words} {agent['error'] or ending(agent)}"
        case _:
            return words.rstrip()


def outcome(agent: Agent) -> tuple[str, int | None]:
    """Give the state and how the last run ended."""
    return agent["state"], agent["exit_code"]


def ending(agent: Agent) -> str:
    """Say how the last run ended."""
    if agent["exit_signal"] is not None:
        return f"killed by signal {agent['exit_signal']}"
    return f"exit status {agent['exit_code']}" if agent["exit_code"] is not None else agent["error"] or "ended"


def seconds_until(time_text: str | None) -> int:
    """Count the seconds until an RFC 3339 time."""
    if time_text is None:
        return 0
    return max(0, ceil((datetime.fromisoformat(time_text) - datetime.now().astimezone()).total_seconds()))


def introduce(demo: Demo) -> None:
    """Say what runs and what to try."""
    request = json.dumps({"model": MODEL, "input": "hello"})
    nested = "env -u TMUX " if "TMUX" in os.environ else ""
    demo.show_status()
    print(f"""
Now, in another terminal:
  talk to an agent      {nested}tmux -S {demo.tmux} attach -t asker      (C-b d leaves it running)
  poll the status       curl --unix-socket {demo.api} http://localhost/v1/agents
  change what runs      edit {demo.jcard}
                        for example worker's prompt: worker alone is relaunched, as soon as you save
  the same as a table   {BIN}/agentctl --api-socket {demo.api} status --watch
  agentd's log          tail -f {demo.log}
  chat in a browser     {demo.url}/
  the Responses API     curl {demo.url}/v1/responses -H content-type:application/json -d '{request}'
  the same in Python    from openai import OpenAI
                        client = OpenAI(base_url="{demo.url}/v1", api_key="none")
                        print(client.responses.create(model="{MODEL}", input="hello").output_text)
C-c here ends everything and leaves nothing behind.
""")


def unattended(demo: Demo, seconds: float) -> None:
    """Do what the introduction asks of its reader, and see that each agent does what the jcard says of it."""
    deadline = time.monotonic() + seconds
    looks = demo.looks()

    def until(what: str, holds: Callable[[dict[str, Agent]], bool]) -> dict[str, Agent]:
        for agents in looks:
            if holds(agents):
                return agents
            if time.monotonic() > deadline:
                raise DemoError(f"not seen within {seconds:g} s: {what}{demo.end_of_log()}")
        raise AssertionError("looking never ends by itself")

    until("worker and asker run", lambda now: {now["worker"]["state"], now["asker"]["state"]} == {"running"})
    until("finisher ends with status 0", lambda now: outcome(now["finisher"]) == ("exited", 0))
    until("crasher waits in back-off", lambda now: outcome(now["crasher"]) == ("backoff", 3))
    until("crasher comes back", lambda now: now["crasher"]["state"] == "running" and now["crasher"]["restarts"] > 0)
    say("typing into asker's terminal: Ada")
    demo.type("asker", "Ada")
    before = until("asker answers", lambda _: "Hello Ada!" in demo.screen("asker"))
    say("asker's terminal shows: Hello Ada!")
    say(f"asking {MODEL} through the gateway: hello")
    say(f"{MODEL} answers: {demo.ask('hello')}")
    say(f"editing worker's prompt: {EDIT_TO}")
    demo.edit()
    saved = time.monotonic()
    until("the edit relaunches worker", lambda now: now["worker"]["pid"] not in {None, before["worker"]["pid"]})
    say(f"worker was relaunched {(time.monotonic() - saved) * 1000:.0f} ms after the edit")
    after = until("worker has its new task", lambda _: EDIT_TO in demo.screen("worker"))
    if after["asker"]["pid"] != before["asker"]["pid"]:
        raise DemoError("the edit of worker restarted asker")


def demonstrate() -> None:
    """Run the demo from the first line to the last."""
    limit = os.environ.get("DEMO_SECONDS")
    with throw_away_folder() as folder:
        print(f"agentd on five scripted agents, in {folder}\n", flush=True)
        demo = Demo(folder)
        try:
            demo.wait_until_ready()
            introduce(demo)
            if limit:
                unattended(demo, float(limit))
            else:
                for _ in demo.looks():
                    pass
        except KeyboardInterrupt:
            print("\nStopping …", flush=True)
        finally:
            demo.stop()
    print("agentd, its gateway and all agents have ended; nothing is left behind.")


def main() -> int:
    """Run the demo and give its exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # like C-c
    try:
        demonstrate()
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
