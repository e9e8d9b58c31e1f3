"""Rules that decide what agents ask for: read, matched and acted on."""
