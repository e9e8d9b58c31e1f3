"""The tools, by toolsets: a host is shown those it asked for, as each costs tokens in every turn."""
