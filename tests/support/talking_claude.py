"""A scripted Claude Code that is talked to: an input box, a status file, and hooks as its settings have them.

A message is answered with "I hear: MESSAGE". One that begins with ``may`` asks for permission first and says what was
decided; ``tool NAME ARGUMENTS`` uses a tool, and asks for it first if the project's settings say so;
``fail`` ends the turn with an error, and ``slow`` after the file ``go`` is there.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

BOX = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}\xa0"
SESSION = "219381a0-29ba-416c-9f0d-1d723565e43a"
NUMBERS = itertools.count(1)


def install(folder: Path) -> None:
    """Put it into a folder of programs, as ``claude``."""
    script = folder / "claude"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S -X utf8 {__file__} "$@"\n')
    script.chmod(0o755)


class Program:
    """The program: what stands in its box, and its turns."""

    def __init__(self) -> None:
        argv = sys.argv[1:]
        settings = Path(argv[argv.index("--settings") + 1]) if "--settings" in argv else None
        self.hooks = {} if settings is None else json.loads(settings.read_text())["hooks"]
        started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        self.own = {
            "pid": os.getpid(),
            "procStart": started,
            "version": "2.1.197",
            "sessionId": SESSION,
            "cwd": str(Path.cwd()),
        }
        self.status_file = Path(os.environ["HOME"], ".claude", "sessions", f"{os.getpid()}.json")
        self.status_file.parent.mkdir(parents=True, exist_ok=True)
        self.status("idle")
        threading.Thread(target=self.hook, args=("SessionStart",), daemon=True).start()

    def status(self, status: str) -> None:
        document = {**self.own, "status": status, "statusUpdatedAt": int(time.time() * 1000)}
        part = self.status_file.with_suffix(".part")
        part.write_text(json.dumps(document))
        part.rename(self.status_file)

    def hook(self, name: str, **body: object) -> str:
        if name not in self.hooks:
            return ""
        command = self.hooks[name][0]["hooks"][0]["command"]
        given = json.dumps({"session_id": SESSION, "hook_event_name": name, **body}).encode()
        return subprocess.run(
            ["/bin/sh", "-c", command], input=given, stdout=subprocess.PIPE, check=False
        ).stdout.decode()

    def turn(self, message: str) -> None:
        prompt = f"p{next(NUMBERS)}"
        self.status("busy")
        self.hook("UserPromptSubmit", prompt_id=prompt, prompt=message)
        answer = f"I hear: {message}"
        if message.startswith("may"):
            tool = {"prompt_id": prompt, "tool_name": "Bash", "tool_input": {"command": message}}
            self.status("waiting")
            said = self.hook("PermissionRequest", **tool)
            behavior = json.loads(said)["hookSpecificOutput"]["decision"]["behavior"] if said else "nobody"
            self.status("busy")
            answer = f"decided: {behavior}"
        if message.startswith("tool "):
            answer = self.tool(prompt, *message.split(" ", 2)[1:])
        while message.startswith("slow") and not Path("go").exists():
            select.select([], [], [], 0.02)
        self.status("idle")
        if message.startswith("fail"):
            self.hook("StopFailure", prompt_id=prompt, error="rate_limit", message="limit reached")
        else:
            self.hook("Stop", prompt_id=prompt, last_assistant_message=answer)

    def tool(self, prompt: str, name: str, arguments: str = "{}") -> str:
        use = f"use{next(NUMBERS)}"
        body = {"prompt_id": prompt, "tool_name": name, "tool_input": json.loads(arguments)}
        self.hook("PreToolUse", tool_use_id=use, **body)
        settings = Path(".claude/settings.json")
        asks = name in json.loads(settings.read_text())["permissions"]["ask"] if settings.exists() else True
        if asks:
            self.status("waiting")
            said = self.hook("PermissionRequest", **body)
            self.status("busy")
            if not said or json.loads(said)["hookSpecificOutput"]["decision"]["behavior"] != "allow":
                return f"{name} was refused"
        self.hook("PostToolUse", tool_use_id=use, **body)
        return f"{name} ran"

    def run(self) -> None:
        if "--" in sys.argv:
            threading.Thread(target=self.turn, args=(sys.argv[-1],), daemon=True).start()
        tty.setraw(0)
        os.write(1, b"\x1b[?2004h")
        text = ""
        while True:
            # Once for each change, as the real one: what paints all the time keeps tmux busy.
            os.write(1, f"\x1b[2J\x1b[Hready\r\n{BOX}{text[-40:]}".encode())
            data = os.read(0, 65536).decode()
            if data in ("\x03", "\x04"):
                return
            if data != "\r":
                text += re.sub(r"\x1b\[20[01]~", "", data).replace("\r", "\n")
            elif text:
                threading.Thread(target=self.turn, args=(text.rstrip(" "),), daemon=True).start()
                text = ""


if __name__ == "__main__":
    Program().run()
