import json

import numpy as np
import pandas as pd
import pytest

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.ingest import ingest
from flows.popularity import LISTED, rankings, write_popularity
from serving.messages import Question
from serving.popularity import PopularRentals

AT = pd.Timestamp("2024-01-01", tz="UTC")


def ratings(*rows: tuple[str, str | None, float, int]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "rental_id": rental,
                "purpose": purpose,
                "rating": rating,
                "event_timestamp": AT - pd.Timedelta(days=days),
            }
            for rental, purpose, rating, days in rows
        ]
    )


def rentals(*ids: str) -> pd.DataFrame:
    return pd.DataFrame({"rental_id": ids, "category": "gown", "area": None, "price": [30.0] * len(ids)})


def test_each_purpose_has_its_own_list_and_who_names_none_gets_that_of_all() -> None:
    seen = ratings(
        *[("a", "party", 5.0, 1)] * 3,
        *[("b", "work", 4.0, 1)] * 2,
        ("b", "party", 4.0, 1),
        ("c", None, 3.0, 1),
    )
    lists = rankings(seen, rentals("c", "b", "a"), AT)

    order = {purpose: [one["rental_id"] for one in listed] for purpose, listed in lists.items()}
    assert order["party"] == ["a", "b", "c"] and order["work"][0] == "b"
    assert set(order) == {"", "party", "work"}
    assert [one["score"] for one in lists[""]] == sorted((one["score"] for one in lists[""]), reverse=True)
    best = lists["party"][0]
    assert 4.0 < best["predicted_rating"] < 5.0 and (best["category"], best["area"]) == ("gown", None)


def test_what_was_rented_long_ago_counts_little_and_what_comes_later_nothing() -> None:
    seen = ratings(
        *[("old", "party", 5.0, 400)] * 5, ("new", "party", 5.0, 1), *[("later", "party", 5.0, -1)] * 9
    )
    listed = rankings(seen, rentals("old", "new", "later"), AT)["party"]
    assert [one["rental_id"] for one in listed] == ["new", "old", "later"]


@pytest.mark.slow
def test_the_api_reads_what_the_flow_writes(tmp_path) -> None:
    settings = FeatureSettings(home=tmp_path)
    ingest("", None, None, settings)
    path = write_popularity(settings, lake.clock(settings.lake))

    document = json.loads(path.read_text())
    assert all(len(listed) <= LISTED for listed in document["rankings"].values())
    popular = PopularRentals(path)
    purpose = next(name for name in document["rankings"] if name)
    best = popular.best(Question(k=7, purpose=purpose))
    assert best is not None and len(set(best.rental_ids)) == 7
    assert np.isfinite(best.scores).all() and all(1 <= rating <= 5 for rating in best.predicted_ratings)
    cheap = popular.best(Question(k=100, purpose="a purpose that nobody knows", price_to=60))
    prices = {one["rental_id"]: one["price"] for one in document["rankings"][""]}
    assert cheap is not None and cheap.rental_ids and all(prices[one] <= 60 for one in cheap.rental_ids)
