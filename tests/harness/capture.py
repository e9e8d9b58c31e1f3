"""Capture what the real CLIs show and what agentd says of them, labelled by what the stub model was doing.

``python -m tests.harness.capture FOLDER --harness NAME`` starts agentd with the agent, as it is watched best or, with
``--fallback``, by its fallback, or with ``--plugin`` OpenCode by its plugin, and plays scenes
(`tests.harness.scenes`). Each moment is a screen and a line in FOLDER/index.jsonl. No rule and no activity decides a
label or when a screen is taken: a label is what the stub was asked and has answered; a screen is taken when the whole
answer is on it, it has stood still for a second, and no thread of the agent has wanted the CPU meanwhile, which one
that a loaded machine keeps waiting does. While the model keeps the agent waiting there is no such second, and the
screen is taken after six; otherwise after sixty.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import cast

import psutil

from agentd.model.states import Activity
from tests.harness.driven import DEADLINE, KEY
from tests.harness.loopback import loopback_only
from tests.harness.real_clis import REAL_CLIS, Place, RealCli, write_json
from tests.harness.scenes import ALLOW, END, Scene, scenes
from tests.harness.stub_dialects import Json
from tests.harness.stub_model import REPLY, StubModel, stub_model
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for
from tests.turns.moments import Moment, read_moments

SCREENS = Path(__file__).parents[1] / "turns" / "screens"

READY = {
    "claude-code": "\u276f\xa0",
    "codex": "Codex",
    "gemini-cli": "Type your message",
    "opencode": "Ask anything",
}
"""What stands on the screen of each that has just started, as its makers document it."""

STILL, LEAST = 1.0, 2.5
"""Seconds for which a screen stands still before it is captured, and that this takes at least."""
MOST, MOST_AT_WORK = 60.0, 6.0
"""Seconds after which it is captured all the same."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a session looks."""

    columns: int
    rows: int
    theme: str
    colours: str
    """``truecolor``, or nothing for 256."""


class Way(Enum):
    """How an agent is watched; the value stands in the names of its screens."""

    BEST = "w"
    FALLBACK = "f"
    PLUGIN = "p"


THEMES = {
    "claude-code": ("light", "dark-daltonized", "light-ansi", "dark-ansi", "light-daltonized", "dark"),
    "codex": ("dracula", "github", "nord"),
    "gemini-cli": ("GitHub Light", "Dracula", "Ayu", "Xcode", "ANSI", "Shades Of Purple"),
    "opencode": ("gruvbox", "github", "nord", "catppuccin", "solarized", "tokyonight"),
}


