"""Gemini CLI: its session file, and the screen for whose move it is. Tried with 0.61.0."""
