"""A sandboxed agent that tells of its turns by hooks, or tries what else it can do with their socket.

It is run without site-packages, as a text. With the argument ``turns`` it answers each line of its terminal; with
``attack`` it first tries everything, and writes down what came of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from pathlib import Path

SOCKET = os.environ["AGENTD_HOOK"]
FLOOD = 500
HELD = 150


def talk(raw: bytes, path: str = SOCKET) -> str:
    """Send a request as it is; give the status, or why there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(path)
            connection.sendall(raw)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
    except OSError as error:
        return type(error).__name__
    head, _, body = answer.partition(b"\r\n\r\n")
    return (head.split(b" ", 2)[1:2] or [b"closed"])[0].decode() + (f" {body.decode()}" if body else "")


def request(method: str, target: str, body: object = None, length: int | None = None) -> bytes:
    """Write a request."""
    data = json.dumps(body or {}).encode()
    size = len(data) if length is None else length
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + data


def post(event: str, **body: object) -> str:
    """Post a hook."""
    return talk(request("POST", f"/v1/hook/{event}", body))


def refused(action: object, *arguments: object) -> str:
    """Do what is to be refused; give why it was."""
    try:
        action(*arguments)  # type: ignore[operator]
    except OSError as error:
        return type(error).__name__ + f" {error.errno}"
    return "done"


def hold(number: int) -> list[str]:
    """Open connections, and keep them; say how each begins to be answered."""
    opened, found = [], []
    for _ in range(number):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            connection.connect(SOCKET)
            connection.sendall(b"POST /v1/hook/text HTTP/1.1\r\n")
            opened.append(connection)
    for connection in opened:
        connection.settimeout(0.05)
        try:
            found.append(connection.recv(64)[9:12].decode() or "closed")
        except OSError:
            found.append("held")
    for connection in opened:
        connection.close()
    return found


def attack(victim: str, run: str, hidden: list[str]) -> dict[str, object]:
    """Try everything."""
    folder = Path(SOCKET).parent
    while post("no-such-event").startswith("403"):
        pass  # On a machine under load agentd may hear late that the run has begun: each waits for that for 5 s.
    asks = [
        ("GET", f"/v1/turns/{victim}"),
        ("POST", f"/v1/turns/{victim}/interrupt"),
        ("POST", f"/v1/turns/{victim}/answer"),
        ("POST", f"/v1/turns/{victim}/messages"),
        ("GET", f"/v1/turns/{victim}/stream"),
        ("GET", "/v1/turns/attacker"),
        ("POST", "/v1/turns/attacker/answer"),
        ("GET", "/v1/messages"),
        ("GET", "/v1/agents"),
    ]
    found: dict[str, object] = {
        "asked": [talk(request(*each, {"id": "m", "text": "x", "decision": "allow"}))[:3] for each in asks],
        "forged": [
            post("started", turn="forged", prompt="forged", run=run, agent=victim, run_id=run),
            talk(request("POST", f"/v1/hook/started?run={run}", {"turn": "forged", "prompt": "forged"})),
            talk(request("POST", f"/v1/hook/../turns/{victim}/interrupt", {})),
        ],
        "seen": [sorted(os.listdir("/run/agentd")), sorted(os.listdir(folder))],  # noqa: PTH208
        "changed": [
            refused(os.unlink, SOCKET),
            refused(os.rename, SOCKET, f"{folder}/other"),
            refused(os.mkdir, f"{folder}/{run}"),
            refused(os.chmod, SOCKET, 0o777),
            refused(os.rmdir, folder),
        ],
        "hidden": [talk(request("GET", "/v1/agents"), path) for path in hidden],
        "huge": [
            talk(request("POST", "/v1/hook/text", length=10**11)),
            talk(request("POST", "/v1/hook/text", {"text": "x" * (2 << 20)})),
            talk(b"POST /v1/hook/text HTTP/1.1\r\nx: " + b"y" * (1 << 20)),
            talk(b"\0" * 100_000 + b"\r\n\r\n"),
        ],
        "wrong": [
            talk(request("POST", "/v1/hook/started", [1])),
            talk(b"POST /v1/hook/started HTTP/1.1\r\nContent-Length: 20\r\n\r\n" + b"[" * 20),
            post("no-such-event"),
        ],
        "held": hold(HELD),
        "flood": [post("text", text="x")[:3] for _ in range(FLOOD)],
    }
    # One that has left its parents is of the run all the same.
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvpe("sh", ["sh", "-c", "sleep 0.2; exec sleep 600"], {})  # noqa: S606
        os._exit(0)
    os.wait()
    return found


def answer(line: str, number: int) -> None:
    """Have a turn."""
    post("started", turn=f"t{number}", prompt=line)
    said = f"done: {line}"
    if line.startswith("ask"):
        status, _, decision = post("permission_asked", name="delete", text="delete all").partition(" ")
        said = f"{status}: {json.loads(decision)['decision']}"
    if line.startswith("sleep"):
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()
        post("ended", outcome="interrupted")
        return
    post("ended", outcome="completed", final_text=said)


def main() -> None:
    """Attack, or have turns."""
    if sys.argv[1] == "attack":
        orders = json.loads(sys.argv[2])
        part = Path("found.part")
        part.write_text(json.dumps(attack(**orders)))
        part.rename("found.json")
        sys.stdin.read()
    post("ready")
    for number, line in enumerate(sys.stdin):
        answer(line.strip(), number)


if __name__ == "__main__":
    main()
