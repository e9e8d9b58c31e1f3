"""Speed and memory of agentd, each measure beside the raw floor of the same run."""
