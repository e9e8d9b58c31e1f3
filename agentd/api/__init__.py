"""The read-only status API: pure views of a snapshot, served over a Unix socket."""
