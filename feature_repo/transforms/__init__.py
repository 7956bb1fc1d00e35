"""Spark transformations: pure functions from DataFrames to a DataFrame."""
