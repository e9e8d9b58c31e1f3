"""Git worktrees of agents: created, recorded, inspected, removed without losing work.

In the parameters, `git` may run in any folder, `repository` runs in the repository or one of its worktrees, and `here`
in the worktree; `checkout` is a worktree as declared, and `now` is in seconds since the epoch.
"""
