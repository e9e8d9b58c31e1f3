"""Fault runs: a real agentd, broken on purpose at every step, judged by an oracle outside it (docs/reliability.md)."""
