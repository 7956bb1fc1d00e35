"""What people see of a run: the components of Metaflow cards."""

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from flows.training import TrainingSet
    from flows.trials import Recommendation
    from models.evaluation import Evaluation
    from models.search import HalfSearch, Search
    from monitoring.drift_report import DriftReport
    from serving.rollout import RolloutOutcome

WIDTH = 480
"""Width of a plot in pixels: two fit beside each other on a laptop's screen."""

SMALL_WIDTH = 200
"""Width of one of three plots beside each other."""


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
        Markdown("## Ranking beside the baselines (higher is better)"),
        _chart(_ranking_chart(evaluation)),
        Markdown("## Rating error beside the baselines (lower is better)"),
        _chart(_rating_chart(evaluation)),
        Markdown("## Calibration: what was predicted and what was given, by tenths of the predictions"),
        _chart(_calibration_chart(evaluation)),
    ]


def drift_card(report: "DriftReport", periods: str, chart: dict[str, Any]) -> list[Any]:
    """What moved, how far and how surely; with the two distributions of what moved."""
    from metaflow.cards import Markdown, Table, VegaChart

    verdict = f"**Drift in {', '.join(report.drifted)}.**" if report.drifted else "**No drift.**"
    return [
        Markdown("# New ratings beside the training data"),
        Markdown(f"{verdict} {periods}: {report.reference_rows:,} against {report.current_rows:,} rows."),
        Table(
            headers=["feature", "drifted", "PSI", "adjusted p", "in words"],
            data=[
                [
                    feature.name,
                    "yes" if feature.drifted else "no",
                    f"{feature.effects.get('psi', float('nan')):.3f}",
                    f"{feature.adjusted_p_value:.1e}",
                    feature.explanation,
                ]
                for feature in report.features
            ],
        ),
        VegaChart(chart),
    ]


def rollout_card(outcome: "RolloutOutcome") -> list[Any]:
    """What was decided, and from which figures."""
    from metaflow.cards import Markdown, Table

    verdict = "promoted" if outcome.promoted else "rolled back"
    return [
        Markdown(f"# Version {outcome.version} was {verdict}"),
        *[Markdown(f"- {reason}") for reason in outcome.reasons],
        Table(
            headers=["figure", "value"],
            data=[[name, f"{value:.4g}"] for name, value in outcome.figures.items()],
        ),
    ]


def search_card(
    search: "Search", recommendation: "Recommendation", choosing: "TrainingSet", confirming: "TrainingSet"
) -> list[Any]:
    """What was tried, how it went, what it cost, and whether the winner is better outside noise."""
    from metaflow.cards import Markdown, Table

    from models.search import BUDGETS

    components: list[Any] = [
        Markdown("# The search for hyperparameters"),
        *[Markdown(f"- **{words}**") for words in recommendation.words()],
        Markdown(
            f"Chosen on the ratings from {choosing.test_from:%Y-%m-%d}, confirmed on those from "
            f"{confirming.test_from:%Y-%m-%d} to {confirming.until:%Y-%m-%d}. The tests of the training flow "
            "begin there, and nothing here saw them. Intervals are 95 % bootstrap over users, paired."
        ),
        Markdown("## What to take"),
        Markdown("```\n" + "\n".join(recommendation.lines()) + "\n```"),
        Markdown("## Budget spent"),
        Table(
            headers=["round", "epochs", "trials", "failed", "seconds"],
            data=[_round_row(search, round) for round in range(len(BUDGETS))],
        ),
    ]
    for half in search.halves:
        components += [
            Markdown(f"## {half.half.name}: the best so far (a round has more epochs than the one before)"),
            _chart(_best_so_far_chart(search, half)),
            Markdown(f"## {half.half.name}: {half.half.figure} by setting"),
            _chart(_settings_chart(half)),
            Markdown(f"## {half.half.name}: all proposals"),
            _proposals_table(half),
        ]
    if failed := [outcome for outcome in search.outcomes if outcome.failure]:
        components += [Markdown("## Failed trials")]
        components += [
            Markdown(f"- {dict(outcome.trial.proposals)}: `{outcome.failure}`") for outcome in failed
        ]
    return components


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


def _round_row(search: "Search", round: int) -> list[str]:
    outcomes = [outcome for outcome in search.outcomes if outcome.trial.round == round]
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    return [str(round + 1), str(search.epochs(round)), str(len(outcomes)), str(failed), f"{seconds:.0f}"]


def _proposals_table(half: "HalfSearch") -> Any:
    from metaflow.cards import Table

    from models.search import BUDGETS, PRESENT

    names = [setting.name for setting in half.half.space]
    rounds = range(len(BUDGETS))
    return Table(
        headers=[
            "proposal",
            *[half.half.short(name) for name in names],
            *[f"round {round + 1}" for round in rounds],
            "state",
        ],
        data=[
            [
                "present" if proposal.number == PRESENT else str(proposal.number),
                *[f"{proposal.values[name]:.4g}" for name in names],
                *[f"{proposal.figures[r]:.5f}" if r in proposal.figures else "" for r in rounds],
                str(proposal.state),
            ]
            for proposal in half.proposals
        ],
    )


def _best_so_far_chart(search: "Search", half: "HalfSearch") -> Any:
    import altair

    name, seconds, rows = half.half.name, 0.0, []
    for outcome in search.outcomes:
        seconds += outcome.seconds
        if name in outcome.figures and name in outcome.trial.proposals:
            rows.append((seconds, outcome.figures[name], f"round {outcome.trial.round + 1}"))
    frame = pd.DataFrame(rows, columns=["seconds", "figure", "round"])
    frame["best"] = frame["figure"].cummax() if half.half.higher_is_better else frame["figure"].cummin()
    base = altair.Chart(frame).encode(x=altair.X("seconds", title="seconds of training and measuring"))
    figure = altair.Scale(zero=False)
    points = base.mark_point().encode(
        y=altair.Y("figure", scale=figure, title=half.half.figure), color=altair.Color("round")
    )
    return (base.mark_line(interpolate="step-after").encode(y=altair.Y("best")) + points).properties(
        width=WIDTH
    )


def _settings_chart(half: "HalfSearch") -> Any:
    import altair

    from models.search import PRESENT

    frame = pd.DataFrame(
        [
            {
                **proposal.values,
                "figure": figure,
                "round": f"round {round + 1}",
                "settings": "present" if proposal.number == PRESENT else "proposed",
            }
            for proposal in half.proposals
            for round, figure in proposal.figures.items()
        ]
    )
    plots = [
        altair.Chart(frame)
        .mark_point()
        .encode(
            x=altair.X(
                setting.name,
                title=half.half.short(setting.name),
                axis=altair.Axis(tickCount=4),
                scale=altair.Scale(
                    type="log" if setting.log else "linear", domain=[setting.low, setting.high]
                ),
            ),
            y=altair.Y("figure", scale=altair.Scale(zero=False), title=half.half.figure),
            color=altair.Color("round", legend=altair.Legend(orient="bottom")),
            shape=altair.Shape(
                "settings",
                scale=altair.Scale(domain=["proposed", "present"], range=["circle", "triangle-up"]),
                legend=altair.Legend(orient="bottom"),
            ),
            size=altair.condition("datum.settings == 'present'", altair.value(160), altair.value(40)),
        )
        .properties(width=SMALL_WIDTH, height=SMALL_WIDTH)
        for setting in half.half.space
    ]
    return altair.concat(*plots, columns=3)


def _chart(chart: Any) -> Any:
    from metaflow.cards import VegaChart

    return VegaChart.from_altair_chart(chart)
