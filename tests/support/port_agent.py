"""An agent that listens on the ports that its environment gives it, and writes down which they are.

Each run adds one line to the file that it is given, once it listens or could not.
"""

import json
import os
import signal
import socket
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)
ports = {name: int(value) for name, value in os.environ.items() if name in sys.argv[2:]}
listening, up = [], True
for port in ports.values():
    try:
        listening.append(socket.create_server(("", port)))
    except OSError:
        up = False
told = {
    "name": os.environ["AGENTD_AGENT"],
    "pid": os.getpid(),
    "generation": int(os.environ["GENERATION"]),
    "run_id": os.environ["AGENTD_RUN_ID"],
    "ports": ports,
    "up": up,
}
line = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(line, json.dumps(told).encode() + b"\n")
os.close(line)
while up:
    signal.pause()
sys.exit(1)
