"""What the gateway speaks of: pure values and functions over them."""
