"""Sandboxes: what an agent may read, write and reach, by bubblewrap and a filter of system calls."""
