import numpy as np
import pandas as pd
import pytest

from flows.gating import catalogue_of
from flows.gating import champion as rival_of
from flows.refreshing import Inputs, RefreshError, refresh, same_weights
from flows.training import feature_columns
from models.checkpoint import FILE, restore
from models.load import load
from models.registry import CHALLENGER
from tests.flows.conftest import SETTINGS, UNTIL

LATER = UNTIL + pd.Timedelta(days=7)


@pytest.fixture
def given(data) -> Inputs:
    """A week later there is another rental, like the first one."""
    twin = data.latest[data.latest["rental_id"] == "r0"].assign(rental_id="new")
    catalogue = pd.concat([data.latest, twin], ignore_index=True).assign(snapshot_at=LATER)
    return Inputs(catalogue, data.events.tail(300), LATER)


@pytest.fixture
def refreshed(registry, champion, given):
    version = refresh(given, "RefreshFlow/1", "a test", SETTINGS)
    yield registry.get(version)
    if registry.alias(CHALLENGER):
        registry.remove_alias(CHALLENGER)


def test_the_weights_are_the_champions_and_the_catalogue_is_the_new_one(champion, refreshed, data, given):
    old, new = (restore(each.artifact(FILE).read_bytes()) for each in (champion, refreshed))
    for name, weight in old.model.state_dict().items():
        assert np.array_equal(weight.numpy(), new.model.state_dict()[name].numpy()), name
    assert set(new.catalogue["rental_id"]) - set(old.catalogue["rental_id"]) == {"new"}
    user = data.events[list(feature_columns().user)].iloc[-1].to_dict()
    everything = len(given.catalogue)
    assert "new" in {item.rental_id for item in load(refreshed.path).recommend(user, k=everything)}
    assert "new" not in {item.rental_id for item in load(champion.path).recommend(user, k=everything)}


def test_it_waits_for_its_rollout_with_the_champions_lineage_and_card(champion, refreshed, registry):
    assert registry.alias(CHALLENGER).version == refreshed.version
    assert catalogue_of(refreshed) == LATER and catalogue_of(champion) == UNTIL
    for kept in ("trained_until", "fitted_until", "dataset_hash"):
        assert refreshed.lineage[kept] == champion.lineage[kept]
    assert same_weights(refreshed) == [str(refreshed.version), str(champion.version)]
    assert same_weights(champion) == [str(champion.version)]
    card = registry.card(refreshed.version)
    assert card.figures == registry.card(champion.version).figures
    assert "catalogue of 2024-07-08" in card.approvals[0].reasons[0]


def test_the_next_candidate_is_compared_with_the_catalogue_that_it_serves(refreshed, registry, data):
    from tests.flows.conftest import BY_HAND

    former = registry.champion().version
    registry.promote(refreshed.version, BY_HAND)
    rival = rival_of(data, SETTINGS)
    registry.promote(former, BY_HAND)
    assert (rival.version, rival.catalogue_of) == (refreshed.version, LATER)


def test_a_run_that_goes_on_after_it_was_killed_makes_no_second_version(refreshed, given):
    assert refresh(given, "RefreshFlow/1", "a test", SETTINGS) == refreshed.version


def test_it_does_not_overtake_a_version_that_waits(refreshed, given):
    with pytest.raises(RefreshError, match=f"version {refreshed.version} waits for its rollout"):
        refresh(given, "RefreshFlow/2", "a test", SETTINGS)


def test_a_catalogue_that_is_not_newer_is_refused(champion, given, data):
    with pytest.raises(RefreshError, match="has the catalogue of 2024-07-01 already"):
        refresh(Inputs(data.latest, given.requests, UNTIL), "RefreshFlow/3", "a test", SETTINGS)


def test_weights_that_answer_no_numbers_are_not_refreshed(champion, registry, given, monkeypatch):
    monkeypatch.setattr("models.parity.parity", lambda *_: float("nan"))
    with pytest.raises(RefreshError, match=r"train anew by `make train`"):
        refresh(given, "RefreshFlow/4", "a test", SETTINGS)
    assert registry.alias(CHALLENGER) is None
