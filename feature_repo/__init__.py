"""What a feature is: contracts, readers, Spark transformations, Feast definitions and the store."""
