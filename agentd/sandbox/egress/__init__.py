"""What a sandbox without a network reaches by name: a proxy of CONNECT requests, in a process of its own."""
