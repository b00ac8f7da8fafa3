"""Multivariate time series: from a CSV file to batches of windows."""
