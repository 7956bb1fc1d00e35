"""Checkpoints, and trainings that go on from one."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from models.checkpoint import Checkpoint, CheckpointError, restore
from models.columns import Columns
from models.data import tensors
from models.evaluate import evaluate
from models.recommender import ShapeError
from models.settings import Hyperparameters
from models.train import fit


@pytest.fixture(scope="module")
def content(model, market) -> bytes:
    return Checkpoint(model, market.latest).to_bytes()


def test_a_restored_recommender_answers_as_the_trained_one(model, market, content):
    found = restore(content)
    pd.testing.assert_frame_equal(found.catalogue, market.latest)
    assert found.model.encoding == model.encoding
    assert found.model.hyperparameters == model.hyperparameters
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, found.model.state_dict()[name]), name


def test_it_holds_no_code(content):
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


@pytest.mark.parametrize("damage", [b"", b"PK nothing", "short", "other weights"])
def test_damage_is_named_with_what_it_is(content, damage):
    if damage == "short":
        damage = content[:-200]
    if damage == "other weights":
        with np.load(io.BytesIO(content)) as stored:
            entries = {name: stored[name] for name in stored.files if "rating" not in name}
        buffer = io.BytesIO()
        np.savez(buffer, **entries)
        damage = buffer.getvalue()
    with pytest.raises(CheckpointError, match="cannot be read by this code"):
        restore(damage)


def test_a_warm_start_knows_what_its_champion_knows_and_learns_the_new(
    market, columns, model, hyperparameters
):
    champion = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    new = market.test.assign(user_id="newcomer", rental_id="r-new")
    events = pd.concat([market.train, new], ignore_index=True)
    listed = market.catalogues.assign(rental_id="r-new").drop_duplicates("snapshot_at")
    catalogues = pd.concat([market.catalogues, listed], ignore_index=True)
    still = hyperparameters.model_copy(update={"warm_rate": 1e-12})
    warm = fit(events, catalogues, columns, still, champion=model)
    rows = market.test.head(50)
    for side in ("user", "rental"):
        before = getattr(model, f"{side}_side")(*tensors(getattr(model.encoding, side).encode(rows)))
        after = getattr(warm, f"{side}_side")(*tensors(getattr(warm.encoding, side).encode(rows)))
        for one, other in zip(before, after, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert "newcomer" in warm.encoding.user.vocabularies[0].table
    assert "r-new" in warm.encoding.rental.vocabularies[0].table
    assert all(torch.equal(tensor, champion[name]) for name, tensor in model.state_dict().items())


def test_a_warm_start_learns_from_the_last_days_alone(market, columns, model, hyperparameters):
    days = hyperparameters.model_copy(update={"warm_days": 20})
    last = market.train["event_timestamp"].max()
    old = market.train["event_timestamp"] < last - pd.Timedelta(days=20)
    changed = market.train.assign(rating=market.train["rating"].where(~old, 1.0))
    first, second = (fit(e, market.catalogues, columns, days, model) for e in (market.train, changed))
    # The mean rating, from which nothing starts here, comes from all events.
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_a_warm_start_is_nearly_as_good_as_a_training_on_all(market, columns, hyperparameters):
    times = market.train["event_timestamp"]
    early = market.train[times < times.max() - pd.Timedelta(days=30)]
    champion = fit(early, market.catalogues, columns, hyperparameters)
    warm = fit(market.train, market.catalogues, columns, hyperparameters, champion)
    whole = fit(market.train, market.catalogues, columns, hyperparameters)
    scores = [
        evaluate(model, market.test, market.catalogues, market.train) for model in (champion, warm, whole)
    ]
    assert scores[1].rmse < 1.05 * scores[2].rmse
    assert scores[1].ndcg_at_10 > 0.9 * scores[2].ndcg_at_10


def test_a_champion_of_another_shape_is_refused(market, columns, model, hyperparameters):
    wider = hyperparameters.model_copy(update={"rating_hidden": 7})
    with pytest.raises(ShapeError, match="train without it"):
        fit(market.train, market.catalogues, columns, wider, champion=model)
    fewer: Columns = replace(columns, user_categorical=())
    with pytest.raises(ShapeError, match="train without it"):
        fit(market.train, market.catalogues, fewer, hyperparameters, champion=model)


def test_warm_settings_scale_the_steps_and_nothing_else():
    settings = Hyperparameters(warm_rate=0.5, warm_epochs=2)
    warm = settings.warm()
    assert warm.ranking_learning_rate == settings.ranking_learning_rate / 2
    assert warm.epochs == 2
    changed = {name for name, value in settings if getattr(warm, name) != value}
    assert changed == {"epochs", "ranking_learning_rate", "rating_learning_rate"}
