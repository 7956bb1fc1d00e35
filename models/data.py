"""Events to batches: the time-ordered split, and batches that share a catalogue snapshot."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from models.catalogues import Catalogues, utc
from models.encoding import Encoding, RentalRows, UserRows
from models.settings import Hyperparameters


class Batch(NamedTuple):
    """Events of one snapshot, and that snapshot's catalogue.

    ``target`` is the rental's position in the catalogue, or ``ABSENT``.
    """

    user_codes: Tensor
    user_numbers: Tensor
    user_recent: Tensor
    rental_codes: Tensor
    rental_numbers: Tensor
    rating: Tensor
    target: Tensor
    catalogue_codes: Tensor
    catalogue_numbers: Tensor
    catalogue_lifts: Tensor


def tensors(rows: UserRows | RentalRows) -> tuple[Tensor, Tensor, Tensor]:
    """Return the inputs of a side as tensors, which share the arrays' memory."""
    first, second, third = rows
    return torch.from_numpy(first), torch.from_numpy(second), torch.from_numpy(third)


def split_by_time(events: pd.DataFrame, test_from: pd.Timestamp | str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split into the events before ``test_from`` (UTC) and those from it on, each in order of time.

    Raises:
        ValueError: one of the two would be empty.
    """
    boundary = pd.Timestamp(test_from)
    boundary = boundary.tz_localize("UTC") if boundary.tzinfo is None else boundary.tz_convert("UTC")
    times = utc(events["event_timestamp"])
    ordered = events.iloc[np.argsort(times.to_numpy(), kind="stable")]
    late = utc(ordered["event_timestamp"]) >= boundary
    if late.all() or not late.any():
        raise ValueError(
            f"no events on one side of {boundary}: they run from {times.min()} to {times.max()}; "
            "choose a boundary between"
        )
    return ordered[~late].reset_index(drop=True), ordered[late].reset_index(drop=True)


class EventDataset(Dataset[Batch]):
    """Training events as tensors; an index is the list of the event numbers of a whole batch."""

    def __init__(self, events: pd.DataFrame, catalogues: Catalogues, encoding: Encoding) -> None:
        """Encode all events and snapshots once."""
        self.snapshots, positions = catalogues.locate(events)
        self.catalogues = [tensors(rows) for rows in catalogues.encode(encoding)]
        self.user = tensors(encoding.user.encode(events))
        self.rental = tensors(encoding.rental.encode(events))
        self.rating = torch.from_numpy(events["rating"].to_numpy(np.float32))
        self.target = torch.from_numpy(positions)

    def __len__(self) -> int:
        """Number of events."""
        return len(self.rating)

    def to(self, device: torch.device) -> None:
        """Move all to ``device``: a batch's way there would take longer than its step."""
        self.catalogues = [_moved(catalogue, device) for catalogue in self.catalogues]
        self.user, self.rental = _moved(self.user, device), _moved(self.rental, device)
        self.rating, self.target = self.rating.to(device), self.target.to(device)

    def __getitem__(self, indices: list[int]) -> Batch:
        """Return the events ``indices``, which are all of one snapshot."""
        rows = torch.tensor(indices, device=self.rating.device)
        # Events before the first snapshot have no target; any catalogue serves as their (unused) one.
        catalogue = self.catalogues[max(int(self.snapshots[indices[0]]), 0)]
        return Batch(
            self.user[0][rows],
            self.user[1][rows],
            self.user[2][rows],
            self.rental[0][rows],
            self.rental[1][rows],
            self.rating[rows],
            self.target[rows],
            *catalogue,
        )


class SnapshotBatchSampler(Sampler[list[int]]):
    """Batches of events which share a snapshot, in an order drawn anew each epoch from the seed.

    A snapshot's batches are of equal size, to one, so that none is a remainder of a handful.
    """

    def __init__(self, snapshots: np.ndarray, batch_size: int, seed: int) -> None:
        """Group event numbers by ``snapshots`` [events]."""
        self.groups = [np.flatnonzero(snapshots == number) for number in np.unique(snapshots)]
        self.batch_size = batch_size
        self.generator = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return sum(-(-len(group) // self.batch_size) for group in self.groups)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield lists of event numbers."""
        batches = []
        for group in self.groups:
            shuffled = self.generator.permutation(group)
            batches += np.array_split(shuffled, -(-len(group) // self.batch_size))
        for number in self.generator.permutation(len(batches)):
            yield batches[number].tolist()


class EventData(pl.LightningDataModule):
    """Training batches for the Trainer."""

    def __init__(
        self,
        events: pd.DataFrame,
        catalogues: Catalogues,
        encoding: Encoding,
        hyperparameters: Hyperparameters,
    ) -> None:
        """Encode ``events``, the training events, against their ``catalogues``."""
        super().__init__()
        self.dataset = EventDataset(events, catalogues, encoding)
        self.sampler = SnapshotBatchSampler(
            self.dataset.snapshots, hyperparameters.batch_size, hyperparameters.seed
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of whole batches, so that Lightning can deal them out to several devices.

        The tensors are where the training is, so worker processes and pinned memory would only cost.
        """
        if self.trainer:
            self.dataset.to(self.trainer.strategy.root_device)
        return DataLoader(self.dataset, batch_size=None, sampler=self.sampler, collate_fn=_as_is)


def _moved(part: tuple[Tensor, Tensor, Tensor], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = part
    return first.to(device), second.to(device), third.to(device)


def _as_is(batch: Any) -> Any:
    # The dataset gives whole batches, so there is nothing to collate.
    return batch
