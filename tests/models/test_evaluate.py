import json

import numpy as np
import pandas as pd
import pytest

from models.columns import ColumnError
from models.evaluate import Evaluation, evaluate


@pytest.fixture(scope="module")
def evaluation(model, market) -> Evaluation:
    return evaluate(model, market.test, market.catalogues, market.train)


def test_training_beats_popularity_and_the_rating_baselines(evaluation):
    assert evaluation.ndcg_gain_interval[0] > 0
    assert evaluation.ndcg_at_10 > 1.1 * evaluation.baselines["popularity_by_purpose_ndcg_at_10"]
    assert evaluation.ndcg_at_10 > 1.5 * evaluation.baselines["popularity_ndcg_at_10"]
    assert evaluation.rmse < evaluation.baselines["bias_rmse"] < evaluation.baselines["global_mean_rmse"]


def test_figures_lie_within_their_intervals(evaluation):
    for name in ("rmse", "ndcg_at_10", "hr_at_10", "ndcg_gain"):
        low, high = getattr(evaluation, f"{name}_interval")
        assert low < getattr(evaluation, name) < high


def test_calibration_covers_every_event_in_ascending_deciles(evaluation, market):
    assert sum(decile.events for decile in evaluation.calibration) == len(market.test)
    predicted = [decile.predicted for decile in evaluation.calibration]
    assert predicted == sorted(predicted)


def test_figures_are_plain_json(evaluation):
    assert json.loads(json.dumps(evaluation.to_dict()))["rmse"] == evaluation.rmse


def test_later_events_change_no_figure(model, market, monkeypatch):
    """Ranks and ratings of May's first half are the same whatever happens in the second half and after."""
    import models.evaluate as module

    middle = pd.Timestamp("2024-05-15", tz="UTC")
    known = (market.test["event_timestamp"] < middle).to_numpy()
    seen: list[list[np.ndarray]] = []
    predict = module.predict_ratings

    def figures(test: pd.DataFrame, catalogues: pd.DataFrame) -> list[np.ndarray]:
        calls: list[np.ndarray] = []
        monkeypatch.setattr(
            module, "ndcg", lambda rank: calls.append(rank[known[: len(rank)]]) or np.zeros(len(rank))
        )
        monkeypatch.setattr(module, "_rmse", lambda predicted, _: calls.append(predicted[known]) or 0.0)

        def predicted_ratings(*arguments: object) -> np.ndarray:
            ratings = predict(*arguments)
            calls.append(ratings[known])
            return ratings

        monkeypatch.setattr(module, "predict_ratings", predicted_ratings)
        evaluate(model, test, catalogues, market.train)
        return calls

    seen.append(figures(market.test, market.catalogues))
    late = market.test.copy()
    late.loc[~known, "rating"] = 1.0
    late.loc[~known, "rental_id"] = "r0"
    late.loc[~known, "user_id"] = late["user_id"].iloc[0]
    future = market.catalogues.copy()
    changed = future["snapshot_at"] > middle
    future.loc[changed, "rental_rentals_90d"] = 1e6
    seen.append(figures(late, future))
    assert len(seen[0]) == len(seen[1]) > 4
    for before, after in zip(*seen, strict=True):
        np.testing.assert_array_equal(before, after)


def test_events_whose_rental_is_not_in_the_catalogue_are_rated_but_not_ranked(model, market):
    test = market.test.copy()
    test.loc[:9, "rental_id"] = "never listed"
    evaluation = evaluate(model, test, market.catalogues, market.train)
    assert evaluation.events == len(test)
    assert evaluation.ranked_events == len(test) - 10


def test_a_catalogue_without_any_of_the_rentals_is_refused(model, market):
    with pytest.raises(ValueError, match="add catalogue snapshots"):
        evaluate(model, market.test.assign(rental_id="x"), market.catalogues, market.train)


def test_missing_columns_are_all_named(model, market):
    with pytest.raises(ColumnError, match=r"user_age.*rental_price"):
        evaluate(
            model, market.test.drop(columns=["user_age", "rental_price"]), market.catalogues, market.train
        )
