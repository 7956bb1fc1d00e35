"""The gate of the training flow, on small frames with the real network, graph and registry."""

from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest

from flows.deployment import roll_out, serve
from flows.gating import RivalError, gate
from flows.parameters import BASELINES, CHAMPION
from flows.training import TrainingSet, feature_columns, publish, split
from models.card import approval
from models.checkpoint import FILE
from models.evaluate import evaluate
from models.registry import ModelVersion, Registry, RegistryError
from models.settings import GateSettings, Hyperparameters, ModelSettings
from models.train import fit

UNTIL = pd.Timestamp("2024-07-01", tz="UTC")
DAY = pd.Timedelta(days=1)
BY_HAND = approval("champion", "by hand", ("a test",))
SETTINGS = GateSettings(parity_rows=200)
EVENTS, USERS, RENTALS = 3000, 300, 40


def market(seed: int = 0) -> TrainingSet:
    """Half a year in which a segment rents from its own half of the catalogue, and the older rate better.

    All other features are noise, whichever the feature service names.
    """
    draw, columns = np.random.default_rng(seed), feature_columns()
    user, segment = draw.integers(USERS, size=EVENTS), draw.integers(2, size=USERS)
    own = draw.random(EVENTS) < 0.9
    rental = draw.integers(RENTALS // 2, size=EVENTS) + RENTALS // 2 * (segment[user] == own)
    when = UNTIL - pd.to_timedelta(np.sort(draw.integers(1, 180, EVENTS))[::-1], unit="D")
    numbers = {name: draw.normal(30, 10, EVENTS) for name in (*columns.user_numeric, *columns.rental_numeric)}
    events = pd.DataFrame(
        {
            **numbers,
            **dict.fromkeys((*columns.user_strings, *columns.rental_categorical), "a"),
            **dict.fromkeys([context.counts for context in columns.context], "{}"),
            columns.recent_rentals: "[]",
            "user_id": [f"u{n}" for n in user],
            "rental_id": [f"r{n}" for n in rental],
            "user_segment": np.array(["tall", "short"])[segment[user]],
            "purpose": "work",
            "size": "14",
            "rating": np.clip(numbers["user_age"] / 10 + draw.normal(0, 0.5, EVENTS), 1, 5),
            "event_timestamp": when,
            "arrived_at": when,
        }
    )
    catalogue = pd.DataFrame(
        {
            **{name: draw.normal(30, 10, RENTALS) for name in columns.rental_numeric},
            **dict.fromkeys(columns.rental_categorical, "a"),
            **dict.fromkeys([context.counts for context in columns.context], "{}"),
            "rental_id": [f"r{n}" for n in range(RENTALS)],
        }
    )
    times = pd.date_range(end=UNTIL, periods=7, freq="MS")
    catalogues = pd.concat([catalogue.assign(snapshot_at=at) for at in times], ignore_index=True)
    return TrainingSet(events, catalogues, UNTIL, UNTIL - 60 * DAY, "a hash")


def trained(data: TrainingSet, **hyperparameters: float):
    train, _ = split(data)
    settings = Hyperparameters(ranking_dimension=16, batch_size=128, **hyperparameters)
    return fit(train, data.catalogues, feature_columns(), settings)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return market()


@pytest.fixture(scope="module")
def good(data):
    return trained(data, epochs=8, ranking_weight_decay=0.05, rating_learning_rate=0.005)


@pytest.fixture(scope="module")
def evaluation(good, data):
    train, test = split(data)
    return evaluate(good, test, data.catalogues, train)


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory):
    """A registry of this file's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RENTALS_HOME", str(tmp_path_factory.mktemp("home")))
        yield Registry()


@pytest.fixture(scope="module")
def champion(registry, good, data, evaluation):
    """The good model, gated against the baselines, published and promoted."""
    gated = gate(good, data, CHAMPION, SETTINGS)
    version = publish(good, evaluation, data, gated, "TrainFlow/first", "a test")
    assert version, gated.decision
    found = registry.get(version)
    registry.promote(version, BY_HAND)
    return found


def test_the_first_model_is_a_challenger_with_its_card_and_network(champion, registry, data):
    assert champion.aliases == ("challenger",)
    assert champion.lineage["gate"] == "passed"
    card = registry.card(champion.version)
    assert card.gate.rival == "the baselines"
    assert card.events["ratings learnt from"] == len(split(data)[0])
    assert [one.step for one in card.approvals] == ["challenger", "champion"]
    assert {one.partition for one in card.groups} >= {"age group", "body type"}
    assert champion.artifact("gate.json").is_file() and champion.artifact(FILE).is_file()


def test_an_equal_model_leaves_a_run_and_no_version(champion, registry, good, data, evaluation):
    gated = gate(good, data, CHAMPION, SETTINGS)
    assert gated.decision.figures[0].gain == gated.decision.figures[1].gain == 0
    assert f"not better than version {champion.version} outside noise" in str(gated.decision)
    assert publish(good, evaluation, data, gated, "TrainFlow/equal", "a test") is None
    with pytest.raises(RegistryError, match="no version"):
        registry.get(champion.version + 1)
    assert registry.alias("challenger") is None
    client = mlflow.MlflowClient(ModelSettings().tracking_uri)
    experiment = client.get_experiment_by_name("rental-recommender").experiment_id
    (run,) = client.search_runs([experiment], "params.metaflow_run = 'TrainFlow/equal'")
    assert run.data.params["gate"] == "refused"
    assert "not better than" in mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/gate.json")


def test_a_model_that_learnt_next_to_nothing_is_refused(champion, data):
    poor = trained(data, epochs=1, ranking_learning_rate=1e-6, rating_learning_rate=1e-6)
    decision = gate(poor, data, CHAMPION, SETTINGS).decision
    assert not decision.passed and "may be worse than" in str(decision)


def test_what_the_champion_learnt_from_is_no_part_of_the_window(champion, good, data):
    """The champion learnt until the 60th day before the end; the candidate's test begins 20 days earlier."""
    earlier = replace(data, test_from=data.test_from - 20 * DAY)
    after = (data.events["event_timestamp"] >= data.test_from).sum()
    assert gate(good, earlier, CHAMPION, SETTINGS).decision.events == after
    past = replace(data, until=UNTIL - 62 * DAY, test_from=UNTIL - 122 * DAY)
    past = replace(
        past,
        events=data.events[data.events["event_timestamp"] < past.until],
        catalogues=data.catalogues.replace({"snapshot_at": {UNTIL: past.until}}),
    )
    decision = gate(good, past, CHAMPION, SETTINGS).decision
    assert decision.reasons[0].startswith("the window has 0 events")
    assert not decision.figures


