"""Is it still right: data expectations, drift statistics and the log of what was served."""