@dataclass(slots=True)
class Session:
    """One run of an agent, and the moments that were captured of it."""

    daemon: Daemon
    cli: RealCli
    model: StubModel
    look: Look
    folder: Path
    prefix: str
    moments: list[Moment] = field(default_factory=list)
    _messages: int = 0

    def play(self, scene: Scene) -> None:
        """Send the scene's message, capture what comes, and end it.

        Raises
        ------
        AssertionError
            If the stub was asked more than belongs to the scene: then it is not known what the agent does.
        """
        before = self._say(scene.message)
        self._wait_requests(before, scene.requests)
        if scene.expect is Activity.IDLE and "STUB-STATUS" not in scene.message:
            self._wait_answer(before, scene)
        self.capture(scene.note, scene.expect)
        for what in scene.then:
            self._then(what, scene)
        if scene.keys:
            self._press(*scene.keys)
            if "allow" in scene.then:
                self._end_tool()
            if scene.after or scene.keeps:
                note = scene.after or f"{scene.note}, dismissed"
                self.capture(note, scene.expect if scene.keeps else Activity.IDLE)
            else:
                self._settle()

    def capture(self, note: str, expect: Activity) -> None:
        """Wait until the screen stands still, and keep it with what agentd says."""
        ansi, title = self._settle(MOST_AT_WORK if expect is Activity.WORKING else MOST)
        agent = self.daemon.agents()["agent"]
        told = agent["activity"] if agent["running"] else None
        number = len(self.moments) + 1
        name = re.sub(r"[^a-z0-9]+", "-", note.lower()).strip("-")
        file = f"{self.cli.harness}/{self.prefix}-{number:02}-{name}.ansi"
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._clean(ansi), encoding="utf-8")
        columns, rows = self.daemon.tmux("display", "-p", "-t", "=agent:", "#{pane_width} #{pane_height}").split()
        colours = "all colours" if self.look.colours else "256 colours"
        moment = Moment(
            file=file,
            harness=self.cli.harness,
            title=self._clean(title),
            expect=expect,
            note=f"{columns}x{rows} {self.look.theme}, {colours}: {note}",
            told=None if told is None else Activity(told),
            source=agent["activity_source"] if told is not None else None,
        )
        self.moments.append(moment)
        with (self.folder / "index.jsonl").open("a", encoding="utf-8") as index:
            index.write(moment.model_dump_json() + "\n")
        sys.stderr.write(f"{moment.file}: {moment.expect}, told {moment.told} by {moment.source}\n")

    def _clean(self, text: str) -> str:
        return text.replace(str(self.daemon.folder), "/srv/agents").replace(str(self.daemon.folder.name), "agents")

    def _then(self, what: str, scene: Scene) -> None:
        match what:
            case "resize":
                columns, rows = self.look.columns - 13, self.look.rows - 9
                self._resize(columns, rows)
                self.capture(f"{scene.note}, resized", scene.expect)
                self._resize(self.look.columns, self.look.rows)
                self._settle()
            case "draft":
                self.daemon.tmux("send-keys", "-t", "=agent:", "-l", "and Do you want to proceed")
                self.capture(f"{scene.note}, text typed, not sent", scene.expect)
                self._press("C-u")
            case "scroll":
                self._press("PPage")
                self.capture(f"{scene.note}, scrolled", scene.expect)
                self._press("NPage", "NPage")
            case "allow":
                self._press(ALLOW.get(self.cli.harness, "Enter"))
                ran = self.daemon.workdir / "ran"
                wait_for(
                    lambda: ran.exists() and ran.read_text(),
                    DEADLINE,
                    what="the tool runs",
                    explain=lambda: self.daemon.screen("agent"),
                )
                self.capture("a tool runs", Activity.WORKING)
            case _:
                raise AssertionError(what)

    def _end_tool(self) -> None:
        """End what a harness lets run on when its turn is interrupted: the agent works, while nothing shows it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(int((self.daemon.workdir / "ran").read_text())).kill()

    def start(self, fields: Mapping[str, object]) -> None:
        """Start the agent, and capture it once it is ready."""
        table = {"name": "agent", "harness": self.cli.harness, "workdir": str(self.daemon.workdir), **fields}
        self.daemon.write_jcard(jcard({**table, "grace_period": "10s"}))
        self.daemon.wait_state("agent", "running", timeout=DEADLINE)
        self._resize(self.look.columns, self.look.rows)
        ready = READY[self.cli.harness]
        wait_for(
            lambda: ready in self.daemon.screen("agent"),
            DEADLINE,
            what=f"{ready!r} is shown",
            explain=lambda: self.daemon.screen("agent"),
        )
        self.capture("just started", Activity.IDLE)

    def kill(self) -> None:
        """End the program in a turn by SIGKILL: what is left is a shell below its last screen."""
        before = self._say("STUB-SLEEP:301")
        self._wait_requests(before, 1)
        self._settle()
        pid = self.daemon.agents()["agent"]["pid"]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.daemon.wait_state("agent", "failed", "exited", timeout=DEADLINE)
        self.capture("SIGKILL while working, a shell", Activity.UNKNOWN)

    def _say(self, message: str) -> str:
        """Paste a message as a person does, press Enter until the model has it, and give what marks it."""
        self._messages += 1
        marker = f"moment {self._messages} of {self.prefix}, "
        self._press("C-u")
        sent = f"{marker}{self._numbered(message)}"
        subprocess.run(
            ["tmux", "-S", self.daemon.tmux_socket, "load-buffer", "-b", "moment", "-"],
            input=sent.encode(),
            check=True,
            env=self.daemon.environment(),
        )
        self.daemon.tmux("paste-buffer", "-p", "-d", "-b", "moment", "-t", "=agent:")
        _pause(0.8)
        pressed = 0.0

        def taken() -> bool:
            nonlocal pressed
            if self._requests(marker):
                return True
            if time.monotonic() > pressed + 4:
                pressed = time.monotonic()
                self._press("Enter")
            return False

        wait_for(taken, DEADLINE, what=f"the model has {sent[:60]!r}", explain=lambda: self.daemon.screen("agent"))
        return marker

    def _numbered(self, text: str) -> str:
        return text.replace("@N@", str(self._messages))

    def _requests(self, marker: str) -> int:
        return sum(marker in turn.prompt for turn in self.model.turns)

    def _wait_requests(self, marker: str, number: int) -> None:
        wait_for(lambda: self._requests(marker) >= number, DEADLINE, what=f"the model was asked {number} times")

    def _wait_answer(self, marker: str, scene: Scene) -> None:
        """Wait until the end of the answer is shown; JSON in the message writes it otherwise."""
        said = self._numbered(END) if "STUB-SAY" in scene.message else f"{REPLY}{marker[:-2]}"

        def shown() -> bool:
            return _packed(said) in _packed(self.daemon.screen("agent"))

        wait_for(shown, DEADLINE, what=f"{said!r} is shown", explain=lambda: self.daemon.screen("agent"))

    def _resize(self, columns: int, rows: int) -> None:
        self.daemon.tmux("resize-window", "-t", "=agent:", "-x", str(columns), "-y", str(rows))

    def _press(self, *keys: str) -> None:
        for key in keys:
            self.daemon.tmux("send-keys", "-t", "=agent:", key)
            _pause(0.4)

    def _settle(self, most: float = MOST_AT_WORK) -> tuple[str, str]:
        begun = changed = time.monotonic()
        shown = self._shown()
        while True:
            _pause(0.25)
            now, before, shown = time.monotonic(), shown, self._shown()
            if shown != before or self._wants_cpu():
                changed = now
            if (now > changed + STILL and now > begun + LEAST) or now > begun + most:
                return shown, self.daemon.tmux("display", "-p", "-t", "=agent:", "#{pane_title}")

    def _wants_cpu(self) -> bool:
        """Whether a thread of the agent runs, or waits for its turn."""
        with contextlib.suppress(psutil.NoSuchProcess, TypeError):
            pane = psutil.Process(self.daemon.agents()["agent"]["pane_pid"])
            for process in [pane, *pane.children(recursive=True)]:
                for state in Path(f"/proc/{process.pid}/task").glob("*/stat"):
                    with contextlib.suppress(OSError):
                        if state.read_text().rpartition(")")[2].split()[0] == "R":
                            return True
        return False

    def _shown(self) -> str:
        return self.daemon.tmux("capture-pane", "-e", "-p", "-t", "=agent:")


def _packed(text: str) -> str:
    """Take out what a narrow terminal puts between words."""
    return re.sub(r"\s", "", text)


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 (a person at a terminal takes time; nothing is waited for)


def _dress(cli: RealCli, daemon: Daemon, env: Mapping[str, str], look: Look, way: Way) -> dict[str, object]:
    """Set the theme, and give what the jcard says of the agent."""
    given = dict(env)
    if look.colours:
        given["COLORTERM"] = look.colours
    args: list[str] = []
    match cli.harness:
        case "claude-code":
            _merge(daemon.home / ".claude.json", {"theme": look.theme})
            args = ["--settings", "{}"] if way is Way.FALLBACK else []
        case "codex":
            config = daemon.home / ".codex" / "config.toml"
            text = config.read_text()
            more = f'[tui]\ntheme = "{look.theme}"\n[features]\ndefault_mode_request_user_input = true\n'
            config.write_text(text + more)
            args = ["-a", "on-request", *(["--add-dir", str(daemon.home)] if way is Way.FALLBACK else [])]
        case "gemini-cli":
            _merge(
                daemon.home / ".gemini" / "settings.json",
                {"ui": {"theme": look.theme}, "model": {"disableLoopDetection": True}},
            )
        case _:
            # A server at another address is one that agentd does not follow.
            args = ["--hostname", "127.0.0.2"] if way is Way.PLUGIN else []
            (daemon.home / ".config" / "opencode").mkdir(parents=True)
            write_json(daemon.home / ".config" / "opencode" / "tui.json", {"theme": look.theme})
            content = cast("dict[str, object]", json.loads(given["OPENCODE_CONFIG_CONTENT"]))
            given["OPENCODE_CONFIG_CONTENT"] = json.dumps({**content, "permission": {"bash": "ask", "edit": "ask"}})
    model = {} if cli.model is None else {"model": cli.model}
    turns = {"turns": False} if way is Way.FALLBACK and cli.harness in ("gemini-cli", "opencode") else {}
    return {"args": args, "env": {"HOME": str(daemon.home), **given}, **model, **turns}


def _merge(path: Path, more: Json) -> None:
    write_json(path, {**json.loads(path.read_text()), **more})


def _traps(harness: str, chance: random.Random) -> list[str]:
    """Choose texts of other screens: dialogs and errors, of this harness and of another one."""
    misleading = [label for label in read_moments(SCREENS) if label.expect not in (Activity.IDLE, Activity.UNKNOWN)]
    own = [label for label in misleading if label.harness == harness]
    chosen = [*chance.sample(own, 2), chance.choice(misleading)]
    return [_plain((SCREENS / label.file).read_text(encoding="utf-8")) for label in chosen]


def _plain(ansi: str) -> str:
    rows = re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", ansi).rstrip().splitlines()
    return "\n".join(rows[-14:])


def capture(folder: Path, cli: RealCli, look: Look, prefix: str, *, seed: int, way: Way) -> list[Moment]:
    """Play one session, and give its moments."""
    base = Path(tempfile.mkdtemp(prefix="m-"))
    base.chmod(0o755)
    daemon = Daemon(base)
    with stub_model() as model:
        try:
            (daemon.bin / cli.package.binary).symlink_to(cli.package.program)
            temporary = daemon.folder / "tmp"
            temporary.mkdir()
            daemon.write_secret(cli.secret, KEY)
            env = cli.prepare(Place(daemon.home, daemon.workdir, model.url, KEY))
            daemon.start(ready=False)
            wait_for(daemon.api_socket.exists, DEADLINE, what="agentd listens", explain=daemon.explain)
            daemon.wait_answers()
            session = Session(daemon, cli, model, look, folder, prefix)
            session.start(_dress(cli, daemon, {"TMPDIR": str(temporary), **env}, look, way))
            for scene in scenes(cli.harness, str(daemon.workdir), _traps(cli.harness, random.Random(seed))):
                _try(lambda scene=scene: session.play(scene), f"{cli.harness}, {scene.note}", session)  # type: ignore[misc]
            _try(session.kill, f"{cli.harness}, SIGKILL", session)
            return session.moments
        finally:
            daemon.close()


def _try(play: Callable[[], None], what: str, session: Session) -> None:
    """Go on after a scene that did not come about: then nothing is known, and nothing is kept of it."""
    try:
        play()
    except AssertionError as error:
        sys.stderr.write(f"{what} did not come about: {error}\n")
        session.daemon.tmux("send-keys", "-t", "=agent:", "Escape")


def main(arguments: Sequence[str] | None = None) -> int:
    """Capture what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.capture", description=__doc__)
    parser.add_argument("folder", type=Path, help="for the screens and index.jsonl")
    parser.add_argument("--harness", choices=[cli.harness for cli in REAL_CLIS], required=True)
    parser.add_argument("--size", action="append", help="COLUMNSxROWS, one session each; default 80x50 120x50 200x50")
    parser.add_argument("--seed", type=int, default=1, help="chooses themes, colours and the texts that mislead")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--fallback", action="store_true", help="watch by the fallback of the harness")
    ways.add_argument("--plugin", action="store_true", help="watch OpenCode by its plugin")
    given = parser.parse_args(arguments)
    if given.plugin and given.harness != "opencode":
        parser.error("--plugin is for --harness opencode")
    way = Way.FALLBACK if given.fallback else Way.PLUGIN if given.plugin else Way.BEST
    cli = next(cli for cli in REAL_CLIS if cli.harness == given.harness)
    with loopback_only():
        for number, size in enumerate(given.size or ("80x50", "120x50", "200x50")):
            seed = given.seed * 100 + number
            chance = random.Random(f"{given.harness} {seed}")
            columns, rows = (int(part) for part in size.split("x"))
            look = Look(columns, rows, chance.choice(THEMES[cli.harness]), chance.choice(("", "truecolor")))
            prefix = f"{given.seed}{way.value}{size}"
            capture(given.folder, cli, look, prefix, seed=seed, way=way)
    return 0


if __name__ == "__main__":
    sys.exit(main())
