"""Where agents work: workspaces made from the templates of a role, and git worktrees.

Everything that touches an agent's files is done by programs that run as the agents' user: what is in a repository or a
workspace is the agents' to write, and agentd may be root.
"""
