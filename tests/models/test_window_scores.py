"""Per-event figures are those of the evaluation, and know nothing of later events."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.segments import group_figures, segments
from models.window_scores import Window, baseline_scores, model_scores


@pytest.fixture(scope="module")
def window(market, columns):
    return Window(market.test, market.catalogues, columns)


def test_their_means_are_the_figures_of_the_evaluation(window, model, market, evaluation):
    own, rivals = model_scores("own", model, window), baseline_scores("baselines", window, market.train)
    assert np.sqrt(own.squared_error.mean()) == pytest.approx(evaluation.rmse)
    assert own.ndcg[window.ranked].mean() == pytest.approx(evaluation.ndcg_at_10)
    assert np.sqrt(rivals.squared_error.mean()) == pytest.approx(evaluation.baselines["bias_rmse"])
    assert rivals.ndcg[window.ranked].mean() == pytest.approx(
        evaluation.baselines["popularity_by_purpose_ndcg_at_10"]
    )


def test_an_event_whose_rental_was_not_listed_is_rated_and_not_ranked(model, market, columns):
    test = market.test.copy()
    test.loc[:9, "rental_id"] = "never listed"
    window = Window(test, market.catalogues, columns)
    scores = model_scores("own", model, window)
    assert not window.ranked[:10].any() and window.ranked[10:].all()
    assert np.isnan(scores.ndcg[:10]).all() and np.isfinite(scores.ndcg[10:]).all()
    assert np.isfinite(scores.squared_error).all()


def test_a_diverged_model_gets_no_finite_figure_and_no_error(model, market, window):
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(np.nan)
        scores = model_scores("diverged", model, window)
    finally:
        model.load_state_dict(weights)
    assert np.isnan(scores.squared_error).all() and np.isnan(scores.ndcg).all()


def test_later_events_change_no_earlier_figure(model, market, columns):
    """Neither the model's nor the baselines', whatever happens in the second half of the window."""
    middle = pd.Timestamp("2024-05-15", tz="UTC")
    early = (market.test["event_timestamp"] < middle).to_numpy()
    late = market.test.copy()
    late.loc[~early, ["rating", "rental_id"]] = [1.0, "r0"]
    future = market.catalogues.copy()
    future.loc[future["snapshot_at"] > middle, "rental_rentals_90d"] = 1e6
    figures = []
    for test, catalogues in ((market.test, market.catalogues), (late, future)):
        window = Window(test, catalogues, columns)
        both = (model_scores("own", model, window), baseline_scores("baselines", window, market.train))
        figures.append([values[early] for one in both for values in (one.squared_error, one.ndcg)])
    for before, after in zip(*figures, strict=True):
        np.testing.assert_array_equal(before, after)


def test_every_event_is_in_one_group_of_each_partition(market, window, model):
    named = segments(window.events, market.train, age="user_age", body_type="user_segment")
    assert set(named) == {"user", "rental", "purpose", "age group", "body type"}
    figures = group_figures(
        model_scores("own", model, window), window.ranked, window.events["user_id"], named
    )
    for partition in named:
        assert sum(one.events for one in figures if one.partition == partition) == len(window.events)
    assert all(one.rmse_interval[0] <= one.rmse <= one.rmse_interval[1] for one in figures)
    ages = window.events.groupby(named["age group"])["user_age"].agg(["min", "max"])
    assert ages.loc["25 to 34"].between(25, 34.999).all()
    assert ages.loc["not given"].isna().all()


def test_who_is_new_depends_on_the_training_events_alone(market, window):
    train = market.train[market.train["user_id"] != window.events["user_id"].iloc[0]]
    named = segments(window.events, train, age="none", body_type="user_segment")
    assert named["user"].iloc[0] == "new user"
    assert set(named["rental"]) == {"known rental"}
    assert "age group" not in named


def test_a_frozen_window_ranks_what_was_listed_then_and_misses_the_rest(model, market, columns):
    at = market.catalogues["snapshot_at"].unique()[1]
    late = market.test["rental_id"].iloc[0]
    listed = market.catalogues[
        (market.catalogues["rental_id"] != late) | (market.catalogues["snapshot_at"] > at)
    ]
    window = Window(market.test, listed, columns)
    frozen = window.frozen(at + pd.Timedelta(days=3))
    own, then = (model_scores("own", model, each) for each in (window, frozen))
    missed = (market.test["rental_id"] == late).to_numpy()
    assert (frozen.ranked == window.ranked).all()
    assert (then.ndcg[missed] == 0).all() and own.ndcg[missed].max() > 0
    one = Window(market.test, listed[listed["snapshot_at"] == at], columns)
    alone = model_scores("own", model, one)
    np.testing.assert_allclose(then.ndcg[~missed], alone.ndcg[~missed])


def test_before_the_first_snapshot_a_window_is_frozen_at_it(model, window):
    times = window.snapshots.times
    first, before = (
        model_scores("own", model, window.frozen(at)) for at in (times[0], times[0] - pd.Timedelta("1D"))
    )
    np.testing.assert_array_equal(first.ndcg, before.ndcg)


def test_an_age_on_the_edge_begins_the_next_group(window, market):
    events = window.events.head(4).assign(user_age=[24.999, 25.0, 55.0, np.nan])
    named = segments(events, market.train, age="user_age", body_type="user_segment")
    assert named["age group"].tolist() == ["24 or younger", "25 to 34", "55 or older", "not given"]
