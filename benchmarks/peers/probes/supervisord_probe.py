"""Asks supervisord, as its own client does: each line "NAME PID" is answered once NAME is shown with another pid."""

import http.client
import socket
import sys
import xmlrpc.client


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])


class _Transport(xmlrpc.client.Transport):
    """Over the Unix socket, on one connection that stays open."""

    _kept = _Connection("localhost")

    def make_connection(self, _host: object) -> http.client.HTTPConnection:
        return self._kept


server = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport())
print("ready", flush=True)
for line in sys.stdin:
    name, pid = line.split()
    while server.supervisor.getProcessInfo(name)["pid"] == int(pid):  # type: ignore[call-overload, index]
        pass
    print("seen", flush=True)
