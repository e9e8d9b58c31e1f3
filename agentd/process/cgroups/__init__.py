"""The kernel's control groups: where they are, what one limits, holds and uses."""
