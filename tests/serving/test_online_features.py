import asyncio
import threading
import time
from collections.abc import Mapping

import pytest

from feature_repo.names import RECOMMENDER_REQUEST_FEATURES
from serving import online_features
from serving.online_features import FeatureStore, FeaturesUnavailableError, OnlineFeatureReader


class CountingStore:
    """Counts its readings and notes the threads they come from."""

    def __init__(self) -> None:
        self.readings: list[str] = []
        self.threads: set[int] = set()

    def user(self, user_id: str, purpose: str | None = None) -> Mapping[str, float | str | None]:
        return self._read(user_id)

    def rentals(self, rental_ids: list[str]) -> list[Mapping[str, float | str | None]]:
        return [self._read(rental_id) for rental_id in rental_ids]

    def _read(self, name: str) -> Mapping[str, float | str | None]:
        self.readings.append(name)
        self.threads.add(threading.get_ident())
        return {"rental_category": name}


def reader(store: FeatureStore, cache_seconds: float = 60) -> OnlineFeatureReader:
    return OnlineFeatureReader(lambda: store, rental_seconds=cache_seconds, user_seconds=60)


def test_every_feature_is_there_even_if_the_store_gives_only_some() -> None:
    features = asyncio.run(reader(CountingStore()).user("u0", None, 5))

    assert {feature.name for feature in RECOMMENDER_REQUEST_FEATURES} <= set(features)


def test_rentals_are_read_once_while_they_are_fresh() -> None:
    store = CountingStore()
    features = reader(store)

    async def twice() -> None:
        await features.rentals(["a", "b"], 5)
        found = await features.rentals(["b", "c", "b"], 5)
        assert [values["rental_category"] for values in found] == ["b", "c", "b"]

    asyncio.run(twice())
    assert store.readings == ["a", "b", "c"]


def test_stale_rentals_are_read_again() -> None:
    store = CountingStore()
    features = reader(store, cache_seconds=0)

    asyncio.run(features.rentals(["a"], 5))
    asyncio.run(features.rentals(["a"], 5))

    assert store.readings == ["a", "a"]


def test_the_store_is_read_from_one_thread_which_is_not_the_callers() -> None:
    store = CountingStore()
    features = reader(store)

    async def many() -> None:
        await features.open()
        await asyncio.gather(*(features.user(str(number), None, 5) for number in range(50)))

    asyncio.run(many())
    assert len(store.threads) == 1 and threading.get_ident() not in store.threads


def test_a_late_store_is_told_and_does_not_hold_up_the_caller() -> None:
    released = threading.Event()

    class LateStore(CountingStore):
        def user(self, user_id: str, purpose: str | None = None) -> Mapping[str, float | str | None]:
            released.wait()
            return {}

    late = OnlineFeatureReader(LateStore, rental_seconds=0, user_seconds=60)
    try:
        with pytest.raises(FeaturesUnavailableError, match=r"longer than 0\.01 s"):
            asyncio.run(late.user("u0", None, 0.01))
    finally:
        released.set()


def test_a_user_is_kept_for_the_time_when_the_store_fails() -> None:
    store = CountingStore()
    features = reader(store)

    read = asyncio.run(features.user("u0", "party", 5))

    assert features.kept("u0", "party") == read
    assert features.kept("u0", None) is features.kept("u1", "party") is None


def test_hostile_ids_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_features, "MOST_USERS", 10)
    monkeypatch.setattr(online_features, "MOST_RENTALS", 10)
    features = reader(CountingStore())

    async def many() -> None:
        for number in range(50):
            await features.user(str(number), None, 5)
        assert len(await features.rentals([str(number) for number in range(50)], 5)) == 50

    asyncio.run(many())
    assert [features.kept(str(number), None) is not None for number in (0, 39, 40, 49)] == [0, 0, 1, 1]


def test_a_store_that_hangs_gathers_no_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_features, "MOST_WAITING", 2)
    released = threading.Event()

    class HangingStore(CountingStore):
        def user(self, user_id: str, purpose: str | None = None) -> Mapping[str, float | str | None]:
            released.wait(10)
            return super().user(user_id, purpose)

    store = HangingStore()
    features = reader(store)

    async def ask() -> list[str]:
        reasons = []
        for number in range(4):
            with pytest.raises(FeaturesUnavailableError) as caught:
                await features.user(str(number), None, 0.01)
            reasons.append(str(caught.value))
        released.set()
        while len(store.readings) < 2:
            await asyncio.sleep(0.01)
        await features.user("later", None, 5)
        return reasons

    reasons = asyncio.run(ask())
    assert ["longer than" in reason for reason in reasons] == [True, True, False, False]
    assert reasons[3] == "2 requests wait for online features already"
    assert store.readings == ["0", "1", "later"]


def test_a_store_that_fails_is_opened_anew_but_not_at_every_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[CountingStore] = []

    class FailingStore(CountingStore):
        def user(self, user_id: str, purpose: str | None = None) -> Mapping[str, float | str | None]:
            raise LookupError("not registered")

    def open_store() -> FeatureStore:
        opened.append(FailingStore() if not opened else CountingStore())
        return opened[-1]

    features = OnlineFeatureReader(open_store, rental_seconds=0, user_seconds=60)
    for _ in range(3):
        with pytest.raises(FeaturesUnavailableError, match="not registered"):
            asyncio.run(features.user("u0", None, 5))
    assert len(opened) == 1

    later = time.monotonic() + online_features.REOPEN_SECONDS
    monkeypatch.setattr(online_features.time, "monotonic", lambda: later)
    with pytest.raises(FeaturesUnavailableError, match="not registered"):
        asyncio.run(features.user("u0", None, 5))
    asyncio.run(features.user("u0", None, 5))
    assert len(opened) == 2


def test_a_store_that_cannot_be_opened_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def open_store() -> FeatureStore:
        tries.append(len(tries))
        if len(tries) == 1:
            raise OSError("no registry")
        return CountingStore()

    features = OnlineFeatureReader(open_store, rental_seconds=0, user_seconds=60)
    for _ in range(2):
        with pytest.raises(FeaturesUnavailableError, match="OSError: no registry"):
            asyncio.run(features.user("u0", None, 5))
    assert len(tries) == 1

    later = time.monotonic() + online_features.REOPEN_SECONDS
    monkeypatch.setattr(online_features.time, "monotonic", lambda: later)
    asyncio.run(features.user("u0", None, 5))
    assert len(tries) == 2
