"""The card of a trained recommender, as people read it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from models.card import Approval, ModelCard
from models.segments import GroupFigures


def test_a_card_comes_back_from_its_data(card):
    assert ModelCard.from_json(card.to_json()) == card


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_every_figure_group_and_comparison_is_on_the_page(card, suffix):
    page = card.render(suffix)
    for figure in card.figures:
        assert (
            f"{figure.value:.4f}" in page and f"[{figure.interval[0]:.4f}, {figure.interval[1]:.4f}]" in page
        )
        assert all(f"{value:.4f}" in page for value in figure.baselines.values())
    for one in card.groups:
        assert one.group in page and f"{one.rmse:.4f}" in page
    for one in (*card.gate.figures, *card.gate.segments):
        assert one.segment in page and f"{one.gain:+.4f}" in page
    for words in (
        *card.lineage.values(),
        card.approvals[0].at,
        "CycloneDX",
        "Not for: decisions about people",
    ):
        assert words in page


def test_the_evaluation_beside_its_baselines_is_kept(card, evaluation):
    ndcg = next(figure for figure in card.figures if figure.name == "ndcg@10")
    assert ndcg.value == evaluation.ndcg_at_10
    assert ndcg.baselines == {
        "popularity": evaluation.baselines["popularity_ndcg_at_10"],
        "popularity by purpose": evaluation.baselines["popularity_by_purpose_ndcg_at_10"],
    }


def group(partition: str, name: str, events: int, rmse: float, ndcg: float | None) -> GroupFigures:
    return GroupFigures(partition, name, events, rmse, (0.0, 1.0), ndcg, (0.0, 1.0) if ndcg else None)


def test_gaps_are_between_the_best_and_the_worst_of_the_large_groups(card):
    groups = (
        group("age group", "young", 500, 0.6, 0.05),
        group("age group", "middle", 500, 0.7, 0.03),
        group("age group", "old", 500, 0.9, 0.04),
        group("age group", "few", 20, 3.0, 0.9),
        group("body type", "tall", 500, 0.6, 0.05),
        group("purpose", "party", 500, 0.1, 0.5),
        group("purpose", "work", 500, 0.9, 0.05),
    )
    gaps = replace(card, groups=groups).gaps
    assert [(gap.partition, gap.figure, gap.best, gap.worst) for gap in gaps] == [
        ("age group", "RMSE", "young", "old"),
        ("age group", "NDCG@10", "young", "middle"),
    ]
    assert [gap.difference for gap in gaps] == pytest.approx([0.3, 0.02])
    assert gaps[0].interval == pytest.approx((0.3 - np.hypot(0.5, 0.5), 0.3 + np.hypot(0.5, 0.5)))


def test_the_page_opens_by_itself_and_runs_nothing(card):
    page = card.render(".html")
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<img|src=|href=\"http|@import|url\(", page)


def test_names_from_the_data_are_no_markup(card):
    strange = "<script>alert(1)</script> | a\nb"
    changed = replace(card, lineage={"reason": strange}, warnings=(strange,))
    assert "<script" not in changed.render(".html")
    row = next(line for line in changed.render(".md").splitlines() if line.startswith("| reason"))
    assert row == "| reason | <script>alert(1)</script> \\| a b |"


def test_a_warning_stands_before_everything_else(card):
    for suffix in (".md", ".html"):
        page = replace(card, warnings=("damaged on purpose",)).render(suffix)
        assert page.index("damaged on purpose") < page.lower().index("intended use")


def test_an_approval_is_added_and_the_others_stay(card):
    step = Approval("champion", "the rollout", "2024-06-02 00:00:00 UTC", ("enough requests",))
    assert card.approved(step).approvals == (*card.approvals, step)
