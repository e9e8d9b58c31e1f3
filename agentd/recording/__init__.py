"""What happened: transcripts of what agents print, and the journal of events."""
