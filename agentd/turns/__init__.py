"""Turns and activity: what a running agent is doing, by harness."""
