"""Lightning's Trainer as this project uses it: silent, repeatable, on the CPU, leaving no files behind."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl


@contextmanager
def quiet_trainer(epochs: int) -> Iterator[pl.Trainer]:
    """Give a Trainer for ``epochs`` passes; what it writes is gone when the block ends."""
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        yield pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            deterministic=True,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=temporary,
        )
