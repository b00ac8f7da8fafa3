"""The measures of `python -m experiments.analyze`, one file each."""
