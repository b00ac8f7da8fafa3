"""Measurements behind design decisions, kept so that they can be repeated."""
