"""What people see of the performance in service: a section of the monitoring flow's card."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from flows.cards import WIDTH

if TYPE_CHECKING:
    from flows.monitored_performance import Served
    from monitoring.performance_report import PerformanceReport

CHARTS = {
    "rmse": "RMSE of the ratings given (stars; lower is better)",
    "reward_share": "Share of answers of which something was liked (higher is better)",
    "ndcg_at_10": "NDCG@10 of what was chosen; nothing chosen counts 0 (higher is better)",
    "calibration_error": "Predicted less given rating (stars; 0 is right)",
}
"""The figures that are drawn, and how to read them."""

BY_SEGMENT = ("rmse", "reward_share", "ndcg_at_10")
"""The figures that are told by segment."""


def performance_card(
    report: "PerformanceReport", served: "Served", test_rmse: float | None = None
) -> list[Any]:
    """How good what was served is over time, by segment, and whether what is served moved.

    Args:
        report: from the log.
        served: the comparison of what the champion served.
        test_rmse: the champion's figure in its evaluation, None where there is none.
    """
    from metaflow.cards import Markdown, Table, VegaChart

    from monitoring.performance_report import in_words

    if not report.answers:
        return [
            Markdown("# Performance in service"),
            Markdown("No answer is logged: nothing was served yet."),
        ]
    verdict = "; ".join(report.alarms) or "No alarm."
    components: list[Any] = [
        Markdown("# Performance in service"),
        Markdown(f"**{verdict}**"),
        Markdown(
            f"{report.answers:,} answers, judged by what users said or rented within "
            f"{in_words(report.horizon)}; {report.awaited:,} of them are younger and awaited. Bands are 95 % "
            "intervals over users. Hollow points are estimates: their labels have not all come."
        ),
    ]
    if test_rmse is not None:
        components.append(
            Markdown(
                f"Its RMSE in the evaluation was {test_rmse:.3f}, on all that was rented, not only "
                "on what it would have shown."
            )
        )
    drawn = set(report.table.dropna(subset="value")["metric"])
    for metric, title in CHARTS.items():
        components += [
            Markdown(f"## {title}"),
            VegaChart.from_altair_chart(performance_chart(report, metric))
            if metric in drawn
            else Markdown("No answer has its labels yet."),
        ]
    components += [
        Markdown("## By segment, in the latest period that has labels"),
        Table(
            headers=["version", "segment", "figure", "value [95 % interval]", "ratings or answers"],
            data=_latest(report.table),
        ),
        Markdown("## Is it surely worse?"),
        *[Markdown(f"- {each}") for each in report.watched],
        *[Markdown(f"- {note}") for note in report.notes],
        *[Markdown(f"- left out: {count:,} {why}") for why, count in report.left_out.items()],
        Markdown("## Served features and predictions"),
        Markdown(
            f"{served.words}. " + (f"**Drift in {', '.join(served.drifted)}.**" if served.drifted else "")
        ),
    ]
    if served.report:
        moved = [each for each in served.report.features if each.drifted] or served.report.features
        rows = [[each.name, each.explanation, str(each.change or "")] for each in moved]
        components.append(Table(headers=["feature", "in words", "since"], data=rows))
    return components


def performance_chart(report: "PerformanceReport", metric: str) -> Any:
    """One figure of everybody by period, a line a version, with its intervals."""
    import altair

    table = report.table
    table = table[(table["metric"] == metric) & (table["segment"] == "all")]
    # The figure of a period is drawn from its labels where there are any, with the estimate beside it.
    frame = table.assign(period=table["period_start"].dt.strftime("%Y-%m-%d"))
    frame = frame.drop(columns=["period_start", "period_end"])
    x = altair.X("period", type="temporal", title="period from")
    colour = altair.Color("model_version", type="nominal", title="version")
    scale = altair.Scale(zero=False)
    base = altair.Chart(frame)
    measured = base.transform_filter("!datum.estimated")
    bounds = {"y": altair.Y("lower", type="quantitative", scale=scale, title=None), "y2": altair.Y2("upper")}
    return altair.layer(
        measured.mark_area(opacity=0.2).encode(x=x, color=colour, **bounds),
        measured.mark_line().encode(
            x=x, color=colour, y=altair.Y("value", type="quantitative", scale=scale, title=None)
        ),
        base.mark_rule().transform_filter("datum.estimated").encode(x=x, color=colour, **bounds),
        base.mark_point(size=50).encode(
            x=x,
            color=colour,
            fill=altair.condition(
                "datum.estimated",
                altair.value("white"),
                altair.Fill("model_version", type="nominal", legend=None),
            ),
            y=altair.Y("value", type="quantitative", scale=scale, title=None),
            tooltip=["period", "model_version", "value", "lower", "upper", "count", "estimated"],
        ),
    ).properties(width=WIDTH)


def _latest(table: pd.DataFrame) -> list[list[str]]:
    """The figures by segment of each version's latest measured period, as rows of words."""
    measured = table[~table["estimated"] & table["metric"].isin(BY_SEGMENT)]
    last = measured.groupby(["model_version", "metric"])["period_start"].transform("max")
    rows = measured[measured["period_start"] == last].sort_values(["model_version", "segment", "metric"])
    return [
        [
            row["model_version"],
            row["segment"],
            row["metric"],
            f"{row['value']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]",
            f"{row['count']:,}",
        ]
        for row in rows.to_dict("records")
    ]
