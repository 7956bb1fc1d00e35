"""What a cluster gets: images and manifests. It stands above all rooms, as ``flows`` does."""
