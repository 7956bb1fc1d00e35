"""Catalogue snapshots: which rentals could have been chosen at a time, with their features as of then."""

import numpy as np
import pandas as pd

from models.columns import ColumnError, Columns
from models.encoding import Encoding, RentalRows

ABSENT = -1
"""Position of a rental that is not in the snapshot, and number of the snapshot where there is none yet."""


def utc(times: pd.Series) -> pd.Series:
    """Return ``times`` as UTC timestamps; naive ones are taken as UTC."""
    return pd.to_datetime(times, utc=True)


class Catalogues:
    """Snapshots of the catalogue in order of time.

    Attributes:
        times: UTC start of each snapshot, ascending.
        rental_ids: for each snapshot its rental ids, in the order of the frame.
    """

    def __init__(self, frame: pd.DataFrame, columns: Columns) -> None:
        """Split ``frame`` by ``snapshot_at``.

        Raises:
            ColumnError: columns are missing, or a snapshot holds a rental twice.
        """
        columns.check_catalogue(frame)
        frame = frame.assign(snapshot_at=utc(frame["snapshot_at"]), rental_id=frame["rental_id"].astype(str))
        double = frame.duplicated(["snapshot_at", "rental_id"])
        if double.any():
            first = frame.loc[double, ["snapshot_at", "rental_id"]].iloc[0].tolist()
            raise ColumnError(
                f"{double.sum()} rentals occur twice in a snapshot, such as {first}; keep one row each"
            )
        self.times = pd.DatetimeIndex(sorted(frame["snapshot_at"].unique()))
        self.frames = [part.reset_index(drop=True) for _, part in frame.groupby("snapshot_at", sort=True)]
        self.rental_ids = [part["rental_id"].to_numpy() for part in self.frames]

    def encode(self, encoding: Encoding) -> list[RentalRows]:
        """Encode every snapshot."""
        return [encoding.rental.encode(part) for part in self.frames]

    def locate(self, events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Find each event's latest snapshot at or before its time, and its rental's position in it.

        Returns:
            Snapshot numbers and positions, int64 [events]; ``ABSENT`` where there is none.
        """
        snapshots = (
            self.times.searchsorted(pd.DatetimeIndex(utc(events["event_timestamp"])), side="right") - 1
        )
        positions = pd.concat(
            [
                pd.Series(np.arange(len(ids)), [np.full(len(ids), n), ids])
                for n, ids in enumerate(self.rental_ids)
            ]
        )
        wanted = pd.MultiIndex.from_arrays([snapshots, events["rental_id"].astype(str)])
        found = positions.reindex(wanted).fillna(ABSENT).to_numpy(np.int64)
        return snapshots.astype(np.int64), found
