"""Lightning's Trainer as this project uses it: silent, repeatable, leaving no files behind."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch

from models.settings import TrainerSettings


@contextmanager
def quiet_trainer(epochs: int, settings: TrainerSettings | None = None) -> Iterator[pl.Trainer]:
    """Give a Trainer for ``epochs`` passes; what it writes is gone when the block ends.

    Args:
        epochs: passes over the data.
        settings: where it runs; None takes the environment.
    """
    settings = settings or TrainerSettings()
    on_gpu = settings.accelerator != "cpu" and torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        yield pl.Trainer(
            max_epochs=epochs,
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=settings.strategy,
            precision=settings.precision if on_gpu else "32-true",
            # Some operations have no repeatable form on a GPU: there it is a wish.
            deterministic="warn" if on_gpu else True,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=temporary,
        )
