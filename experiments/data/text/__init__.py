"""Parallel text: pairs of sentences from files to batches of subword tokens."""
