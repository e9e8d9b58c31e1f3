"""A fleet whose hosts talk by TLS, with certificates that are made here."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.fleet_host import Host
from tests.support.ray_nodes import needs_ray
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.timeout(500),
    needs_ray,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl"),
]

# Ray takes 127.0.0.1 for the address by which the machine reaches others.
ADDRESSES = ("127.0.0.2", "127.0.0.3")
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

TICKS = """
[agent]
name = "t"
harness = "custom"
grace_period = "1s"
replicas = 4
command = ["sh", "-c", "while :; do echo tick; sleep 1; done"]
"""


@dataclass(frozen=True)
class Pair:
    """A certificate, its key, and who signed it."""

    certificate: Path
    key: Path
    authority: Path

    @property
    def variables(self) -> dict[str, str]:
        """As the page says them."""
        return {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(self.certificate),
            "RAY_TLS_SERVER_KEY": str(self.key),
            "RAY_TLS_CA_CERT": str(self.authority),
        }


def pair(folder: Path, authority: str, name: str) -> Pair:
    """Make a certificate for all addresses of the test, by an authority that is made if there is none."""
    ca, ca_key = folder / f"{authority}.crt", folder / f"{authority}.key"

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    if not ca.exists():
        openssl("req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={authority}", "-keyout", ca_key, "-out", ca)
    made = Pair(folder / f"{name}.crt", folder / f"{name}.key", ca)
    request, names = folder / f"{name}.csr", folder / f"{name}.ext"
    openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)
    names.write_text("subjectAltName=" + ",".join(f"IP:{each}" for each in ADDRESSES))
    openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-extfile", names,
        "-out", made.certificate,
    )  # fmt: skip
    return made


def said_to(port: int, authority: Path, own: Pair | None) -> bytes:
    """Say nothing to the head, and give what it says first; nothing if it hangs up."""
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2"])
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    with socket.create_connection((ADDRESSES[0], port), 30) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=ADDRESSES[0]) as talking:
                return talking.recv(100)
        except (ssl.SSLError, ConnectionError):
            return b""


@pytest.fixture
def hosts(daemon_factory: Callable[[], Daemon], tmp_path: Path, port: int) -> Iterator[list[Host]]:
    made = [Host(name, ip, daemon_factory()) for name, ip in zip(("one", "two"), ADDRESSES, strict=True)]
    try:
        for host in made:
            host.daemon.start()
        made[0].more = pair(tmp_path, "fleet", "one").variables
        made[0].start("head", "--port", str(port))
        made[0].wait_ready()
        made[1].more = pair(tmp_path, "fleet", "two").variables
        made[1].start("join", f"{ADDRESSES[0]}:{port}")
        made[1].wait_ready()
        yield made
    finally:
        for host in reversed(made):
            host.stop()


def test_a_fleet_talks_by_tls_and_hears_nobody_without_its_certificates(
    hosts: list[Host], tmp_path: Path, port: int
) -> None:
    one, two = hosts
    wait_for(lambda: len(one.fleet_hosts()) == len(hosts), 60, what="both are hosts")
    jcard = tmp_path / "fleet.toml"
    jcard.write_text(TICKS)
    two.agentctl("fleet", "apply", str(jcard))
    wait_for(lambda: all(len(host.running()) == len(hosts) for host in hosts), 60, what="they run on both")
    elsewhere = next(iter(two.running()))
    wait_for(lambda: "tick" in one.agentctl("screen", "--fleet", elsewhere), 60, what="its screen is seen")
    assert {each["host"] for each in json.loads(one.agentctl("list", "--fleet", "--json"))} == {"one", "two"}

    authority = tmp_path / "fleet.crt"
    assert said_to(port, authority, pair(tmp_path, "fleet", "three")), "a certificate of the fleet's is heard"
    assert not said_to(port, authority, None), "without one nobody is"
    assert not said_to(port, authority, pair(tmp_path, "others", "stranger")), "nor with one of somebody else's"
