import numpy as np
import pandas as pd
import pytest

from models.catalogues import ABSENT, Catalogues
from models.data import EventData, SnapshotBatchSampler, split_by_time
from models.encoding import Encoding
from models.settings import Hyperparameters


def test_the_split_is_ordered_and_loses_nothing(market):
    shuffled = pd.concat([market.test, market.train]).sample(frac=1, random_state=1)
    train, test = split_by_time(shuffled, "2024-05-01")
    assert train["event_timestamp"].is_monotonic_increasing
    assert (
        train["event_timestamp"].max() < pd.Timestamp("2024-05-01", tz="UTC") <= test["event_timestamp"].min()
    )
    assert len(train) + len(test) == len(shuffled)


def test_a_split_with_an_empty_side_names_the_period(market):
    with pytest.raises(ValueError, match="2023-12-01"):
        split_by_time(market.train, "2030-01-01")


def test_an_event_uses_the_latest_snapshot_at_or_before_it(market, columns):
    catalogues = Catalogues(market.catalogues, columns)
    times = ["2023-12-31", "2024-01-01", "2024-01-31", "2024-02-01", "2030-01-01"]
    events = pd.DataFrame(
        {"event_timestamp": pd.to_datetime(times), "rental_id": ["r3", "r3", "r3", "no", "r0"]}
    )
    snapshots, positions = catalogues.locate(events)
    assert snapshots.tolist() == [ABSENT, 0, 0, 1, 5]
    assert positions.tolist() == [ABSENT, 3, 3, ABSENT, 0]


def test_batches_share_a_snapshot_and_hold_every_event_once(market, columns):
    data = EventData(
        market.train,
        Catalogues(market.catalogues, columns),
        Encoding.fit(market.train, columns),
        Hyperparameters(batch_size=100),
    )
    seen = list(data.sampler)
    assert sorted(n for batch in seen for n in batch) == list(range(len(market.train)))
    assert len(seen) == len(data.sampler)
    for number in np.unique(data.dataset.snapshots):
        sizes = [len(batch) for batch in seen if data.dataset.snapshots[batch[0]] == number]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= 100
    assert all(len(set(data.dataset.snapshots[batch])) == 1 for batch in seen)
    for batch in data.train_dataloader():
        known = batch.target >= 0
        chosen = batch.catalogue_codes[batch.target[known], 0]
        assert (chosen == batch.rental_codes[known, 0]).all()


def test_the_order_is_new_each_epoch_and_repeats_by_seed():
    first, second = (SnapshotBatchSampler(np.zeros(50, int), 10, seed=1) for _ in range(2))
    epoch = list(first)
    assert epoch == list(second)
    assert epoch != list(first)
