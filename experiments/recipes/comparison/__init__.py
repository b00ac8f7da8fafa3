"""Comparisons of this project's own, in no paper."""