def test_a_champion_that_this_code_cannot_read_is_named_with_the_remedy(
    champion, good, data, tmp_path, monkeypatch
):
    damaged = tmp_path / FILE
    damaged.write_bytes(champion.artifact(FILE).read_bytes()[:-100])
    monkeypatch.setattr(ModelVersion, "artifact", lambda version, name: damaged)
    with pytest.raises(RivalError, match=rf"version {champion.version}.*cannot be read.*--against baselines"):
        gate(good, data, CHAMPION, SETTINGS)


def test_a_champion_whose_network_is_not_what_serves_is_no_rival(champion, good, data, monkeypatch):
    import models.checkpoint as module

    other = module.Checkpoint(trained(data, epochs=1), data.latest)
    monkeypatch.setattr(module, "restore", lambda _: other)
    with pytest.raises(RivalError, match=r"differs by .* from the graph that serves"):
        gate(good, data, CHAMPION, SETTINGS)


def test_the_champion_can_be_left_out(champion, good, data):
    decision = gate(good, data, BASELINES, SETTINGS).decision
    assert decision.passed and decision.rival == "the baselines"


@pytest.mark.parametrize("bring", [serve, lambda version: roll_out(version, (10, 100))])
def test_a_version_without_a_card_gets_no_traffic(champion, registry, bring, monkeypatch):
    """It is refused before a server so much as sees its files."""
    from serving import triton

    monkeypatch.setattr(triton, "write_repository", lambda *_: pytest.fail("it was staged"))
    version = registry.register(champion.path, None, {"reason": "around the gate"})
    with pytest.raises(RegistryError, match="no complete model card"):
        bring(version)
    assert registry.champion().version == champion.version
