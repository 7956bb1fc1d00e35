"""The search flow: its windows, what it recommends, and one small search by Metaflow."""

import base64
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from flows.training import TrainingSet, split
from flows.trials import HistoryError, before_tests, contenders, measure, recommend, try_out
from models.columns import Columns
from models.comparison import EventFigures
from models.search import BUDGETS, Outcome, Search
from models.search_space import HALVES
from models.settings import Hyperparameters

COLUMNS = Columns(("user_age",), (), ("rental_price",), ("rental_category",))
UNTIL, TEST_FROM = pd.Timestamp("2024-07-01", tz="UTC"), pd.Timestamp("2024-06-01", tz="UTC")
TINY = Hyperparameters(epochs=1, batch_size=64, ranking_dimension=16, rating_hidden=16, rating_dimension=4)


def frames(seed: int = 0, events: int = 400) -> TrainingSet:
    """Half a year of rentals, without much sense; one in ten becomes known weeks after it happened."""
    draw = np.random.default_rng(seed)
    rentals = pd.DataFrame(
        {
            "rental_id": [f"r{n}" for n in range(30)],
            "rental_price": draw.uniform(20, 200, 30),
            "rental_category": draw.choice(["gown", "suit"], 30),
        }
    )
    times = UNTIL - pd.to_timedelta(np.sort(draw.integers(1, 180, events))[::-1], unit="D")
    late = pd.to_timedelta(np.where(draw.random(events) < 0.1, 20, 0), unit="D")
    chosen = rentals.iloc[draw.integers(30, size=events)].reset_index(drop=True)
    frame = chosen.assign(
        user_id=[f"u{n}" for n in draw.integers(100, size=events)],
        user_age=draw.uniform(18, 80, events),
        purpose=draw.choice(["party", "work"], events),
        rating=draw.integers(1, 6, events).astype(float),
        event_timestamp=times,
        arrived_at=times + late,
    )
    months = pd.date_range(end=UNTIL, periods=7, freq="MS")
    catalogues = pd.concat([rentals.assign(snapshot_at=month) for month in months], ignore_index=True)
    return TrainingSet(frame, catalogues, UNTIL, TEST_FROM, "hash")


def altered(data: TrainingSet, since: pd.Timestamp) -> TrainingSet:
    """The same with other ratings, features and rentals from ``since`` on, and what arrived only then too."""
    events, catalogues = data.events.copy(), data.catalogues.copy()
    after = (events["event_timestamp"] >= since) | (events["arrived_at"] >= since)
    events.loc[after, "rating"] = 6 - events.loc[after, "rating"]
    events.loc[after, ["user_age", "rental_price"]] *= 3
    events.loc[after, "rental_id"] = "r0"
    catalogues.loc[catalogues["snapshot_at"] > since, "rental_price"] = 1e6
    return replace(data, events=events, catalogues=catalogues)


def searched(data: TrainingSet) -> tuple[list[dict[str, float]], list[tuple[float, float]], list[str]]:
    """A small search on ``data``: the figures of every trial, those that confirm, and what it recommends."""
    confirming = before_tests(data)
    choosing = before_tests(confirming)
    search = Search(TINY, 3, 0)
    for _ in BUDGETS:
        search.end_round([try_out(trial, choosing, COLUMNS) for trial in search.trials()])
    measured = [(c, measure(c.hyperparameters, confirming, COLUMNS)) for c in contenders(search)]
    found = recommend(search, measured)
    confirmed = [(figures.rmse, figures.ndcg_at_10) for _, figures in measured]
    return [dict(outcome.figures) for outcome in search.outcomes], confirmed, [*found.words(), *found.lines()]


def test_the_windows_follow_each_other_and_end_where_the_tests_begin():
    data = frames()
    confirming = before_tests(data)
    choosing = before_tests(confirming)
    assert (confirming.until, choosing.until) == (data.test_from, confirming.test_from)
    windows = [window.until - window.test_from for window in (data, confirming, choosing)]
    assert windows == [data.until - data.test_from] * 3
    for window in (confirming, choosing):
        train, test = split(window)
        assert train["arrived_at"].max() < window.test_from <= test["event_timestamp"].min()
        assert test["arrived_at"].max() < window.until
        assert window.catalogues["snapshot_at"].max() <= window.until


def test_the_tests_of_the_training_flow_change_nothing_and_the_confirming_window_chooses_nothing():
    data = frames()
    chosen, confirmed, found = searched(data)
    assert searched(altered(data, data.test_from)) == (chosen, confirmed, found)
    same, others, _ = searched(altered(data, before_tests(data).test_from))
    assert same == chosen
    assert others != confirmed, "the altered rows are looked at, where they may be"


