"""Asks agentd over its socket: each line "NAME PID" is answered once NAME is shown with another pid."""

import http.client
import json
import socket
import sys


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])


connection = _Connection("localhost")


def shown(name: str) -> object:
    connection.request("GET", f"/v1/agents/{name}")
    return json.loads(connection.getresponse().read())["pid"]


print("ready", flush=True)
for line in sys.stdin:
    name, pid = line.split()
    while shown(name) == int(pid):
        pass
    print("seen", flush=True)
