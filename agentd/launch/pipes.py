"""Files of a run whose sandbox reaches hosts by name, beside its launch script."""

from __future__ import annotations

from typing import Final

TRUSTED_SUFFIX: Final = ".trusted"
"""The authorities that the sandbox trusts."""
NETWORK_SUFFIX: Final = ".network"
"""FIFO in which bubblewrap says which process is the first in the sandbox."""
READY_SUFFIX: Final = ".ready"
"""FIFO from which that reads, before the agent runs, whether somebody listens for it."""
READY: Final = "ready"
"""What it reads if so; else it reads why not."""
LIMIT: Final = 10
"""Seconds that it waits; it takes 0.002."""
