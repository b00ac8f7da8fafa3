"""Doing the runs of recipes: which folder is whose, who does a run, and what they come to."""
