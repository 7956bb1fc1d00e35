import pytest

from models.search import BUDGETS, PRESENT, Outcome, Search
from models.settings import Hyperparameters, ModelSettings
from models.trial_log import EXPERIMENT, TrialLog


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> ModelSettings:
    return ModelSettings(home=tmp_path_factory.mktemp("mlflow"), mlflow_tracking_uri="")


def runs(settings, name):
    """The client, and the runs of the search ``name``: its own first, then its trials by name."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    found = client.search_runs([experiment], f"tags.search = '{name}'")
    return client, sorted(found, key=lambda run: (run.info.run_name != name, run.info.run_name))


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
    client, found = runs(settings, "SearchFlow/1")
    found = {run.data.tags["trial"]: run for run in found}
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
    for name in ("SearchFlow/2", "SearchFlow/3", "SearchFlow/2"):
        TrialLog(name, settings).write(Search(Hyperparameters(), 3, 0))
    trials = [f"{half}-{number}" for half in ("ranking", "rating") for number in range(3)]
    for name in ("SearchFlow/2", "SearchFlow/3"):
        _, found = runs(settings, name)
        assert [run.data.tags["trial"] for run in found] == ["search", *sorted(trials)]


def test_the_searchs_own_run_ends_with_what_it_recommends(settings):
    log = TrialLog("SearchFlow/4", settings)
    for _ in range(2):
        log.close({"ranking_dropout": 0.3}, {"ranking_gain": 0.001})
    _, (run,) = runs(settings, "SearchFlow/4")
    assert run.data.params == {"ranking_dropout": "0.3"}
    assert run.data.metrics == {"ranking_gain": 0.001}
    assert run.info.status == "FINISHED"
