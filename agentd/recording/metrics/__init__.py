"""Metrics: what is counted, and the answer to GET /metrics."""
