"""The seldon-core component for feedback. It runs in its own environment and imports no other room."""
