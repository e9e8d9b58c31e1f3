"""Text in and out: quoting, durations, sizes, timestamps, tables. No I/O."""
