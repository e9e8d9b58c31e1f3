"""Has the actors run on this host's node of Ray, or end there: a process of its own, since Ray's library stays large.

Usage: python -m agentd.fleet.starting, with `Start` as JSON on stdin; why not is a line on stdout.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ray

from agentd.fleet.actors import NodeOptions, start_controller, start_node, stop
from agentd.fleet.errors import HostTakenError
from agentd.fleet.ledger import HostRecord
from agentd.fleet.ray_node import NAMESPACE


def main() -> int:
    """Start or stop them."""
    given = json.load(sys.stdin)
    ray.init(
        address=given["address"], namespace=NAMESPACE, log_to_driver=False, logging_level="WARNING",
        _node_ip_address=given["ip"],
    )  # fmt: skip
    record = HostRecord(**{**given["record"], "labels": tuple(tuple(each) for each in given["record"]["labels"])})
    if given["stop"]:
        stop(record.name, controller=given["ledger"] is not None)
    else:
        if given["ledger"] is not None:
            start_controller(Path(given["ledger"]), given["lease"], record)
        sockets = {name: Path(given[name]) for name in ("drop_ins", "api_socket", "turns_socket", "fleet_socket")}
        try:
            start_node(NodeOptions(record, **sockets))
        except HostTakenError as error:
            sys.stdout.write(f"{error}\n")
            return 1
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
