"""Measures the feature store against Feast's defaults and against the floor of each database, in one run."""
