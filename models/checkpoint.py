"""A trained recommender with its catalogue as bytes: what the next training is compared with."""

import io
from dataclasses import dataclass

import pandas as pd
import torch

from models.recommender import Recommender

FILE = "checkpoint.pt"
"""Its name among a version's artifacts."""


class CheckpointError(RuntimeError):
    """The bytes are no recommender for this code; the message names the remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """A recommender and the catalogue snapshot with which it was exported."""

    model: Recommender
    catalogue: pd.DataFrame

    def to_bytes(self) -> bytes:
        """Return both, readable by the same code alone: unlike ONNX, which serves."""
        buffer = io.BytesIO()
        torch.save((self.model, self.catalogue), buffer)
        return buffer.getvalue()


def restore(content: bytes) -> Checkpoint:
    """Read what ``to_bytes`` wrote. It is a pickle: only from one's own registry.

    Raises:
        CheckpointError: it was written by other code, or is damaged.
    """
    try:
        return Checkpoint(*torch.load(io.BytesIO(content), map_location="cpu", weights_only=False))
    except Exception as error:
        # Whatever a pickle of other classes raises.
        raise CheckpointError(f"the trained weights cannot be read by this code ({error!r})") from error
