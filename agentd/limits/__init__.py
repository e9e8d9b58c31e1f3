"""What holds runs to their limits, and knows all that they started."""
