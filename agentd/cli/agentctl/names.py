"""The hidden command that shells ask for agents' names."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from agentd.cli.agentctl.client import Api, ApiError, UnreachableError
from agentd.cli.agentctl.command import Status, add_shared_options
from agentd.settings.options import settings_from


def print_names(argv: Sequence[str]) -> int:
    """Print the agents' names, one a line, and nothing where there is no daemon: somebody is typing.

    Raises
    ------
    SystemExit
        If the arguments cannot be understood.
    """
    parser = argparse.ArgumentParser(add_help=False)
    add_shared_options(parser)
    settings = settings_from(parser.parse_args(argv), os.environ)
    try:
        agents = Api(settings.api_socket).agents()
    except (UnreachableError, ApiError):
        return int(Status.UNREACHABLE)
    for agent in agents:
        print(agent.name)
    return int(Status.DONE)
