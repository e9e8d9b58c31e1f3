"""Messages by brokers: each channel has one agent, and one task that owns all that is done for it."""
