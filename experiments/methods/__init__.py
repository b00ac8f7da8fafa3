"""Sharpness-aware methods and base optimizers, by name."""
