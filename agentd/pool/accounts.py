"""What is known of the accounts of providers: quota, tokens, cost."""

from __future__ import annotations

from agentd.pool.pool import Pool
from agentd.pool.results import UsageReport


async def usage(pool: Pool, provider: str | None = None, *, refresh: bool = False) -> UsageReport:
    """Say what is known of accounts.

    Parameters
    ----------
    provider
        Only this one.
    refresh
        Whether to read the newest records of the providers' programs first.

    Raises
    ------
    PoolError
        If there is no such provider, or agentd does not answer.
    """
    raise NotImplementedError
