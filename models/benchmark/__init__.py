"""The benchmark for anybody's data: plain files in, a table of models and their figures out."""
