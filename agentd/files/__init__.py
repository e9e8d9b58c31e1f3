"""Files: read without blocking, replaced atomically, locked, looked at within a deadline."""
