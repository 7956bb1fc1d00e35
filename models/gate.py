"""Whether a trained model may become a version: one pure function of its figures and its rival's."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.comparisons import NDCG, Comparison, pairs, parts
from models.settings import GateSettings

if TYPE_CHECKING:
    import pandas as pd

    from models.window_scores import WindowScores

ERROR_RATE = 0.05
"""Chance that a model without any loss is refused for a loss in a segment, over all segments together."""


@dataclass(frozen=True)
class GateDecision:
    """What was decided, why, and from which figures.

    Attributes:
        passed: the candidate may become a version.
        reasons: in what the rival was beaten; or everything for which the candidate is refused.
        rival: with what it was compared.
        events: events of the window.
        ranked_events: those whose rental was in the catalogue.
        figures: the two comparisons over all events; none where the figures allow no comparison.
        segments: the comparisons in every large segment.
        onnx_max_abs_diff: largest difference between PyTorch and ONNX.
        thresholds: the settings that decided.
    """

    passed: bool
    reasons: tuple[str, ...]
    rival: str
    events: int
    ranked_events: int
    figures: tuple[Comparison, ...]
    segments: tuple[Comparison, ...]
    onnx_max_abs_diff: float
    thresholds: dict[str, Any]

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'refused'}: {'; '.join(self.reasons)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as plain values, fit for JSON."""
        return asdict(self)


def decide(
    candidate: "WindowScores",
    rival: "WindowScores",
    ranked: np.ndarray,
    users: np.ndarray,
    segments: "pd.DataFrame",
    onnx_max_abs_diff: float,
    adversarial_faults: Sequence[str],
    settings: GateSettings,
) -> GateDecision:
    """Decide whether ``candidate`` becomes a version.

    It must be better than the rival outside noise in at least one of the two main figures (the lower end of
    the paired 95 % interval of NDCG@10 or of the squared error is above zero) and in neither worse by more
    than a margin (that lower end is above minus the margin: a non-inferiority test, Piaggio et al., JAMA
    2012); lose nowhere in a large segment (a loss larger than the margin and outside noise, with Bonferroni's
    correction for the number of comparisons); agree with its exported graph; and answer hostile requests with
    finite numbers. A model that equals its rival passes with a chance of at most 5 %: two tails of 2.5 %.

    Args:
        candidate: its figures on the events of the window.
        rival: those of the champion or the baselines, on the same events.
        ranked: bool [events], whether the event counts for the ranking.
        users: ids [events]; users, not events, are independent of each other.
        segments: text [events, partitions].
        onnx_max_abs_diff: of the exported graph to PyTorch; NaN where one answers NaN.
        adversarial_faults: what went wrong with hostile requests, in words.
        settings: margins and limits.
    """
    refusals = _uncomparable(candidate, rival, ranked, settings)
    figures: tuple[Comparison, ...] = ()
    large: tuple[Comparison, ...] = ()
    if not refusals:
        figures, large = _compare(candidate, rival, ranked, users, segments, settings)
        if not any(figure.better for figure in figures):
            refusals.append(f"not better than {rival.name} outside noise: {_joined(figures)}")
        refusals += [
            f"may be worse than {rival.name} by more than {figure.margin:.4f}: {figure}"
            for figure in figures
            if not figure.no_worse
        ]
        refusals += [
            f"worse than {rival.name} by more than {part.margin:.4f}: {part}" for part in large if part.lost
        ]
    if not onnx_max_abs_diff < settings.parity_limit:
        refusals.append(
            f"the ONNX graph differs from PyTorch by {onnx_max_abs_diff:.1e}, not below "
            f"{settings.parity_limit:.0e}: look at what the exporter made of the last change"
        )
    refusals += [f"hostile input: {fault}" for fault in adversarial_faults]
    won = _joined([figure for figure in figures if figure.better])
    return GateDecision(
        passed=not refusals,
        reasons=tuple(refusals) or (f"better than {rival.name} outside noise: {won}",),
        rival=rival.name,
        events=len(users),
        ranked_events=int(ranked.sum()),
        figures=figures,
        segments=large,
        onnx_max_abs_diff=onnx_max_abs_diff,
        thresholds=settings.model_dump(),
    )


def _uncomparable(
    candidate: "WindowScores", rival: "WindowScores", ranked: np.ndarray, settings: GateSettings
) -> list[str]:
    found = []
    for scores in (candidate, rival):
        damaged = ~np.isfinite(scores.squared_error) | (ranked & ~np.isfinite(scores.ndcg))
        if damaged.any():
            found.append(
                f"{scores.name} answers {damaged.sum():,} of {len(ranked):,} events with no finite number"
            )
    if len(ranked) < settings.least_events or not ranked.any():
        found.append(
            f"the window has {len(ranked):,} events, {ranked.sum():,} of them ranked, and "
            f"{settings.least_events:,} are needed: bring newer ratings"
        )
    return found


def _compare(
    candidate: "WindowScores",
    rival: "WindowScores",
    ranked: np.ndarray,
    users: np.ndarray,
    segments: "pd.DataFrame",
    settings: GateSettings,
) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
    ranking, rating = pairs(candidate, rival, ranked, users)
    large = [
        *parts(ranking, segments[ranked], settings.large_segment_events),
        *parts(rating, segments, settings.large_segment_events),
    ]
    share = {NDCG: settings.segment_ranking_margin}
    return (
        (ranking.compared(settings.ranking_margin), rating.compared(settings.rating_margin)),
        tuple(
            part.compared(share.get(part.figure, settings.segment_rating_margin), 1 - ERROR_RATE / len(large))
            for part in large
        ),
    )


def _joined(figures: Sequence[Comparison]) -> str:
    return "; ".join(str(figure) for figure in figures)
