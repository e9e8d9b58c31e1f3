"""What the tests share: the scripted misbehaving agent, a real daemon to drive, waiting, the process table."""
