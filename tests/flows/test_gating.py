"""The gate of the training flow, on small frames with the real network, graph and registry."""

from dataclasses import replace

import mlflow
import pandas as pd
import pytest

from flows.deployment import roll_out, serve
from flows.gating import Rival, RivalError, gate, gate_beside
from flows.parameters import BASELINES, CHAMPION
from flows.training import publish, split
from models.checkpoint import FILE
from models.registry import ModelVersion
from models.registry_errors import RegistryError
from models.settings import ModelSettings
from models.window_scores import Window
from tests.flows.conftest import DAY, SETTINGS, UNTIL, trained


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


def test_no_catalogue_of_a_rival_counts_the_events_that_it_ranks(good, data, monkeypatch):
    seen, real = [], Window.frozen
    monkeypatch.setattr(Window, "frozen", lambda window, at: seen.append(at) or real(window, at))
    fitted_until = data.test_from - pd.Timedelta(days=30)
    for catalogue_of in (data.test_from - pd.Timedelta(days=30), data.until):
        gate_beside(Rival(1, good, fitted_until, catalogue_of), good, data, SETTINGS)
    assert seen == [data.test_from, data.test_from - pd.Timedelta(days=30), data.test_from, data.test_from]
