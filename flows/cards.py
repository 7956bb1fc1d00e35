"""What people see of a run: the components of Metaflow cards."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from flows.training import TrainingSet
    from models.evaluation import Evaluation
    from models.gate import GateDecision
    from models.importance import Importance
    from monitoring.drift_report import DriftReport
    from serving.rollout import RolloutOutcome

WIDTH = 480
"""Width of a plot in pixels: two fit beside each other on a laptop's screen."""


def training_card(evaluation: "Evaluation", data: "TrainingSet", reason: str) -> list[Any]:
    """Figures beside the baselines, and whether predicted ratings mean what they say."""
    from metaflow.cards import Markdown, Table

    rivals = evaluation.baselines
    rows = [
        ["RMSE (ratings 1..5)", _figure(evaluation.rmse, evaluation.rmse_interval), _rivals(rivals, "_rmse")],
        [
            "NDCG@10, full catalogue",
            _figure(evaluation.ndcg_at_10, evaluation.ndcg_at_10_interval),
            _rivals(rivals, "_ndcg_at_10"),
        ],
        [
            "HR@10, full catalogue",
            _figure(evaluation.hr_at_10, evaluation.hr_at_10_interval),
            _rivals(rivals, "_hr_at_10"),
        ],
    ]
    return [
        Markdown("# The recommender on the days after its training"),
        Markdown(
            f"Trained because: *{reason}*. {len(data.events):,} ratings before {data.until:%Y-%m-%d}, the "
            f"last {evaluation.events:,} for the test; {evaluation.ranked_events:,} of these are of rentals "
            "that the catalogue knew. Every feature is as of the event, from strictly earlier days."
        ),
        Table(
            headers=["figure", "recommender [95 % interval]", "baselines"],
            data=[[str(c) for c in r] for r in rows],
        ),
        Markdown(
            "RMSE is how far a predicted rating is off, in stars. HR@10 is the share of events whose rental "
            "is among the ten best of the whole catalogue; NDCG@10 counts less the further down it stands."
        ),
        Markdown("## Ranking beside the baselines (higher is better)"),
        _chart(_ranking_chart(evaluation)),
        Markdown("## Rating error beside the baselines (lower is better)"),
        _chart(_rating_chart(evaluation)),
        Markdown("## Calibration: what was predicted and what was given, by tenths of the predictions"),
        _chart(_calibration_chart(evaluation)),
    ]


def gate_card(decision: "GateDecision") -> list[Any]:
    """Whether the model becomes a version, why, and the paired figures behind it."""
    from metaflow.cards import Markdown, Table

    compared = [*decision.figures, *decision.segments]
    return [
        Markdown(f"# The gate {'let the model pass' if decision.passed else 'refused the model'}"),
        *[Markdown(f"- {reason}") for reason in decision.reasons],
        Markdown(
            f"Paired differences to {decision.rival} on {decision.events:,} events, above zero where the "
            "model is better. On all events the whole interval must lie above minus the margin; in a "
            "segment it must not lie wholly below. The ONNX graph, which is what is served, differs from "
            f"PyTorch by at most {decision.onnx_max_abs_diff:.1e}."
        ),
        Table(
            headers=["figure", "segment", "events", "model", "rival", "gain [interval]", "margin"],
            data=[
                [
                    one.figure,
                    one.segment,
                    f"{one.events:,}",
                    f"{one.candidate:.4f}",
                    f"{one.rival:.4f}",
                    _figure(one.gain, one.interval),
                    f"{one.margin:.4f}",
                ]
                for one in compared
            ],
        ),
    ]


def importance_section(importances: Sequence["Importance"]) -> list[Any]:
    """What the model's inputs are worth: the two figures without each, with 95 % intervals."""
    from metaflow.cards import Markdown

    return [
        Markdown("## What each subject's inputs are worth"),
        Markdown(
            "How much worse the model is where a subject's values are exchanged among the events, or the "
            "rentals, of a snapshot: a long bar is a subject that it relies on. What "
            "also stands in another subject's inputs is not lost with it. Lines are 95 % intervals over "
            "users and permutations; one that crosses zero proves nothing."
        ),
        _chart(importance_chart(importances, "ndcg_at_10", "loss of NDCG@10")),
        _chart(importance_chart(importances, "rmse", "rise of RMSE (stars)")),
    ]


