"""Checkpoint files as data: from bytes to state dicts, and nothing in them is run."""
