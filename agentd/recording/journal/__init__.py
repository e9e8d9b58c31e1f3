"""The journal: events, kept on disk and handed to readers."""
