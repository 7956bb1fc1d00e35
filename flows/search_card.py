"""What people see of a search: the components of its Metaflow card."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from flows.cards import WIDTH

if TYPE_CHECKING:
    from flows.training import TrainingSet
    from flows.trials import Recommendation
    from models.search import HalfSearch, Search

SMALL_WIDTH = 200
"""Width of one of three plots beside each other."""


def search_card(
    search: "Search", recommendation: "Recommendation", choosing: "TrainingSet", confirming: "TrainingSet"
) -> list[Any]:
    """What was tried, how it went, what it cost, and whether the winner is better outside noise."""
    from metaflow.cards import Markdown, Table, VegaChart

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
            VegaChart.from_altair_chart(_best_so_far_chart(search, half)),
            Markdown(f"## {half.half.name}: {half.half.figure} by setting"),
            VegaChart.from_altair_chart(_settings_chart(half)),
            Markdown(f"## {half.half.name}: all proposals"),
            _proposals_table(half),
        ]
    if failed := [outcome for outcome in search.outcomes if outcome.failure]:
        components += [Markdown("## Failed trials")]
        components += [
            Markdown(f"- {dict(outcome.trial.proposals)}: `{outcome.failure}`") for outcome in failed
        ]
    return components


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
