"""Decoding: from a trained sequence model to its most probable outputs."""
