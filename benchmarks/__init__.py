"""Benchmarks of sharpness-aware steps: time, memory, compilation. See docs/performance.md."""
