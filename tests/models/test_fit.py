import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from models.catalogues import Catalogues
from models.columns import ColumnError, Columns
from models.data import EventData
from models.evaluate import evaluate
from models.settings import Hyperparameters, TrainerSettings
from models.train import fit

SHORT = Hyperparameters(epochs=1, batch_size=256, ranking_dimension=8, rating_hidden=8)


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return list(model.state_dict().values())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(small_market, columns):
    first, second = (fit(small_market.train, small_market.catalogues, columns, SHORT) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    other = fit(small_market.train, small_market.catalogues, columns, SHORT.model_copy(update={"seed": 8}))
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(other), strict=True))


@pytest.mark.slow
def test_two_processes_learn_together_about_as_well_as_one(market, columns, hyperparameters):
    settings = TrainerSettings(accelerator="cpu", devices=2, strategy="ddp_spawn")
    alone = fit(market.train, market.catalogues, columns, hyperparameters)
    together = fit(market.train, market.catalogues, columns, hyperparameters, trainer_settings=settings)
    untrained = fit(
        market.train,
        market.catalogues,
        columns,
        hyperparameters.model_copy(
            update={"epochs": 1, "ranking_learning_rate": 1e-9, "rating_learning_rate": 1e-9}
        ),
    )
    figures = [
        evaluate(model, market.test, market.catalogues, market.train)
        for model in (untrained, together, alone)
    ]
    assert not torch.equal(weights(together)[0], weights(alone)[0])
    assert figures[1].ndcg_at_10 > 0.95 * figures[2].ndcg_at_10 > figures[0].ndcg_at_10
    assert figures[1].rmse < 1.02 * figures[2].rmse < figures[0].rmse


def test_every_event_weighs_the_same_in_whatever_batch(small_market, columns):
    model = fit(small_market.train, small_market.catalogues, columns, SHORT)
    model.hyperparameters = SHORT.model_copy(update={"id_masking": 0.0})
    snapshots = Catalogues(small_market.catalogues, columns)
    data = EventData(small_market.train, snapshots, model.encoding, model.hyperparameters)
    month = np.flatnonzero(data.dataset.snapshots == 1).tolist()
    batches = (month, month[:-5], month[-5:])
    whole, most, rest = (model.training_step(data.dataset[batch], 0) for batch in batches)
    torch.testing.assert_close(whole, most + rest)


def test_snapshots_after_the_training_events_change_nothing(small_market, columns):
    later = small_market.catalogues["snapshot_at"] > small_market.train["event_timestamp"].max()
    assert later.any()
    changed = small_market.catalogues.copy()
    changed.loc[later, "rental_price"] = 1e9
    first = fit(small_market.train, small_market.catalogues, columns, SHORT)
    second = fit(small_market.train, changed, columns, SHORT)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_naive_timestamps_are_taken_as_utc(small_market, columns):
    naive = small_market.train.assign(
        event_timestamp=small_market.train["event_timestamp"].dt.tz_localize(None)
    )
    first = fit(small_market.train, small_market.catalogues, columns, SHORT)
    second = fit(naive, small_market.catalogues, columns, SHORT)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_a_fitted_model_survives_pickling_without_its_training_data(model):
    assert model._trainer is None
    dumped = pickle.dumps(model)
    copy = pickle.loads(dumped)  # noqa: S301
    assert len(dumped) < 2 * sum(tensor.nbytes for tensor in weights(model))
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(copy), strict=True))


def test_columns_without_a_single_value_do_no_harm(small_market, columns):
    empty = {"rental_price": np.nan, "user_age": np.nan, "user_segment": None}
    model = fit(
        small_market.train.assign(**empty),
        small_market.catalogues.assign(rental_price=np.nan),
        columns,
        SHORT,
    )
    assert all(torch.isfinite(tensor).all() for tensor in weights(model))


def test_columns_that_cannot_work_are_refused():
    with pytest.raises(ColumnError, match="at least one"):
        Columns((), ("user_segment",), (), ("rental_category",))
    with pytest.raises(ColumnError, match=r"'purpose'.*twice"):
        Columns(("user_age",), ("purpose",), ("rental_price",), ())


def test_training_leaves_the_number_of_threads_as_it_was(small_market, columns):
    torch.set_num_threads(2)
    fit(small_market.train, small_market.catalogues, columns, SHORT)
    assert torch.get_num_threads() == 2


def test_bad_frames_are_refused_with_the_remedy(market, columns):
    with pytest.raises(ColumnError, match="purpose"):
        fit(market.train.drop(columns="purpose"), market.catalogues, columns, SHORT)
    with pytest.raises(ColumnError, match="no rows"):
        fit(market.train.head(0), market.catalogues, columns, SHORT)
    with pytest.raises(ColumnError, match="twice"):
        fit(market.train, pd.concat([market.catalogues] * 2), columns, SHORT)
    with pytest.raises(ValueError, match="not within 1"):
        fit(market.train.assign(rating=10.0), market.catalogues, columns, SHORT)
