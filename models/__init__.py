"""What the recommender is: data, Lightning module, evaluation, ONNX export and registry."""

import os

# ONNX Runtime reads it when it is loaded: it would write to the user's home and report to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The function, under the name of its module: `from models import load`.
from models.load import load

__all__ = ["load"]
