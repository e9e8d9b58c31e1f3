"""Desired and observed state, the plan between them, and the life of each agent."""
