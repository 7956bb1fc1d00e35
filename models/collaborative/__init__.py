"""Collaborative filtering: models that know only who chose what, when and how it was rated."""