def test_too_short_a_history_is_refused_before_anything_is_trained():
    data = frames()
    early = data.events["event_timestamp"].min() + pd.Timedelta(days=20)
    young = data.catalogues[data.catalogues["snapshot_at"] >= "2024-05-20"]
    old = data.events[data.events["event_timestamp"] < "2024-04-20"]
    lately = pd.concat([old, data.events[data.events["event_timestamp"] >= "2024-06-01"]])
    for short in (
        replace(data, test_from=early),
        replace(data, catalogues=young),
        replace(data, events=lately),
    ):
        with pytest.raises(HistoryError, match=r"before 20\d\d-.*fewer RENTALS_TEST_DAYS"):
            before_tests(short)


def figures(rmse: float, ndcg: float) -> EventFigures:
    return EventFigures(np.array([f"u{n}" for n in range(50)]), np.full(50, rmse**2), np.full(50, ndcg))


def ended(ranking: float, rating: float) -> Search:
    """A search whose last proposals have these figures, the present settings having .1 and 1."""
    search = Search(Hyperparameters(), 6, 0)
    for _ in BUDGETS:
        trials = search.trials()
        search.end_round(
            [
                Outcome(t, {"ranking": ranking, "rating": rating} if n else {"ranking": 0.1, "rating": 1.0})
                for n, t in enumerate(trials)
            ]
        )
    return search


def test_a_half_changes_only_where_the_other_window_confirms_it():
    search = ended(ranking=0.2, rating=0.9)
    measured = [(c, figures(1.0, 0.2 if c.best else 0.1)) for c in contenders(search)]
    found = recommend(search, measured)
    for setting in HALVES[0].space:
        assert found.settings[setting.name] == getattr(search.best, setting.name)
    for setting in HALVES[1].space:
        assert found.settings[setting.name] == getattr(search.present, setting.name)
    assert found.gains["ranking"].gain == pytest.approx(0.1)
    assert "ranking: 0.10000 with the present settings" in found.words()[0]
    assert found.words()[0].endswith("better")
    assert found.words()[1].endswith("not better outside noise; keep the present settings")
    assert f"RENTALS_RANKING_DROPOUT={search.best.ranking_dropout}" in found.lines()


def test_a_search_that_found_nothing_says_so():
    search = ended(ranking=0.05, rating=1.1)
    alone = contenders(search)
    assert [contender.best for contender in alone] == [False, False], "there is nothing to compare with"
    found = recommend(search, [(contender, figures(1.0, 0.1)) for contender in alone])
    assert all("nothing that was tried is better" in words for words in found.words())
    assert found.settings.items() <= search.present.model_dump().items()


BROKEN = """
import flows, flows.trials
whole = flows.trials.try_out

def broken(trial, data, columns):
    if trial.proposals.get("ranking") == 2:
        raise MemoryError("broken on purpose")
    return whole(trial, data, columns)

flows.trials.try_out = broken
from flows.search import SearchFlow

if __name__ == "__main__":
    SearchFlow()
"""


@pytest.mark.slow
def test_a_search_on_the_generator_survives_a_trial_that_fails(tmp_path, small_home, python):
    from mlflow import MlflowClient

    from models.settings import ModelSettings
    from models.trial_log import EXPERIMENT

    home = small_home
    settings = {"RENTALS_HOME": str(home), "RENTALS_EPOCHS": "2", "RENTALS_TEST_DAYS": "30"}
    flow = tmp_path / "search.py"
    flow.write_text(BROKEN)

    said = python(str(flow), "run", "--trials", "4", "--run-id-file", str(tmp_path / "run"), **settings)
    run = (tmp_path / "run").read_text()
    assert "ranking 2, rating 2: builtins.MemoryError: broken on purpose" in said

    lines = (home / "search" / "best.env").read_text().splitlines()
    taken = dict(line.split("=") for line in lines if not line.startswith("#"))
    assert taken.keys() == {f"RENTALS_{s.name.upper()}" for half in HALVES for s in half.space}
    assert all(line in said for line in lines if not line.startswith("#"))

    store = ModelSettings(home=home, mlflow_tracking_uri="")
    client = MlflowClient(store.tracking_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    states = [
        r.data.tags.get("state")
        for r in client.search_runs([experiment], f"tags.search = 'SearchFlow/{run}'")
    ]
    assert states.count("failed") == 2, "the second proposal of each half"
    assert set(states) == {"failed", "pruned", "complete", None}

    page = tmp_path / "card.html"
    python(str(flow), "card", "get", f"{run}/judge", str(page), **settings)
    (data,) = re.findall(r'__MF_DATA__\["[^"]+"\] = "([^"]+)"', page.read_text())
    shown = base64.b64decode(data).decode()
    assert all(text in shown for text in ("broken on purpose", "Budget spent", "the best so far", lines[-1]))
