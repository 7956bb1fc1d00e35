"""What people see of a replay: a card, a picture, and the figures as a file."""

from typing import Any

import pandas as pd

from feature_repo.settings import FeatureSettings
from flows.replaying.policies import Policy

WIDTH, HEIGHT = 720, 220
"""Of each of the two plots, in pixels: they stand below each other in a README."""

COLOURS = {
    Policy.NEVER: "#9aa5b1",
    Policy.MONTHLY: "#1f77b4",
    Policy.QUARTERLY: "#2a9d5c",
    Policy.REFRESH: "#e9a23b",
    Policy.LOOP: "#d1495b",
}


def replay_card(figures: dict[str, Any]) -> list[Any]:
    """The policies beside each other, month by month, and what the loop did and why."""
    from metaflow.cards import Markdown, Table, VegaChart

    loop = figures[Policy.LOOP]
    months = loop["months"]
    return [
        Markdown("# Policies of retraining, on the same people"),
        Markdown(
            f"{sum(month['events'] for month in months):,} rentals from {months[0]['month']} to "
            f"{months[-1]['month']}. Each month's people are answered by the version that a policy serves "
            "then; what they took and how they rated it is known only afterwards. Never, monthly and "
            "quarterly go by the calendar, with the catalogue of their training. A refresh exports the same "
            "weights with the catalogue as of a week's begin. The loop does that, and trains when its "
            "monitoring finds a reason; what it trained must pass the gate and a canary."
        ),
        Table(
            headers=[
                *("policy", "trainings", "seconds of training", "RMSE (stars)", "NDCG@10"),
                *("RMSE beside monthly", "NDCG@10 beside monthly", "gain of NDCG@10 over never"),
            ],
            data=[
                [
                    policy,
                    str(one["trainings"]),
                    f"{one['training_seconds']:.0f}",
                    f"{one['rmse']:.4f}",
                    f"{one['ndcg10']:.4f}",
                    f"{one['rmse_ratio_to_monthly'] - 1:+.2%}",
                    f"{one['ndcg10_ratio_to_monthly'] - 1:+.2%}",
                    _gain(one["gain_over_never"]["ndcg10"]),
                ]
                for policy, one in figures.items()
            ],
        ),
        VegaChart(replay_chart(figures).to_dict()),
        Markdown("## What the loop did"),
        Table(
            headers=["month", "reason", "outcome", "why", "moved since", "served all from", "days between"],
            data=[
                [
                    *(each["month"], each["reason"], each["outcome"], each["detail"]),
                    each["shift"] or "",
                    each["promoted_at"] or "",
                    str(each["days_from_shift_to_promotion"] or ""),
                ]
                for each in loop["each_training"]
            ],
        ),
    ]


def replay_chart(figures: dict[str, Any]) -> Any:
    """NDCG@10 of each month by policy, and the RMSE beside never; a point is a training.

    Months differ more in their RMSE than policies do: alone its lines would lie on each other.
    """
    import altair

    trained = {policy: {each["month"] for each in one["each_training"]} for policy, one in figures.items()}
    frame = pd.DataFrame(
        {
            **month,
            "policy": policy,
            "trained": month["month"] in trained[policy],
            "rmse_change": month["rmse"] / never["rmse"] - 1,
        }
        for policy, one in figures.items()
        for month, never in zip(one["months"], figures[Policy.NEVER]["months"], strict=True)
    )
    colour = altair.Color(
        "policy",
        type="nominal",
        sort=list(Policy),
        title="retraining",
        scale=altair.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
    )
    charts = []
    for figure, title, form in (
        ("ndcg10", "NDCG@10 (higher is better)", ".3f"),
        ("rmse_change", "RMSE beside never (lower is better)", ".1%"),
    ):
        line = altair.Chart(frame, width=WIDTH, height=HEIGHT).encode(
            x=altair.X("month", type="temporal", title=None, axis=altair.Axis(format="%b %Y")),
            y=altair.Y(
                figure,
                type="quantitative",
                title=title,
                scale=altair.Scale(zero=False),
                axis=altair.Axis(format=form),
            ),
            color=colour,
            tooltip=["policy", "month", "version", "events", "ndcg10", "rmse"],
        )
        points = line.transform_filter("datum.trained").mark_point(filled=True, size=45)
        charts.append(line.mark_line() + points)
    return altair.vconcat(*charts)


def write_figures(figures: dict[str, Any]) -> str:
    """Write ``bench/replay.json`` and ``bench/replay.svg`` below the home, and return what came of it."""
    from models.files import replacing
    from serving.files import replace_json

    folder = FeatureSettings().home / "bench"
    replace_json(folder / "replay.json", figures)
    with replacing(folder / "replay.svg") as picture:
        replay_chart(figures).save(str(picture), format="svg")
    lines = [
        f"{'policy':10} {'trainings':>9} {'RMSE':>8} {'to monthly':>10} {'NDCG@10':>8} {'to monthly':>10}"
    ]
    lines += [
        f"{policy:10} {one['trainings']:9} {one['rmse']:8.4f} {one['rmse_ratio_to_monthly'] - 1:+10.2%} "
        f"{one['ndcg10']:8.4f} {one['ndcg10_ratio_to_monthly'] - 1:+10.2%}"
        for policy, one in figures.items()
    ]
    return "\n".join([*lines, f"figures and plot: {folder / 'replay.json'}, {folder / 'replay.svg'}"])


def _gain(one: dict[str, Any]) -> str:
    return f"{one['gain']:+.4f} [{one['interval'][0]:+.4f}, {one['interval'][1]:+.4f}]"
