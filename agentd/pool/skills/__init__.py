"""Texts for agents that hand work to others."""