def importance_chart(importances: Sequence["Importance"], figure: str, title: str) -> Any:
    """Bars of one figure by subject with their intervals, the most important first."""
    import altair

    rows = [
        (one.group, getattr(one, figure), *getattr(one, f"{figure}_interval"), ", ".join(one.columns))
        for one in importances
    ]
    frame = pd.DataFrame(rows, columns=["subject", "loss", "low", "high", "inputs"])
    y = altair.Y("subject", type="nominal", sort=altair.SortField("loss", "descending"), title=None)
    bars = (
        altair.Chart(frame)
        .mark_bar()
        .encode(x=altair.X("loss", type="quantitative", title=title), y=y, tooltip=list(frame.columns))
    )
    intervals = (
        altair.Chart(frame)
        .mark_rule(strokeWidth=2, color="#333333")
        .encode(x=altair.X("low", type="quantitative"), x2="high", y=y)
    )
    return (bars + intervals).properties(width=WIDTH)


def drift_card(report: "DriftReport", periods: str, chart: dict[str, Any]) -> list[Any]:
    """What moved, how far and how surely; with the two distributions of what moved."""
    from metaflow.cards import Markdown, Table, VegaChart

    verdict = f"**Drift in {', '.join(report.drifted)}.**" if report.drifted else "**No drift.**"
    return [
        Markdown("# New ratings beside the training data"),
        Markdown(f"{verdict} {periods}: {report.reference_rows:,} against {report.current_rows:,} rows."),
        Table(
            headers=["feature", "drifted", "PSI", "adjusted p", "in words", "since"],
            data=[
                [
                    feature.name,
                    "yes" if feature.drifted else "no",
                    f"{feature.effects.get('psi', float('nan')):.3f}",
                    f"{feature.adjusted_p_value:.1e}",
                    feature.explanation,
                    str(feature.change or ""),
                ]
                for feature in report.features
            ],
        ),
        *([Markdown(str(report.joint))] if report.joint else []),
        VegaChart(chart),
        *([Markdown("## Rows that look new")] if report.new_rows else []),
        *[Markdown(f"- row {row.label}: {row.why}") for row in report.new_rows],
    ]


def rollout_card(outcome: "RolloutOutcome") -> list[Any]:
    """What was decided, and from which figures."""
    from metaflow.cards import Markdown, Table

    verdict = "promoted" if outcome.promoted else "rolled back"
    return [
        Markdown(f"# Version {outcome.version} was {verdict}"),
        *[Markdown(f"- {reason}") for reason in outcome.reasons],
        Markdown(
            "Evidence is a logarithm: 4.6 or more shows a loss at the level of 1 % (more where several steps "
            "share it), however often it is looked at; below zero it speaks for the version."
        ),
        Table(
            headers=["figure", "value"],
            data=[[name, f"{value:.4g}"] for name, value in outcome.figures.items()],
        ),
    ]


def _figure(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]"


def _rivals(baselines: dict[str, float], suffix: str) -> str:
    return ", ".join(
        f"{_words(name, suffix)} {value:.4f}" for name, value in baselines.items() if name.endswith(suffix)
    )


def _words(name: str, suffix: str) -> str:
    return name.removesuffix(suffix).replace("_", " ")


def _bars(evaluation: "Evaluation", suffix: str, own: float, title: str) -> Any:
    import altair

    rows = [("recommender", own)]
    rows += [(_words(name, suffix), v) for name, v in evaluation.baselines.items() if name.endswith(suffix)]
    return (
        altair.Chart(pd.DataFrame(rows, columns=["model", title]))
        .mark_bar()
        .encode(
            x=altair.X(title, type="quantitative"),
            y=altair.Y("model", type="nominal", sort=None, title=None),
            color=altair.condition(
                "datum.model == 'recommender'", altair.value("#1f77b4"), altair.value("#bbbbbb")
            ),
        )
        .properties(width=WIDTH)
    )


def _ranking_chart(evaluation: "Evaluation") -> Any:
    return _bars(evaluation, "_ndcg_at_10", evaluation.ndcg_at_10, "NDCG@10")


def _rating_chart(evaluation: "Evaluation") -> Any:
    return _bars(evaluation, "_rmse", evaluation.rmse, "RMSE")


def _calibration_chart(evaluation: "Evaluation") -> Any:
    import altair

    points = pd.DataFrame([(decile.predicted, decile.observed) for decile in evaluation.calibration])
    points.columns = pd.Index(["predicted", "observed"])
    ends = [float(points.min().min()), float(points.max().max())]
    scale = altair.Scale(domain=ends, nice=True)
    diagonal = altair.Chart(pd.DataFrame({"predicted": ends, "observed": ends})).mark_line(
        color="#bbbbbb", strokeDash=[4, 4]
    )
    measured = altair.Chart(points).mark_line(point=True)
    return (
        (diagonal + measured)
        .encode(
            x=altair.X("predicted", type="quantitative", scale=scale, title="mean predicted rating"),
            y=altair.Y("observed", type="quantitative", scale=scale, title="mean given rating"),
        )
        .properties(width=WIDTH)
    )


def _chart(chart: Any) -> Any:
    from metaflow.cards import VegaChart

    return VegaChart.from_altair_chart(chart)
