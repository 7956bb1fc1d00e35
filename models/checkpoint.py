"""A trained recommender as a file, from which a later training goes on: numbers and text, no code."""

import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from models.encoding import Encoding
from models.files import replacing
from models.recommender import Recommender
from models.settings import Hyperparameters

ABOUT = "about"
"""Name of the entry that says what the weights belong to; no weight is named so."""

ENCODING = TypeAdapter(Encoding)


class CheckpointError(ValueError):
    """The file is no checkpoint of this code's recommender."""


def save(model: Recommender, path: Path) -> Path:
    """Write ``model`` to ``path``, which appears whole or not at all."""
    about = {
        "encoding": ENCODING.dump_python(model.encoding, mode="json"),
        "hyperparameters": model.hyperparameters.model_dump(),
    }
    weights = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{ABOUT: np.array(json.dumps(about))} | weights)
    return path


def load(path: Path) -> Recommender:
    """Read what ``save`` wrote; the recommender is in evaluation mode, on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or of another architecture.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored[ABOUT]))
            weights = {name: torch.from_numpy(stored[name]) for name in stored.files if name != ABOUT}
        encoding = ENCODING.validate_python(about["encoding"])
        model = Recommender(
            encoding,
            np.zeros((1, len(encoding.columns.user_numeric)), np.float32),
            np.zeros((1, len(encoding.columns.rental_numeric)), np.float32),
            0.0,
            Hyperparameters(**about["hyperparameters"]),
        )
        model.load_state_dict(weights)
    # PyTorch tells of wrong names and shapes by RuntimeError.
    except (OSError, KeyError, ValueError, ValidationError, zipfile.BadZipFile, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint of this recommender ({str(error)[:200]}): train without it"
        ) from error
    return model.eval()
