import copy

import numpy as np
import pandas as pd
import pytest
import torch

from models.comparison import EventFigures, event_figures, ranking_gain, rating_gain
from models.evaluate import evaluate


def figures(users: int = 400, seed: int = 0, better: float = 0.0) -> EventFigures:
    draw = np.random.default_rng(seed)
    return EventFigures(
        np.array([f"u{n // 2}" for n in range(users)]),
        draw.uniform(0, 1, users) - better,
        np.where(draw.random(users) < 0.1, np.nan, draw.uniform(0, 1, users) + better),
    )


def test_figures_by_event_add_up_to_the_evaluation(model, market):
    by_event = event_figures(model, market.test, market.catalogues)
    whole = evaluate(model, market.test, market.catalogues, market.train)
    assert by_event.rmse == pytest.approx(whole.rmse, abs=1e-9)
    assert by_event.ndcg_at_10 == pytest.approx(whole.ndcg_at_10, abs=1e-9)
    assert (~np.isnan(by_event.ndcg)).sum() == whole.ranked_events
    assert by_event.users.tolist() == market.test["user_id"].tolist()


def test_events_of_rentals_outside_the_catalogue_are_not_ranked(model, market):
    unknown = market.test.head(50).copy()
    unknown.loc[unknown.index[::2], "rental_id"] = "never listed"
    by_event = event_figures(model, unknown, market.catalogues)
    assert np.isnan(by_event.ndcg[::2]).all()
    assert not np.isnan(by_event.ndcg[1::2]).any()
    with pytest.raises(ValueError, match="add catalogue snapshots"):
        event_figures(model, unknown.iloc[::2], market.catalogues)


def test_a_model_that_answers_nan_is_refused(model, market):
    damaged = copy.deepcopy(model)
    with torch.no_grad():
        damaged.mean_rating.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        event_figures(damaged, market.test, market.catalogues)


def test_a_gain_in_every_event_is_proven_whatever_the_spread_of_events():
    first, second = figures(), figures(better=0.01)
    ranking, rating = ranking_gain([first], [second]), rating_gain([first], [second])
    assert ranking.proven
    assert rating.proven
    assert ranking.gain == pytest.approx(0.01)
    assert rating.gain == pytest.approx(first.rmse - second.rmse)
    assert rating.interval == pytest.approx((rating.gain, rating.gain))
    assert not ranking_gain([second], [first]).proven
    assert not rating_gain([second], [first]).proven


def test_noise_and_equal_models_are_no_gain():
    same = ranking_gain([figures()], [figures()])
    assert (same.gain, same.interval, same.proven) == (0.0, (0.0, 0.0), False)
    proven = [rating_gain([figures(seed=n)], [figures(seed=n + 1000)]).proven for n in range(40)]
    assert sum(proven) <= 5, "a twentieth of the intervals miss, half of these upwards"


def test_a_gain_that_another_seed_turns_round_is_none():
    first, better, worse = figures(), figures(better=0.1), figures(better=-0.05)
    for gain in (ranking_gain([first, first], [better, worse]), rating_gain([first, first], [better, worse])):
        assert gain.interval[0] > 0
        assert min(gain.by_seed) < 0
        assert not gain.proven


def test_intervals_take_users_not_events_as_units():
    """Events that repeat each other bring no certainty."""
    first, second = figures(40, seed=1), figures(40, seed=2)
    index = pd.Index(np.repeat(np.arange(40), 50))

    def many(one: EventFigures) -> EventFigures:
        return EventFigures(one.users[index], one.squared_error[index], one.ndcg[index])

    once, often = rating_gain([first], [second]), rating_gain([many(first)], [many(second)])
    assert once.interval == pytest.approx(often.interval)
