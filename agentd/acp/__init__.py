"""The renderer: a conversation with an agent that speaks the Agent Client Protocol, in a terminal.

It runs the agent, shows what it says, and takes messages and answers from whoever is at the terminal, and from agentd
by the socket for hooks. A program of its own in the agent's pane, in 0.1 s and 22 MB: of the standard library, and of
agentd what needs nothing else. The protocol's own library takes half a second and 42 MB before it does anything.
"""
