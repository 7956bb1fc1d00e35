"""Small seeded frames with a signal: tastes by segment and purpose, popularity, and kind and strict users."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.card import ModelCard, approval, figures_of
from models.columns import Columns
from models.data import split_by_time
from models.evaluate import Evaluation, evaluate
from models.export import export_all
from models.gate import decide
from models.recommender import Recommender
from models.segments import group_figures, segments
from models.settings import GateSettings, Hyperparameters
from models.train import fit
from models.window_scores import Window, baseline_scores, model_scores

COLUMNS = Columns(
    user_numeric=("user_age", "user_rating_mean_all"),
    user_categorical=("user_segment",),
    rental_numeric=("rental_price", "rental_rentals_90d", "rental_rating_mean_all"),
    rental_categorical=("rental_category",),
)
TEST_FROM = "2024-05-01"


@dataclass(frozen=True)
class Market:
    train: pd.DataFrame
    test: pd.DataFrame
    catalogues: pd.DataFrame

    @property
    def latest(self) -> pd.DataFrame:
        last = self.catalogues["snapshot_at"].max()
        return self.catalogues[self.catalogues["snapshot_at"] == last].reset_index(drop=True)


def make_market(seed: int = 3, events: int = 4000, users: int = 400, rentals: int = 80) -> Market:
    """Half a year of rentals; a user rents what fits the segment and the purpose, weighted by popularity."""
    draw = np.random.default_rng(seed)
    segments, purposes = np.array(["slim", "tall", "wide"]), np.array(["party", "work", "été ☀"])
    categories = np.array(["gown", "suit", "coat", "dress", "skirt", "wrap"])
    segment, kindness = draw.integers(3, size=users), draw.normal(0, 0.7, users)
    category, quality = draw.integers(6, size=rentals), draw.normal(0, 0.6, rentals)
    appeal = draw.normal(0, 0.8, rentals)
    price = np.where(draw.random(rentals) < 0.1, np.nan, draw.uniform(20, 200, rentals))
    age = np.where(draw.random(users) < 0.2, np.nan, draw.uniform(18, 80, users))
    days = np.sort(draw.integers(0, 182, size=events))
    user, purpose = draw.integers(users, size=events), draw.integers(3, size=events)
    # Category c is for segment c // 2 and for purpose c % 3.
    logits = (
        appeal + 2.0 * (category // 2 == segment[user][:, None]) + 1.5 * (category % 3 == purpose[:, None])
    )
    rental = np.argmax(logits + draw.gumbel(size=logits.shape), axis=1)
    noise = draw.normal(0, 0.4, events)
    frame = pd.DataFrame(
        {
            "user_id": [f"u{n}" for n in user],
            "rental_id": [f"r{n}" for n in rental],
            "rating": np.clip(np.round(4 + kindness[user] + quality[rental] + noise), 1, 5),
            "purpose": np.where(draw.random(events) < 0.1, None, purposes[purpose]),
            "event_timestamp": pd.Timestamp("2023-12-01", tz="UTC") + pd.to_timedelta(days, unit="D"),
            "user_age": age[user],
            "user_segment": segments[segment[user]],
            "rental_price": price[rental],
            "rental_category": categories[category[rental]],
        }
    )
    frame["user_rating_mean_all"] = earlier_mean(frame, "user_id")
    frame["rental_rating_mean_all"] = earlier_mean(frame, "rental_id")
    fixed = pd.DataFrame(
        {
            "rental_id": [f"r{n}" for n in range(rentals)],
            "rental_price": price,
            "rental_category": categories[category],
        }
    )
    snapshots = []
    for at in pd.date_range("2024-01-01", "2024-06-01", freq="MS", tz="UTC"):
        before = frame[frame["event_timestamp"] < at].groupby("rental_id")["rating"]
        part = fixed.assign(
            snapshot_at=at,
            rental_rentals_90d=fixed["rental_id"].map(before.count()).fillna(0.0),
            rental_rating_mean_all=fixed["rental_id"].map(before.mean()),
        )
        snapshots.append(part)
    frame["rental_rentals_90d"] = frame.groupby("rental_id").cumcount().astype(float)
    return Market(*split_by_time(frame, TEST_FROM), pd.concat(snapshots, ignore_index=True))


def earlier_mean(frame: pd.DataFrame, key: str) -> pd.Series:
    """Mean rating of the key's strictly earlier days."""
    daily = frame.groupby([key, "event_timestamp"])["rating"].agg(["sum", "count"])
    before = daily.groupby(level=key).cumsum() - daily
    mean = (before["sum"] / before["count"].where(before["count"] > 0)).rename("mean")
    return frame.join(mean, on=[key, "event_timestamp"])["mean"]


@pytest.fixture(scope="session")
def columns() -> Columns:
    return COLUMNS


@pytest.fixture(scope="session")
def hyperparameters() -> Hyperparameters:
    return Hyperparameters(
        epochs=15, batch_size=128, ranking_dimension=16, ranking_weight_decay=0.05, rating_learning_rate=0.003
    )


@pytest.fixture(scope="session")
def market() -> Market:
    return make_market()


@pytest.fixture(scope="session")
def small_market() -> Market:
    """Enough to train on where quality does not matter."""
    return make_market(events=800)


@pytest.fixture(scope="session")
def model(market: Market, columns: Columns, hyperparameters: Hyperparameters) -> Recommender:
    """A trained recommender; tests must not change it."""
    return fit(market.train, market.catalogues, columns, hyperparameters)


@pytest.fixture(scope="session")
def exported(model: Recommender, market: Market, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder: the graphs of the latest catalogue, 20 rentals an answer; not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    return export_all(model, market.latest, folder, k=20, others=market.train).parent


@pytest.fixture(scope="session")
def evaluation(model: Recommender, market: Market) -> Evaluation:
    return evaluate(model, market.test, market.catalogues, market.train)


@pytest.fixture(scope="session")
def card(model: Recommender, market: Market, evaluation: Evaluation) -> ModelCard:
    """A card of the trained recommender, with the real decision against the baselines."""
    window = Window(market.test, market.catalogues, COLUMNS)
    users = window.events["user_id"].to_numpy()
    groups = segments(window.events, market.train, age="user_age", body_type="user_segment")
    own = model_scores("the candidate", model, window)
    rival = baseline_scores("the baselines", window, market.train)
    decision = decide(own, rival, window.ranked, users, groups, 2e-6, (), GateSettings())
    return ModelCard(
        version=0,
        lineage={"dataset": "market", "dataset_hash": "sha256:ab", "trained_until": "2024-06-01"},
        events={"ratings learnt from": len(market.train)},
        hyperparameters={"seed": "7"},
        test_events=evaluation.events,
        ranked_events=evaluation.ranked_events,
        figures=figures_of(evaluation),
        groups=group_figures(own, window.ranked, users, groups),
        gate=decision,
        approvals=(approval("challenger", "the gate of the training flow", decision.reasons),),
    )
