"""Comparisons of this project: methods at their best settings."""
