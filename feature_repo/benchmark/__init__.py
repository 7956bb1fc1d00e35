"""Figures of the feature store, each with its baseline from the same run: ``make bench-features``."""
