"""Lifts of contexts: by hand, and what they do to a ranking."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.columns import Context
from models.encoding import Encoding
from models.lift import PRIOR_RENTALS, Lift
from models.vocabulary import UNKNOWN, Vocabulary

PURPOSES = pd.Series(["work"] * 3 + ["party"])


@pytest.fixture
def lift() -> Lift:
    return Lift.fit("purpose", "rental_purpose_counts", Vocabulary.fit(PURPOSES), PURPOSES)


def test_a_lift_is_the_log_of_the_drawn_share_over_the_usual_one(lift):
    party, work = (lift.vocabulary.table[name] for name in ("party", "work"))
    found = lift.encode(pd.Series([json.dumps({"party": 10}), json.dumps({"work": 3, "party": 1})]))
    assert found[0, party] == pytest.approx(math.log((10 + PRIOR_RENTALS / 4) / (10 + PRIOR_RENTALS) * 4))
    assert found[0, work] == pytest.approx(math.log(PRIOR_RENTALS / (10 + PRIOR_RENTALS)))
    np.testing.assert_allclose(found[1], 0, atol=1e-6)  # in the usual proportions


def test_nothing_counted_and_nothing_known_lift_nothing(lift):
    found = lift.encode(pd.Series([None, "{}", np.nan, json.dumps({"a wedding on the moon": 7})]))
    np.testing.assert_allclose(found, 0, atol=1e-6)
    assert (lift.encode(pd.Series([json.dumps({"party": 9})]))[:, UNKNOWN] == 0).all()


@given(st.lists(st.sampled_from(["work", "party"]), max_size=30))
def test_more_choices_for_a_purpose_never_lower_its_lift(choices):
    lift = Lift.fit("purpose", "counts", Vocabulary.fit(PURPOSES), PURPOSES)
    counts = {name: choices.count(name) for name in set(choices)}
    more = counts | {"party": counts.get("party", 0) + 1}
    before, after = lift.encode(pd.Series([json.dumps(counts), json.dumps(more)]))[
        :, lift.vocabulary.table["party"]
    ]
    assert after > before


def test_sizes_of_one_class_are_counted_together():
    sizes = pd.Series(["12", "14", "4"])
    lift = Lift.fit("size", "counts", Vocabulary.fit(sizes, step=4.0), sizes)
    split, whole = lift.encode(pd.Series([json.dumps({"12": 2, "14": 3}), json.dumps({"14": 5})]))
    np.testing.assert_array_equal(split, whole)


def test_a_rental_is_ranked_higher_for_what_it_was_chosen_for(small_market, columns):
    """The counts alone: ids, categories and features say nothing here."""
    from dataclasses import replace

    from models.settings import Hyperparameters
    from models.train import fit

    draw, half = np.random.default_rng(0), 20
    rentals = [f"r{number}" for number in range(2 * half)]
    purpose = draw.choice(["work", "party"], 2000)
    rental = draw.integers(half, size=2000) + half * (purpose == "party")
    events = small_market.train.sample(2000, replace=True, random_state=0).reset_index(drop=True)
    of = {name: json.dumps({"work" if number < half else "party": 50}) for number, name in enumerate(rentals)}
    events["rental_id"], events["purpose"] = [rentals[number] for number in rental], purpose
    events["rental_purpose_counts"] = events["rental_id"].map(of)
    catalogue = (
        small_market.latest.head(1)
        .drop(columns="rental_id")
        .merge(
            pd.DataFrame({"rental_id": rentals, "rental_purpose_counts": [of[name] for name in rentals]}),
            "cross",
        )
    )
    catalogue["snapshot_at"] = events["event_timestamp"].min()
    lifted = replace(columns, context=(Context("purpose", "rental_purpose_counts"),))
    model = fit(events, catalogue, lifted, Hyperparameters(epochs=3, ranking_dimension=1, rating_members=1))
    assert model.user_side.popularity_lift.item() > 0.5
    encoding: Encoding = model.encoding
    new = catalogue.assign(rental_id=[f"new{number}" for number in range(2 * half)])
    from models.data import tensors

    asked = events.head(1).assign(purpose="party", user_id="nobody")
    scores = model.scores(
        model.user_side(*tensors(encoding.user.encode(asked))),
        model.rental_side(*tensors(encoding.rental.encode(new))),
    )[0]
    assert scores[half:].min() > scores[:half].max()
