"""Budgets of agents, held while their turns are watched."""
