"""What the recommender is: data, Lightning module, evaluation, ONNX export and registry."""
