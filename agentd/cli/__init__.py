"""The two commands, ``agentd`` and ``agentctl``: argument parsing and rendering."""
