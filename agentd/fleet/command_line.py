"""``agentd-fleet``: its command line."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import Final

from agentd import __version__
from agentd.files.streams import with_streams
from agentd.fleet.folder import OWNER
from agentd.fleet.guarding import Guard
from agentd.fleet.ledger import HostRecord
from agentd.fleet.ray_node import DEFAULT_PORT, RayNode
from agentd.fleet.running import Running
from agentd.launch.census import Instance
from agentd.settings.extras import how_to_install
from agentd.settings.flags import GATEWAY_FIELDS
from agentd.settings.folders import SettingsError
from agentd.settings.options import USAGE_ERROR, add_options, settings_from
from agentd.settings.settings import Settings
from agentd.settings.sockets import fleet_socket, runtime_directory, turns_socket
from agentd.text.durations import parse_duration

_DESCRIPTION = """\
Makes this host a part of a fleet: one jcard, over many hosts, which agentctl fleet applies. Runs beside agentd, and
stays in the foreground. Whoever reaches the ports of Ray can run programs here: they are for a private network."""

_EPILOG = """\
examples:
  agentd-fleet head --ip 10.0.0.1                       the first host; the Controller is there
  agentd-fleet join 10.0.0.1:6379 --slots 20 --label zone=a

signals: SIGTERM and SIGINT end it; the agents of this host go on until their lease ends.
exit status: 0 clean end, 1 cannot start, or Ray has ended, 2 bad usage."""

_SESSION: Final = len("/session_2026-01-31_09-00-00_000000_1234567/sockets/plasma_store")
_LONGEST_SOCKET: Final = 107


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser(
        prog="agentd-fleet",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"agentd-fleet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    head = commands.add_parser("head", help="begin a fleet", allow_abbrev=False)
    option = head.add_argument
    option("--port", type=int, default=DEFAULT_PORT, help=f"where hosts join; the next one, too [{DEFAULT_PORT}]")
    lease = "a host that is cut off stops its agents after it [30s]"
    option("--lease", type=_duration, default=30.0, metavar="DURATION", help=lease)
    option("--public", action="store_true", help="take an address that the Internet may reach")
    join = commands.add_parser("join", help="be a host of a fleet", allow_abbrev=False)
    join.add_argument("address", metavar="ADDRESS", help="HOST:PORT of the head")
    for each in (head, join):
        option = each.add_argument
        option("--ip", help="by which the others reach this host [head: 127.0.0.1; join: as it reaches the head]")
        option("--name", default=socket.gethostname(), help="of this host [its host name]")
        option("--slots", type=int, default=20, help="how many agents it takes [20]")
        option("--gpus", type=float, default=0.0, help="how many GPUs it has [0]")
        there = "use the node of Ray that runs on this host already, and leave it running"
        option("--existing-ray", action="store_true", help=there)
        within = "in which Ray and this host's Node have to start; else all ends, to be begun anew [3m]"
        option("--start-within", type=_duration, default=180.0, metavar="DURATION", help=within)
        label = "what agents may ask for; may be given several times"
        option("--label", action="append", default=[], metavar="KEY=VALUE", type=_label, help=label)
        add_options(each, GATEWAY_FIELDS)
        each.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return parser


def _duration(text: str) -> float:
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if duration < 1:
        raise argparse.ArgumentTypeError(f"found {text}, expected at least 1s")
    return duration


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected KEY=VALUE, such as zone=a")
    return key, value


def main(argv: Sequence[str] | None = None) -> int:
    """Run a host of a fleet until a signal; return the exit status.

    Raises
    ------
    SystemExit
        With status 2 for a command line that cannot be understood, 0 after ``--help`` and ``--version``.
    """
    return with_streams("agentd-fleet", lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        settings = settings_from(arguments, os.environ)
        node = _node(arguments, settings)
    except (SettingsError, ValueError) as error:
        parser.exit(USAGE_ERROR, f"agentd-fleet: {error}\n")
    if find_spec("ray") is None:
        sys.stderr.write(f"agentd-fleet: cannot start: Ray is not installed: {how_to_install('fleet')}\n")
        return 1
    return Running(
        node, _start(arguments, settings, node), _guard(settings), fleet_socket(settings.api_socket),
        arguments.start_within, arguments.existing_ray,
    ).run()  # fmt: skip


def _node(arguments: argparse.Namespace, settings: Settings) -> RayNode:
    folder = settings.state_dir / "ray"
    if len(os.fsencode(folder)) + _SESSION > _LONGEST_SOCKET:
        raise ValueError(f"{folder}: too long for Ray's sockets, which lie below it: give a shorter --state-dir")
    if arguments.command == "join":
        return RayNode(folder, arguments.ip or _own_address(arguments.address), arguments.address)
    ip = arguments.ip or "127.0.0.1"
    check_address(ip, public=arguments.public)
    return RayNode(folder, ip, None, arguments.port)


def check_address(ip: str, *, public: bool) -> None:
    """Check that a head may listen there.

    Raises
    ------
    ValueError
        If it is no address, or one that the Internet may reach, and that is not asked for.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        raise ValueError(f"--ip: found {ip!r}, expected an IP address of this host, such as 10.0.0.1") from None
    if (address.is_global or address.is_unspecified) and not public:
        raise ValueError(
            f"--ip: {ip} may be reached from the Internet, and whoever reaches Ray runs programs here: give an address "
            "of a private network, or --public once a firewall and Ray's TLS guard it"
        )


def _own_address(head: str) -> str:
    host, _, port = head.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"found {head!r}, expected HOST:PORT of the head, such as 10.0.0.1:{DEFAULT_PORT}")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, int(port)))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ValueError(f"{head}: cannot be reached: {error.strerror or error}") from error


def _start(arguments: argparse.Namespace, settings: Settings, node: RayNode) -> Mapping[str, object]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    labels = tuple(sorted(arguments.label))
    record = HostRecord(
        arguments.name, arguments.slots, float(os.cpu_count() or 1), memory, arguments.gpus, labels, False, node.ip
    )
    is_head = arguments.command == "head"
    return {
        "address": node.address,
        "ip": node.ip,
        "record": asdict(record),
        "ledger": str(settings.state_dir / "fleet.db") if is_head else None,
        "lease": arguments.lease if is_head else None,
        "drop_ins": str(settings.config_dir),
        "api_socket": str(settings.api_socket),
        "turns_socket": str(turns_socket(settings.api_socket)),
        "fleet_socket": str(fleet_socket(settings.api_socket)),
        "stop": False,
    }


def _guard(settings: Settings) -> Guard:
    runtime = runtime_directory(settings.tmux_socket)
    return Guard(
        settings.config_dir / OWNER, settings.api_socket, settings.tmux_socket, runtime,
        Instance.of(settings.state_dir, runtime), lambda line: sys.stderr.write(f"agentd-fleet: {line}\n"),
    )  # fmt: skip
