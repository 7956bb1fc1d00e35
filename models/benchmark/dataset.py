"""Training and test events as codes, with features and negatives in the order of the codes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from models.benchmark.tables import FileError, read_features, read_interactions, read_negatives
from models.collaborative.features import feature_matrix
from models.collaborative.interactions import Interactions, Protocol


@dataclass(frozen=True)
class Files:
    """What the command was given."""

    train: Path
    test: Path
    negatives: Path | None = None
    user_features: Path | None = None
    item_features: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """One benchmark's data."""

    train: Interactions
    train_ratings: np.ndarray | None
    """float64 [train events]."""

    test_users: np.ndarray
    test_items: np.ndarray
    """Codes [test events]."""

    test_ratings: np.ndarray | None
    """float64 [test events]."""

    negatives: np.ndarray | None
    """Codes of the items that each test event's item is compared with [test events, most]; -1 where fewer."""

    user_features: sp.csr_matrix | None
    item_features: sp.csr_matrix | None
    protocol: Protocol

    def blind(self) -> "Dataset":
        """Return what a model may see: no test rating and, of a ranking, no test item and no negatives."""
        if self.train_ratings is not None:
            return replace(self, test_ratings=None)
        return replace(self, test_items=np.empty(0, dtype=np.int64), negatives=None)

    @property
    def summary(self) -> dict[str, int | bool]:
        """Sizes, and what the files hold."""
        return {
            "users": self.train.user_count,
            "items": self.train.item_count,
            "train": len(self.train),
            "test": len(self.test_users),
            "new_users_in_test": int(np.setdiff1d(self.test_users, self.train.users).size),
            "new_items_in_test": int(np.setdiff1d(self.test_items, self.train.items).size),
            "timestamps": self.train.times is not None,
            "user_features": 0 if self.user_features is None else int(self.user_features.shape[1]),
            "item_features": 0 if self.item_features is None else int(self.item_features.shape[1]),
            "test_follows_train": self.protocol.last,
        }


def load(files: Files, task: str) -> Dataset:
    """Read the files of a benchmark.

    The catalogue is every item of train, test and negatives.

    Args:
        files: their paths.
        task: ``rating`` or ``ranking``.

    Raises:
        FileError: a file cannot be used, or the files do not fit each other.
    """
    rated = task == "rating"
    train, test = read_interactions(files.train, rated), read_interactions(files.test, rated)
    _check_apart(files, train, test)
    given = read_negatives(files.negatives) if files.negatives and not rated else None
    others = (
        [] if given is None else [np.concatenate([np.array(row, dtype=str) for row in given["negatives"]])]
    )
    users = np.unique(np.concatenate([train["user"], test["user"]]).astype(str))
    items = np.unique(np.concatenate([train["item"], test["item"], *others]).astype(str))
    events = Interactions(
        _codes(train["user"], users),
        _codes(train["item"], items),
        len(users),
        len(items),
        train["timestamp"].to_numpy() if "timestamp" in train else None,
    )
    negatives = None if given is None else _negatives(files, test, given, items)
    return Dataset(
        events,
        train["rating"].to_numpy() if rated else None,
        _codes(test["user"], users),
        _codes(test["item"], items),
        test["rating"].to_numpy() if rated else None,
        negatives,
        _features(files.user_features, users, files.train),
        _features(files.item_features, items, files.train),
        Protocol(
            _test_follows_train(train, test),
            None if negatives is None else int(np.median((negatives >= 0).sum(axis=1))),
        ),
    )


def _codes(values: pd.Series, ids: np.ndarray) -> np.ndarray:
    return np.searchsorted(ids, values.to_numpy(dtype=str)).astype(np.int64)


def _check_apart(files: Files, train: pd.DataFrame, test: pd.DataFrame) -> None:
    both = test.merge(train[["user", "item"]], on=["user", "item"])
    if len(both):
        pair = both.iloc[0]
        raise FileError(
            files.test,
            [f"{len(both)} pairs are in the training file too (user {pair['user']}, item {pair['item']}, …)"],
        )


def _negatives(files: Files, test: pd.DataFrame, given: pd.DataFrame, items: np.ndarray) -> np.ndarray:
    rows = test[["user", "item"]].merge(given, on=["user", "item"], how="left")["negatives"]
    missing = rows.isna()
    if missing.any():
        pair = test[missing.to_numpy()].iloc[0]
        raise FileError(
            files.negatives or files.test,
            [f"{missing.sum()} test events have no line (user {pair['user']}, item {pair['item']}, …)"],
        )
    codes = np.full((len(rows), max(len(row) for row in rows)), -1)
    for number, row in enumerate(rows):
        codes[number, : len(row)] = np.searchsorted(items, np.array(row, dtype=str))
    return codes


def _features(path: Path | None, ids: np.ndarray, train: Path) -> sp.csr_matrix | None:
    if path is None:
        return None
    table = read_features(path)
    if not len(np.intersect1d(table.index.to_numpy(dtype=str), ids)):
        raise FileError(path, [f"none of its ids is in {train}"])
    matrix = feature_matrix(table.reindex(ids).reset_index(drop=True))
    return matrix if matrix.shape[1] else None


def _test_follows_train(train: pd.DataFrame, test: pd.DataFrame) -> bool:
    # Only when most test events are no earlier than their users' last training event may a user's last events
    # stand for what comes next; files that were split at random have tests in between.
    if "timestamp" not in train:
        return False
    if "timestamp" not in test:
        return True
    last = test["user"].map(train.groupby("user")["timestamp"].max())
    return bool((test["timestamp"] >= last)[last.notna()].mean() > MOSTLY)


MOSTLY = 0.9
"""Share of test events after their users' training events that makes a split by time."""
