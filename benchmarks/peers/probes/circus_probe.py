"""Asks circus, as its own client does: each line "NAME PID" is answered once NAME is shown with another pid."""

import sys

from circus.client import CircusClient  # type: ignore[import-not-found]

client = CircusClient(endpoint=sys.argv[1], timeout=30)
print("ready", flush=True)
for line in sys.stdin:
    name, pid = line.split()
    while int(pid) in client.send_message("list", name=name)["pids"]:
        pass
    print("seen", flush=True)
