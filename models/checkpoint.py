"""A trained recommender with its catalogue as bytes, which hold no code.

The next training is compared with it, or goes on from it.
"""

import io
import json
import zipfile
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from pydantic import TypeAdapter, ValidationError

from models.encoding import Encoding
from models.recommender import Recommender
from models.settings import Hyperparameters

FILE = "checkpoint.npz"
"""Its name among a version's artifacts."""

ABOUT, CATALOGUE = "about", "catalogue"
"""Names of the entries beside the weights: what these belong to, and a parquet file."""

ENCODING = TypeAdapter(Encoding)


class CheckpointError(RuntimeError):
    """The bytes are no recommender of this code; the message names the remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """A recommender and the catalogue snapshot with which it was exported."""

    model: Recommender
    catalogue: pd.DataFrame

    def to_bytes(self) -> bytes:
        """Return both as the bytes of numpy's ``npz``."""
        about = {
            "encoding": ENCODING.dump_python(self.model.encoding, mode="json"),
            "hyperparameters": self.model.hyperparameters.model_dump(),
        }
        entries = {name: tensor.cpu().numpy() for name, tensor in self.model.state_dict().items()}
        entries[ABOUT] = np.array(json.dumps(about))
        entries[CATALOGUE] = np.frombuffer(self.catalogue.to_parquet(index=False), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **entries)
        return buffer.getvalue()


def restore(content: bytes) -> Checkpoint:
    """Read what ``to_bytes`` wrote; the recommender is in evaluation mode, on the CPU.

    Raises:
        CheckpointError: it is damaged, or of another architecture.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            about = json.loads(str(stored[ABOUT]))
            catalogue = pd.read_parquet(io.BytesIO(stored[CATALOGUE].tobytes()))
            names = set(stored.files) - {ABOUT, CATALOGUE}
            weights = {name: torch.from_numpy(stored[name]) for name in names}
        encoding = ENCODING.validate_python(about["encoding"])
        model = Recommender(
            encoding,
            np.zeros((1, len(encoding.columns.user_numeric)), np.float32),
            np.zeros((1, len(encoding.columns.rental_numeric)), np.float32),
            0.0,
            Hyperparameters(**about["hyperparameters"]),
        )
        model.load_state_dict(weights)
    # PyTorch tells of wrong names and shapes by RuntimeError, numpy of an empty file by EOFError.
    except (
        *(EOFError, KeyError, OSError, RuntimeError, ValueError),
        *(pa.ArrowException, ValidationError, zipfile.BadZipFile),
    ) as error:
        raise CheckpointError(
            f"the trained weights cannot be read by this code ({type(error).__name__}: {str(error)[:200]})"
        ) from error
    return Checkpoint(model.eval(), catalogue)
