"""Lifelong learning: what is written at the end of a run: scores, figures."""
