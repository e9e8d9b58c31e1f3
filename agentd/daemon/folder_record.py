"""Which folders held drop-ins: remembered with the agents, in tmux.

A drop-in that was removed while no daemon ran has its agents stopped. A folder that was merely unmounted or moved away
meanwhile looks the same, but for this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from agentd.jcard.drop_in_folder import FolderIdentity
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.server import TmuxServer

log = structlog.get_logger(__name__)

OPTION = "@agentd_drop_ins"


class FolderRecord:
    """Keeps that record current.

    Parameters
    ----------
    identities
        Gives `DropIns.identities` at any time.
    """

    def __init__(self, tmux: TmuxServer, identities: Callable[[], Mapping[Path, FolderIdentity]]) -> None:
        self._tmux = tmux
        self._identities = identities
        self._kept: tuple[object, str | None] = (None, None)

    async def keep(self) -> None:
        """Write down what there is, unless it is written on this server."""
        identities = {str(folder): list(identity) for folder, identity in self._identities().items()}
        wanted = self._tmux.identity, json.dumps(identities) if identities else None
        if wanted == self._kept or (wanted[1] is None and self._kept[1] is None):
            return
        try:
            await self._tmux.set_global(OPTION, wanted[1])
            self._kept = wanted
        except TmuxUnreachableError as error:
            log.debug("folders_not_kept", reason=str(error))
        except TmuxError as error:
            log.warning("folders_not_kept", reason=str(error))


async def recorded_folders(tmux: TmuxServer) -> Mapping[Path, FolderIdentity]:
    """Give what a former daemon wrote down.

    Raises
    ------
    TmuxError, TmuxUnreachableError
        If the server cannot be asked.
    """
    return read_folders(await tmux.get_global(OPTION) or "{}")


def read_folders(written: str) -> Mapping[Path, FolderIdentity]:
    """Read what stands in tmux, where the agents' user may write anything: what is no folder is left out."""
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return {}
    identities = {}
    for folder, identity in found.items() if isinstance(found, dict) else ():
        match identity:
            case [int(device), int(inode)]:
                identities[Path(folder)] = FolderIdentity(device, inode)
            case _:
                pass
    return identities
