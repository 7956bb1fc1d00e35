"""The version with which a cluster begins, and no other one, is the champion without a rollout."""

import pytest

from flows.deployment import DeploymentError, begin_with
from models.registry import CHALLENGER, Registry
from models.registry_errors import NotRegisteredError
from serving.settings import ServingSettings

pytestmark = pytest.mark.slow


def test_it_is_staged_and_promoted_once(registry: Registry, champion) -> None:
    first = champion.version
    registry.remove_alias("champion")
    registry.set_alias(CHALLENGER, first)

    assert begin_with(first) == begin_with(first) == f"v{first}"

    assert registry.champion().version == first and registry.alias(CHALLENGER) is None
    assert (ServingSettings().models / f"v{first}" / "rental-recommender" / "config.pbtxt").is_file()
    assert [one.by for one in registry.card(first).approvals][-1] == "by hand"
    with pytest.raises(DeploymentError, match="make promote VERSION=7"):
        begin_with(7)
    registry.remove_alias("champion")
    with pytest.raises(NotRegisteredError, match="no version 7"):
        begin_with(7)
