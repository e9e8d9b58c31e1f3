"""The page at ``/``: agents, conversations, screens and logs in a browser."""
