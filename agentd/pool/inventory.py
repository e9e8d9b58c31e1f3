"""Which providers there are, and what is known of them."""

from __future__ import annotations

from agentd.pool.pool import Pool
from agentd.pool.results import Inventory, ModelList


async def inventory(pool: Pool, provider: str | None = None, *, usage: bool = False) -> Inventory:
    """List the providers.

    Parameters
    ----------
    provider
        Only this one.
    usage
        Whether to say what is known of their accounts, too.

    Raises
    ------
    PoolError
        If there is no such provider.
    """
    raise NotImplementedError


async def models(pool: Pool, provider: str | None = None) -> ModelList:
    """List models, from the providers' programs where they can say; raises as `inventory`."""
    raise NotImplementedError
