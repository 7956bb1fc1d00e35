"""What a database must do for a packed store, and what follows: patience, and wholeness of views."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from feast import FeatureView, RepoConfig
from feast.repo_config import FeastConfigBaseModel

T = TypeVar("T")

MARK = b"mark"
"""Key of a view's mark. No entity key is like it: they begin with a count of join keys, and a length each."""

FILLING, WHOLE = b"filling:", b"whole:"
"""What a mark begins with, before the random identity that a view's values get when they begin."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds before a write is tried again: doubled each time, up to the longest."""


class OnlineStoreError(RuntimeError):
    """The online store does not answer or lost what was written; the message names the remedy."""


class PackedConfig(FeastConfigBaseModel):
    """What every packed store can be told in ``feature_store.yaml``."""

    retry_seconds: float = 30.0
    """How long a write is tried again while the store is away or busy."""


@dataclass(frozen=True)
class Filling:
    """A view's values as a materialization found them: if they are others at its end, some were lost."""

    identity: bytes
    epoch: str


class PackedDatabase(ABC):
    """Byte keys with byte values for each view. Each primitive is atomic and may be done twice."""

    @abstractmethod
    def read(self, config: RepoConfig, view: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Values of keys, all as of one moment; None where there is none, also for an unknown view."""

    @abstractmethod
    def write(self, config: RepoConfig, view: str, values: Mapping[bytes, bytes]) -> int:
        """Write values that are new, or differ and have no older stamp than the old one; return how many."""

    @abstractmethod
    def swap(self, config: RepoConfig, view: str, key: bytes, old: bytes | None, new: bytes) -> bool:
        """Replace a value if it is ``old`` (None: if there is none); say whether it was."""

    @abstractmethod
    def drop(self, config: RepoConfig, views: Sequence[str]) -> None:
        """Forget all values of views."""

    @abstractmethod
    def place(self, config: RepoConfig) -> str:
        """Where the database is, for messages; without a password."""

    @abstractmethod
    def passes(self, error: Exception) -> bool:
        """Whether the same write may succeed later."""

    def epoch(self, config: RepoConfig) -> str:
        """What changes when the database may have lost confirmed writes."""
        return ""

    def begin(self, config: RepoConfig, view: FeatureView) -> Filling:
        """Say that a materialization begins; ``complete`` wants what this returns."""
        name = name_of(config, view)

        def mark() -> Filling:
            epoch = self.epoch(config)
            self.swap(config, name, MARK, None, FILLING + os.urandom(16))
            found = self.read(config, name, [MARK])[0] or b""
            return Filling(found.partition(b":")[2], epoch)

        return self.persist(config, f"marking {view.name}", mark)

    def complete(self, config: RepoConfig, view: FeatureView, filling: Filling) -> bool:
        """Make a view readable as whole; False if values may have been lost since ``begin``."""
        name = name_of(config, view)
        whole = WHOLE + filling.identity

        def mark() -> bool:
            if self.epoch(config) != filling.epoch:
                return False
            return (
                self.swap(config, name, MARK, FILLING + filling.identity, whole)
                or self.read(config, name, [MARK])[0] == whole
            )

        return self.persist(config, f"marking {view.name}", mark)

    def persist(self, config: RepoConfig, doing: str, action: Callable[[], T]) -> T:
        """Do something until the database answers or ``retry_seconds`` are over.

        Raises:
            OnlineStoreError: they are over.
        """
        seconds = config.online_store.retry_seconds
        deadline = time.monotonic() + seconds
        pause = FIRST_PAUSE
        while True:
            try:
                return action()
            except Exception as error:
                if not self.passes(error):
                    raise
                if time.monotonic() + pause > deadline:
                    raise OnlineStoreError(
                        f"{doing}: the online store at {self.place(config)} has failed for {seconds:g} s "
                        f"({error}). What was written stays: start the store, then run the same again"
                    ) from error
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)


def name_of(config: RepoConfig, view: FeatureView) -> str:
    """A view's name in the database, which several projects may share."""
    return f"{config.project}/{view.name}"
