"""What operations on workers answer."""
