"""agentd side by side with other supervisors, doing the same work in one run."""
