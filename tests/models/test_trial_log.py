import pytest

from models.search import BUDGETS, PRESENT, Outcome, Search
from models.settings import Hyperparameters, ModelSettings
from models.trial_log import EXPERIMENT, TrialLog


@pytest.fixture
def settings(tmp_path) -> ModelSettings:
    return ModelSettings(home=tmp_path, mlflow_tracking_uri="")


def runs(settings):
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return client, {run.data.tags["trial"]: run for run in client.search_runs([experiment.experiment_id])}


def play(search: Search, log: TrialLog) -> None:
    for round in range(len(BUDGETS)):
        outcomes = [
            Outcome(trial, {"ranking": 0.1 * n + 0.01 * round, "rating": 1 - 0.1 * n})
            for n, trial in enumerate(search.trials())
        ]
        if round == 0:
            outcomes[3] = Outcome(outcomes[3].trial, failure="out of memory")
        search.end_round(outcomes)
        log.write(search)


def test_every_proposal_is_a_run_with_its_values_its_figures_by_round_and_its_state(settings):
    search, log = Search(Hyperparameters(), 5, 0), TrialLog("SearchFlow/1", settings)
    play(search, log)
    log.write(search)
    client, found = runs(settings)
    parent = found.pop("search")
    assert len(found) == sum(len(half.proposals) for half in search.halves)
    for half in search.halves:
        for proposal in half.proposals:
            run = found[f"{half.half.name}-{proposal.number}"]
            assert run.data.params == {name: str(value) for name, value in proposal.values.items()}
            history = client.get_metric_history(run.info.run_id, half.half.figure)
            assert {metric.step: metric.value for metric in history} == proposal.figures
            assert len(history) == len(proposal.figures)
            assert run.data.tags["state"] == proposal.state
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert run.info.status == ("FAILED" if proposal.number == 3 else "FINISHED")
    assert found[f"ranking-{PRESENT}"].data.tags["state"] == "complete"
    assert {run.data.tags["state"] for run in found.values()} == {"complete", "pruned", "failed"}


def test_searches_do_not_share_runs_and_a_resumed_one_goes_on_in_its_own(settings):
    for name in ("SearchFlow/1", "SearchFlow/2", "SearchFlow/1"):
        TrialLog(name, settings).write(Search(Hyperparameters(), 3, 0))
    client, _ = runs(settings)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    names = [run.data.tags["search"] for run in client.search_runs([experiment])]
    assert sorted(names) == ["SearchFlow/1"] * 7 + ["SearchFlow/2"] * 7


def test_the_searchs_own_run_ends_with_what_it_recommends(settings):
    log = TrialLog("SearchFlow/1", settings)
    for _ in range(2):
        log.close({"ranking_dropout": 0.3}, {"ranking_gain": 0.001})
    _, found = runs(settings)
    assert found["search"].data.params == {"ranking_dropout": "0.3"}
    assert found["search"].data.metrics == {"ranking_gain": 0.001}
    assert found["search"].info.status == "FINISHED"
