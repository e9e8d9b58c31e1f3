"""What all programs speak of: declared agents, their states, events, status and user, as frozen values."""
