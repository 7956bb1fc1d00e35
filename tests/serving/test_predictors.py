"""Whom the API asks after a predictor has failed."""

import pytest

from serving.manifest import render, save
from serving.predictors import UNKNOWN_PREDICTOR, Predictors
from serving.runtime import applied_path
from serving.settings import ServingSettings


@pytest.mark.parametrize(
    ("failed", "again", "asked"),
    [
        ("v3", False, ["v4", "v5"]),
        ("v3", True, ["v4", "v5", "v3"]),
        ("v5", True, ["v3", "v4", "v5"]),
        # It has not said its name: most likely it was the one that most users get.
        (UNKNOWN_PREDICTOR, False, ["v4", "v5"]),
        (UNKNOWN_PREDICTOR, True, ["v4", "v5", "v3"]),
        # It was rolled back while it answered.
        ("v6", False, ["v3", "v4", "v5"]),
        ("v6", True, ["v3", "v4", "v5"]),
    ],
)
def test_the_others_come_by_their_traffic(
    settings: ServingSettings, failed: str, again: bool, asked: list[str]
) -> None:
    save(render({"v3": 60, "v5": 10, "v4": 30}, settings), applied_path(settings))

    assert Predictors(settings, "http://127.0.0.1:1").others_than(failed, again) == asked


def test_the_only_one_is_asked_again_only_where_that_may_help(settings: ServingSettings) -> None:
    save(render({"v3": 100}, settings), applied_path(settings))
    predictors = Predictors(settings, "http://127.0.0.1:1")

    assert predictors.others_than("v3", False) == predictors.others_than(UNKNOWN_PREDICTOR, False) == []
    assert predictors.others_than("v3", True) == predictors.others_than(UNKNOWN_PREDICTOR, True) == ["v3"]


def test_without_a_manifest_there_are_none(settings: ServingSettings) -> None:
    assert Predictors(settings, "http://127.0.0.1:1").others_than(UNKNOWN_PREDICTOR, True) == []
