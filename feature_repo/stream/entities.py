"""The lake's users and rentals as the stream needs them: attributes of events, profiles, beginnings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo import lake
from feature_repo.history import STARTS
from feature_repo.names import CLASS_WIDTH, CLASSES, VIEWS
from feature_repo.schema import KEYS, TABLES
from feature_repo.transforms.activity import ARROW_TYPES
from feature_repo.transforms.running import ATTRIBUTES, EVENTS
from feature_repo.views import ENTITY_ATTRIBUTES, View

NOT_STARTED = np.iinfo(np.int64).max
"""Stands for the beginning of a rental or user that the lake does not know."""


def microseconds(times: pd.Series) -> pd.Series:
    """Microseconds since 1970 of times with a zone."""
    return times.astype("datetime64[us, UTC]").astype("int64")


class Entities:
    """Users and rentals, as of a time."""

    def __init__(self, folder: Path, now: int) -> None:
        self._tables = {}
        self._started = {}
        for table, column in STARTS.items():
            frame = _read(folder, table).set_index(KEYS[table], drop=False)
            if table == "users":
                frame = with_classes(frame)
            self._tables[table] = frame
            self._started[table] = microseconds(frame[column])
        self._existing = {name: frame[self._started[name] <= now] for name, frame in self._tables.items()}
        self._now = now

    def begins_after(self) -> list[int]:
        """When those begin that do not exist yet."""
        return [int(at) for started in self._started.values() for at in started[started > self._now]]

    def with_attributes(self, ratings: pd.DataFrame) -> pd.DataFrame:
        """Add ``known_at`` and what ratings take from rentals and users; see ``batch.with_attributes``.

        Args:
            ratings: the keys and, in microseconds since 1970, ``event_timestamp`` and ``arrived_at``.
        """
        ratings = ratings.assign(known_at=ratings[["arrived_at", "event_timestamp"]].max(axis=1))
        for table, attributes in ENTITY_ATTRIBUTES.items():
            keys = ratings[KEYS[table]]
            started = self._started[table].reindex(keys, fill_value=NOT_STARTED)
            existing = keys.where(started.to_numpy() <= ratings["known_at"].to_numpy())
            found = self._tables[table][list(attributes)].reindex(existing)
            ratings = ratings.assign(**{name: found[name].to_numpy() for name in attributes})
        return ratings

    def beginnings(self, view: View, since: int | None) -> pa.Table:
        """The events that make the keys of ``view`` exist: those known at ``since`` or later, and by now."""
        if not view.starts:
            return EVENTS.empty_table()
        table, started = self._tables[view.starts], self._started[view.starts]
        frame = pd.DataFrame(
            {
                "key": table[view.key],
                # An entity exists from its start on, not from just after it.
                "known_at": started - 1,
                "happened_at": started,
                "rating": None,
                **{name: table[name] if name in view.start_measures else None for name in ATTRIBUTES},
            }
        )
        chosen = frame["key"].notna() & (started <= self._now)
        if since is not None:
            chosen &= frame["known_at"] >= since
        return pa.Table.from_pandas(frame[chosen], EVENTS, preserve_index=False)

    def profile(self, view: View, keys: list[str]) -> dict[str, pa.Array]:
        """The features of ``keys`` that are columns of their own table; null where they are not known."""
        if not view.profile:
            return {}
        kinds = {feature.name: feature.kind for feature in VIEWS[view.name]}
        found = self._existing[view.starts][list(view.profile)].reindex(keys)
        return {
            f"{view.prefix}_{name}": pa.array(found[name], from_pandas=True).cast(
                ARROW_TYPES[kinds[f"{view.prefix}_{name}"]], safe=False
            )
            for name in view.profile
        }


def with_classes(users: pd.DataFrame) -> pd.DataFrame:
    """Add the classes of the profile; see ``batch.with_classes``."""
    for number, (name, _) in CLASSES.items():
        lower = np.floor(users[number] / CLASS_WIDTH) * CLASS_WIDTH
        users = users.assign(**{name: lower.map("{:.0f}".format).where(lower.notna(), None)})
    return users


def _read(folder: Path, table: str) -> pd.DataFrame:
    if not any((folder / table).glob("*.parquet")):
        return TABLES[table].empty_table().to_pandas()
    return lake.read(folder, table)


def events(view: View, ratings: pd.DataFrame) -> pa.Table:
    """Ratings ``with_attributes`` as events of ``view`` (``EVENTS``); see ``batch.view_events``."""
    frame = pd.DataFrame(
        {
            "key": ratings[view.key],
            "known_at": ratings["known_at"],
            "happened_at": ratings["event_timestamp"],
            "rating": ratings["rating"],
            **{name: ratings[name] if view.keeps(name) else None for name in ATTRIBUTES},
        }
    )
    return pa.Table.from_pandas(frame[frame["key"].notna()], EVENTS, preserve_index=False)


def marks(folder: Path) -> dict[str, str]:
    """Each batch of the lake, as ``table/file``, with its mark."""
    return {
        f"{table}/{path.name}": mark(path) for table in TABLES for path in (folder / table).glob("*.parquet")
    }


def mark(path: Path) -> str:
    """What changes when a batch is written again."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"
