import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.columns import ColumnError
from models.contributions import stack
from models.data import tensors
from models.encoding import Encoding, numbers
from models.explain import IncompleteExplanationError, explain
from models.recommender import Recommender
from models.settings import Hyperparameters
from models.train import fit
from models.wording import RENTAL_RULES, USER_RULES, context, subject


def untrained(market, columns, seed: int, dimension: int) -> Recommender:
    """A recommender with random weights, large enough that every input moves every score."""
    torch.manual_seed(seed)
    model = Recommender(
        Encoding.fit(market.train, columns),
        numbers(market.train, columns.user_numeric),
        numbers(market.catalogues, columns.rental_numeric),
        4.0,
        Hyperparameters(ranking_dimension=dimension, rating_dimension=dimension),
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def predictions(model, user: pd.DataFrame, catalogue: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Scores and uncut ratings of one user for the catalogue, by the model itself."""
    with torch.no_grad():
        seen = model.user_side(*tensors(model.encoding.user.encode(user)))
        listed = model.rental_side(*tensors(model.encoding.rental.encode(catalogue)))
        ratings = model.paired_ratings(
            type(seen)(*(part.expand(len(catalogue), *part.shape[1:]) for part in seen)), listed
        )
        return model.scores(seen, listed)[0].numpy(), ratings.numpy()


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dimension=st.integers(1, 24),
    row=st.integers(0, 200),
    rentals=st.integers(1, 80),
    hidden=st.sets(
        st.sampled_from(["user_id", "purpose", "user_age", "user_segment", "user_rating_mean_all"])
    ),
)
def test_reasons_sum_to_the_score_and_to_the_rating(
    small_market, columns, seed, dimension, row, rentals, hidden
):
    model = untrained(small_market, columns, seed, dimension)
    user = small_market.test.iloc[[row % len(small_market.test)]].assign(**dict.fromkeys(hidden))
    catalogue = small_market.latest.sample(rentals, random_state=seed)
    ids = catalogue["rental_id"].sample(min(5, rentals), random_state=seed).tolist()
    score, rating = predictions(model, user, catalogue)
    position = pd.Index(catalogue["rental_id"]).get_indexer(pd.Index(ids))
    found = explain(model, user.iloc[0].to_dict(), catalogue, ids, small_market.train)
    limit = 1e-4 * (1 + float(np.abs(score).max()))
    for explanation, place in zip(found, position, strict=True):
        assert explanation.score == pytest.approx(score[place], abs=limit)
        amounts = [reason.amount for reason in explanation.reasons]
        assert sum(amounts) == pytest.approx(score[place] - score.mean(), abs=limit)
        assert amounts == sorted(amounts, key=abs, reverse=True)
        for reason in explanation.reasons:
            assert sum(part.amount for part in reason.parts) == pytest.approx(reason.amount, abs=limit)
        whole = explanation.typical_rating + sum(explanation.rating_amounts.values())
        assert explanation.predicted_rating == pytest.approx(whole, abs=1e-9)
        assert whole == pytest.approx(rating[place], abs=1e-4)
    assert [explanation.rental_id for explanation in found] == ids


def test_terms_that_are_not_what_the_tower_adds_are_refused(model, market, monkeypatch):
    original = type(model.user_side).ranking_terms

    def forgetful(side, *inputs):
        terms = original(side, *inputs)
        del terms["purpose"]
        return terms

    monkeypatch.setattr(type(model.user_side), "ranking_terms", forgetful)
    with pytest.raises(IncompleteExplanationError, match="ranking_terms"):
        explain(model, market.test.iloc[0].to_dict(), market.latest, ["r1"], market.train)


@pytest.fixture(scope="module")
def planted(small_market, columns):
    """Whoever asks for work takes r7, whatever else; and r7 is taken for nothing else."""
    events = pd.concat([small_market.train, small_market.test], ignore_index=True)
    others = events[events["rental_id"] != "r7"]
    seven = events[events["rental_id"] == "r7"].iloc[0]
    work = (others["purpose"] == "work").to_numpy() & (np.random.default_rng(0).random(len(others)) < 0.5)
    own = ["rental_id", "rental_price", "rental_category", "rental_rentals_90d", "rental_rating_mean_all"]
    others.loc[work, own] = seven[own].to_numpy()
    return fit(others, small_market.catalogues, columns, Hyperparameters(epochs=25, batch_size=64)), others


def test_a_planted_cause_is_the_first_reason(planted, small_market):
    model, events = planted
    for _, user in events[events["purpose"] == "work"].tail(5).iterrows():
        [found] = explain(model, user.to_dict(), small_market.latest, ["r7"], events)
        first = found.reasons[0]
        assert (first.subject, first.context) == ("purpose", "for work")
        assert first.factor > 2
        assert first.parts[0].user_input == "purpose"
        assert f"{first.factor:.1f} times as often for work" in found.to_text()


def test_the_same_cause_counts_against_it_where_it_is_absent(planted, small_market):
    model, events = planted
    user = events[events["purpose"] == "party"].iloc[-1]
    [found] = explain(model, user.to_dict(), small_market.latest, ["r7"], events)
    purpose = next(reason for reason in found.reasons if reason.subject == "purpose")
    assert purpose.factor < 0.5
    assert "for party" not in found.to_text()


def test_what_everybody_likes_is_no_reason_of_one_user(model, market):
    """The mean over the users of every personal amount is zero: they are beside each other."""
    users = market.train.head(40)
    found = [explain(model, user.to_dict(), market.latest, ["r3"], users)[0] for _, user in users.iterrows()]
    amounts = pd.DataFrame([{reason.subject: reason.amount for reason in one.reasons} for one in found])
    personal = [name for name in amounts if name in {rule.subject for rule in USER_RULES}]
    assert len(personal) == 4
    np.testing.assert_allclose(amounts[personal].mean(), 0.0, atol=1e-5)
    assert amounts[personal].abs().max().max() > 0.05
    common = amounts.drop(columns=personal)
    np.testing.assert_allclose(common, common.iloc[[0]].to_numpy().repeat(40, axis=0), atol=1e-6)


def test_rating_amounts_of_groups_that_the_rating_does_not_read_are_zero(model, market):
    copy = untrained(market, model.encoding.columns, 1, 4)
    with torch.no_grad():
        tables = dict(zip(copy.encoding.user.strings, copy.user_side.rating.embeddings, strict=True))
        tables["purpose"].weight[:] = 0.5
    [found] = explain(copy, market.test.iloc[0].to_dict(), market.latest, ["r1"], market.train)
    assert found.rating_amounts["purpose"] == pytest.approx(0.0, abs=1e-6)
    assert max(map(abs, found.rating_amounts.values())) > 0.1


def test_past_rentals_are_reasons_one_by_one():
    terms = stack({"purpose": torch.zeros(2, 3), "user_recent_rentals": torch.ones(2, 4, 3)})
    assert terms.names == ("purpose", *(f"user_recent_rentals[{n}]" for n in range(4)))
    assert terms.vectors.shape == (5, 2, 3)
    assert subject("user_recent_rentals[2]", USER_RULES) == "user's recent rentals"
    assert context("user_recent_rentals[2]", "r9", USER_RULES) == "by people who rented r9, as you did"


def test_inputs_are_said_in_words():
    assert context("rental_rentals_30d", 12.0, RENTAL_RULES) == "with 12 rentals in 30 days"
    assert context("rental_rating_mean_all", 4.625, RENTAL_RULES) == "with 4.62 stars on average so far"
    assert context("user_segment", "hourglass", USER_RULES) == "by people of your segment"
    assert context("user_age", float("nan"), USER_RULES) == "where your age is not known"
    assert context("rental_area", None, RENTAL_RULES) == "where its area is not known"
    assert context("shoe_width", 3, USER_RULES) == "with the shoe width 3"


def test_an_absent_or_unlearnt_value_is_not_claimed_as_a_reason(model, market):
    user = {"user_id": "nobody", "purpose": "a wedding on Mars"}
    [found] = explain(model, user, market.latest, ["r1"], market.train)
    words = {reason.subject: reason.context for reason in found.reasons}
    assert words["purpose"] == "where the purpose is not known"
    assert words["user's own taste"] == "where your id is not known"


def test_rentals_which_are_not_in_the_catalogue_are_all_named(model, market):
    with pytest.raises(ColumnError, match="'x', 'y'"):
        explain(model, {}, market.latest, ["r1", "x", "y"], market.train)
    with pytest.raises(ColumnError, match="0 other users"):
        explain(model, {}, market.latest, ["r1"], market.train.head(0))


def test_an_explanation_is_plain_data(model, market):
    [found] = explain(model, market.test.iloc[0].to_dict(), market.latest, ["r1"], market.train)
    assert dataclasses.asdict(found)["reasons"][0]["subject"] == found.reasons[0].subject
