"""Workspaces: folders for agents to work in, created from the templates of a role.

Agents can write what is in them, and agentd may be root: so every change is made by programs that run as the agents'
user.
"""
