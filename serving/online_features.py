"""Online features for the API: late or absent ones degrade an answer, they do not prevent it."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from cachetools import TTLCache

from feature_repo.names import RECOMMENDER_RENTAL_FEATURES, RECOMMENDER_REQUEST_FEATURES

T = TypeVar("T")
FeatureValues = Mapping[str, float | str | None]

REOPEN_SECONDS = 10.0
"""Time after which a store that cannot be opened, or fails, is opened anew: that costs a part of a second."""

MOST_USERS = 2_000
"""Users whose last features are kept: of 5 kB each, for the minutes in which a store is away."""

MOST_WAITING = 256
"""Reads that wait for the store at a time: some tenths of a second for it, and a bound for one that hangs."""

MOST_RENTALS = 50_000
"""Rentals whose features are kept, of 2 kB each."""

NO_REQUEST_FEATURES: FeatureValues = {feature.name: None for feature in RECOMMENDER_REQUEST_FEATURES}
NO_RENTAL_FEATURES: FeatureValues = {feature.name: None for feature in RECOMMENDER_RENTAL_FEATURES}


class FeatureStore(Protocol):
    """What the API needs of the feature store."""

    def user(self, user_id: str, purpose: str | None = None) -> Mapping[str, float | str | None]:
        """Features of a user's request for a purpose by name, None where unknown."""

    def rentals(self, rental_ids: list[str]) -> Sequence[Mapping[str, float | str | None]]:
        """Features of rentals by name, in order, None where unknown."""


class FeaturesUnavailableError(RuntimeError):
    """The feature store cannot be opened, fails, or is late."""


class OnlineFeatureReader:
    """Reads from a store in one thread, because stores are not made for several, and never waits for long."""

    def __init__(
        self, open_store: Callable[[], FeatureStore], rental_seconds: float, user_seconds: float
    ) -> None:
        """Take a store which is opened at the first use.

        Args:
            open_store: opens the store; tried again later if it fails.
            rental_seconds: how long the features of a rental are taken from memory.
            user_seconds: how long those of a user are kept for the case that the store fails.
        """
        self._open_store = open_store
        self._store: FeatureStore | None = None
        self._free = threading.BoundedSemaphore(MOST_WAITING)
        self._next_try = 0.0
        self._reason = ""
        self._rentals: TTLCache[str, FeatureValues] = TTLCache(MOST_RENTALS, rental_seconds, time.monotonic)
        self._users: TTLCache[tuple[str, str | None], FeatureValues] = TTLCache(
            MOST_USERS, user_seconds, time.monotonic
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="features")

    async def open(self) -> None:
        """Open the store, however long it takes; a failure is told by ``user`` and ``rentals``."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._try_to_open)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def user(self, user_id: str, purpose: str | None, seconds: float) -> FeatureValues:
        """Features of a user's request for a purpose by name, None where unknown.

        Raises:
            FeaturesUnavailableError: with the reason, such as that it took longer than ``seconds``.
        """
        found = await self._run(
            lambda store: {**NO_REQUEST_FEATURES, **store.user(user_id, purpose)}, seconds
        )
        self._users[user_id, purpose] = found
        return found

    def kept(self, user_id: str, purpose: str | None) -> FeatureValues | None:
        """Return what ``user`` returned last, where that is not long ago."""
        return self._users.get((user_id, purpose))

    async def rentals(self, rental_ids: list[str], seconds: float) -> list[FeatureValues]:
        """Features of rentals, in order; those read lately come from memory.

        Raises:
            FeaturesUnavailableError: as for ``user``.
        """
        kept = {name: values for name in rental_ids if (values := self._rentals.get(name))}
        missing = [name for name in dict.fromkeys(rental_ids) if name not in kept]
        if missing:

            def read(store: FeatureStore) -> dict[str, FeatureValues]:
                answers = zip(missing, store.rentals(missing), strict=True)
                return {name: {**NO_RENTAL_FEATURES, **values} for name, values in answers}

            found = await self._run(read, seconds)
            self._rentals.update(found)
            kept |= found
        return [kept[name] for name in rental_ids]

    async def _run(self, read: Callable[[FeatureStore], T], seconds: float) -> T:
        if not self._free.acquire(blocking=False):
            raise FeaturesUnavailableError(f"{MOST_WAITING} requests wait for online features already")
        reading = asyncio.get_running_loop().run_in_executor(self._thread, self._read_and_free, read)
        # It is not cancelled when it is late: what is cancelled stays in the thread's queue, uncounted.
        await asyncio.wait({reading}, timeout=seconds)
        if not reading.done():
            reading.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise FeaturesUnavailableError(f"online features took longer than {seconds:.3g} s")
        try:
            return reading.result()
        except FeaturesUnavailableError:
            raise
        except Exception as error:
            # Whatever a store fails with, the user still gets an answer, which says why it is degraded.
            raise FeaturesUnavailableError(
                f"online features failed: {type(error).__name__}: {error}"
            ) from error

    def _read_and_free(self, read: Callable[[FeatureStore], T]) -> T:
        try:
            return self._read(read)
        finally:
            self._free.release()

    def _read(self, read: Callable[[FeatureStore], T]) -> T:
        if self._store is None and time.monotonic() >= self._next_try:
            self._try_to_open()
        if self._store is None:
            raise FeaturesUnavailableError(self._reason)
        try:
            return read(self._store)
        except Exception:
            # It may have been opened before its features were registered.
            if time.monotonic() >= self._next_try:
                self._try_to_open()
            raise

    def _try_to_open(self) -> None:
        self._next_try = time.monotonic() + REOPEN_SECONDS
        try:
            self._store = self._open_store()
        except Exception as error:
            self._reason = f"the feature store cannot be opened: {type(error).__name__}: {error}"
