"""A scripted Claude Code: its status file, its hooks as its settings have them, and what it is told to do.

It reads JSON objects, one a line, from the FIFO ``claude.fifo`` in its workdir:

``{"status": {...}}`` writes the status file, ``{"hook": NAME, "body": {...}}`` runs a hook, and does not wait for it,
``{"post": NAME, "body": {...}, "socket": PATH}`` posts what a hook would, without its process, ``{"exit": N}`` exits.
What a hook prints is appended to ``claude.out``, as ``[NAME, OUTPUT, SECONDS]``; of a post the last is its monotonic
moment.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path


def main() -> None:
    argv = sys.argv[1:]
    settings = Path(argv[argv.index("--settings") + 1]) if "--settings" in argv else None
    hooks = {} if settings is None else json.loads(settings.read_text())["hooks"]
    Path("claude.argv").write_text(json.dumps(argv))
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    own = {"pid": os.getpid(), "procStart": started, "version": "2.1.197", "cwd": str(Path.cwd())}
    status = Path(os.environ["HOME"], ".claude", "sessions", f"{os.getpid()}.json")
    status.parent.mkdir(parents=True, exist_ok=True)
    status.write_text(json.dumps({**own, "status": "idle", "statusUpdatedAt": int(time.time() * 1000)}))
    fifo = Path("claude.fifo")
    if not fifo.exists():
        os.mkfifo(fifo)
    with fifo.open("r+b", buffering=0) as told, Path("claude.out").open("ab", buffering=0) as out:
        for line in iter(told.readline, b""):
            order = json.loads(line)
            if "status" in order:
                status.write_text(json.dumps({**own, "statusUpdatedAt": int(time.time() * 1000), **order["status"]}))
            elif "post" in order:
                post(order, out)
            elif "hook" in order:
                threading.Thread(target=run_hook, args=(hooks, order, out), daemon=True).start()
            else:
                os._exit(order["exit"])


def post(order: dict[str, object], out: object) -> None:
    body = json.dumps(order["body"]).encode()
    head = (
        f"POST /v1/hook/{order['post']} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(order["socket"]))
        connection.sendall(head.encode() + body)
        while connection.recv(4096):
            pass
    out.write(json.dumps([order["post"], "", began]).encode() + b"\n")  # type: ignore[attr-defined]


def run_hook(hooks: dict[str, list[dict[str, list[dict[str, str]]]]], order: dict[str, object], out: object) -> None:
    name = str(order["hook"])
    command = hooks[name][0]["hooks"][0]["command"]
    began = time.monotonic()
    body = json.dumps(order["body"]).encode()
    done = subprocess.run(["/bin/sh", "-c", command], input=body, stdout=subprocess.PIPE, check=False)
    line = json.dumps([name, done.stdout.decode(), time.monotonic() - began]) + "\n"
    out.write(line.encode())  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
