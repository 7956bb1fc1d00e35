"""The replay: policies of retraining on one stream of real months."""
