"""The declarative file: its model, loading, expansion, secrets and positions. The lowest layer."""
