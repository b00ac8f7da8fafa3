"""The sections of `python -m benchmarks.run`, one table each."""
