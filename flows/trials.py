"""What the search flow composes: windows before the tests, one trial on them, and what is recommended."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.settings import FlowSettings
from flows.training import TrainingSet, split
from models.catalogues import utc
from models.columns import Columns
from models.files import replacing
from models.settings import Hyperparameters

if TYPE_CHECKING:
    from models.comparison import EventFigures, Gain
    from models.search import Outcome, Search, Trial

CONFIRMING_SEEDS = 2
"""Trainings of the winner and of the present settings, each with another seed: a gain must outlast it."""


class HistoryError(ValueError):
    """There is too little before the tests to search on; the message names the remedy."""


def before_tests(data: TrainingSet) -> TrainingSet:
    """Return what was known when the tests of ``data`` began, with as long a test of its own at its end.

    Raises:
        HistoryError: there is no event to learn from, no test, or no catalogue before it.
    """
    earlier, _ = split(data)
    times, catalogue_from = utc(earlier["event_timestamp"]), utc(data.catalogues["snapshot_at"]).min()
    begin = data.test_from - (data.until - data.test_from)
    learnt = times[times < begin]
    if learnt.empty or len(learnt) == len(times) or learnt.max() < catalogue_from:
        raise HistoryError(
            f"the search learns from ratings and catalogues before {begin:%Y-%m-%d} and tests on those up to "
            f"{data.test_from:%Y-%m-%d}; here ratings run from {times.min():%Y-%m-%d} to "
            f"{times.max():%Y-%m-%d} and catalogues from {catalogue_from:%Y-%m-%d} on: give a later --until, "
            "fewer RENTALS_TEST_DAYS or more RENTALS_CATALOGUE_MONTHS"
        )
    return replace(
        data,
        events=earlier,
        catalogues=data.catalogues[utc(data.catalogues["snapshot_at"]) <= data.test_from],
        until=data.test_from,
        test_from=begin,
    )


def try_out(trial: "Trial", data: TrainingSet, columns: Columns) -> "Outcome":
    """Train by the trial's hyperparameters and measure both halves on the tests of ``data``."""
    from models.search import Outcome

    began = time.monotonic()
    measured = measure(trial.hyperparameters, data, columns)
    figures = {"ranking": measured.ndcg_at_10, "rating": measured.rmse}
    return Outcome(trial, figures, time.monotonic() - began)


def measure(hyperparameters: Hyperparameters, data: TrainingSet, columns: Columns) -> "EventFigures":
    """Train on what was known before the tests of ``data`` and measure on these, event by event."""
    from models.comparison import event_figures
    from models.train import fit

    train, test = split(data)
    return event_figures(fit(train, data.catalogues, columns, hyperparameters), test, data.catalogues)


@dataclass(frozen=True)
class Contender:
    """One of the trainings that confirm the search's winner, or fail to."""

    best: bool
    hyperparameters: Hyperparameters


def contenders(search: "Search") -> list[Contender]:
    """The present settings and the best found, with every seed; equal ones only once."""
    return [
        Contender(best, settings.model_copy(update={"seed": settings.seed + number}))
        for number in range(CONFIRMING_SEEDS)
        for best, settings in ((False, search.present), (True, search.best))
        if not best or search.best != search.present
    ]


@dataclass(frozen=True)
class Recommendation:
    """The settings to take, and for each half how the best found compares with the present ones.

    A half takes the best found only where its gain is proven on the window that chose nothing.
    """

    settings: dict[str, float]
    gains: "Mapping[str, Gain | None]"
    """By half, in its figure's unit; None where nothing tried was better on the choosing window."""

    def lines(self) -> list[str]:
        """The settings as ``RENTALS_…`` lines, such as a shell or an ``.env`` file reads."""
        return [f"RENTALS_{name.upper()}={value}" for name, value in self.settings.items()]

    def words(self) -> list[str]:
        """A sentence for each half."""
        return [f"{half}: {_verdict(gain)}" for half, gain in self.gains.items()]


def _verdict(gain: "Gain | None") -> str:
    if not gain:
        return "nothing that was tried is better; keep the present settings"
    verdict = "better" if gain.proven else "not better outside noise; keep the present settings"
    low, high = gain.interval
    return (
        f"{gain.first:.5f} with the present settings, {gain.second:.5f} with the best found, gain "
        f"{gain.gain:+.5f} [{low:+.5f}, {high:+.5f}]: {verdict}"
    )


def recommend(search: "Search", measured: list[tuple[Contender, "EventFigures"]]) -> Recommendation:
    """Compare the best found with the present settings on the confirming window, half by half."""
    from models.comparison import ranking_gain, rating_gain
    from models.search import PRESENT

    present = [figures for contender, figures in measured if not contender.best]
    best = [figures for contender, figures in measured if contender.best]
    compare = {"ranking": ranking_gain, "rating": rating_gain}
    settings: dict[str, float] = {}
    gains: dict[str, Gain | None] = {}
    for half in search.halves:
        name = half.half.name
        gain = compare[name](present, best) if half.best.number != PRESENT else None
        gains[name] = gain
        taken = search.best if gain and gain.proven else search.present
        settings |= {setting.name: getattr(taken, setting.name) for setting in half.half.space}
    return Recommendation(settings, gains)


def end_round(search: "Search", run: str, outcomes: "list[Outcome]") -> None:
    """Prune and propose by a round's ``outcomes``, print it, and bring it to MLflow under the name ``run``.

    Raises:
        SearchError: every trial failed.
    """
    from models.trial_log import TrialLog

    search.end_round(outcomes)
    for outcome in outcomes:
        numbers = ", ".join(f"{half} {number}" for half, number in outcome.trial.proposals.items())
        figures = ", ".join(f"{half} {figure:.5f}" for half, figure in outcome.figures.items())
        print(f"{numbers}: {outcome.failure or f'{figures} after {outcome.seconds:.0f} s'}")
    for half in search.halves:
        print(f"{half.half.name}: the best so far is {half.best.values}")
    TrialLog(run).write(search)


def close_log(run: str, recommendation: Recommendation) -> None:
    """Bring what is recommended, and the gains behind it, to MLflow."""
    from models.trial_log import TrialLog

    figures: dict[str, float] = {}
    for half, gain in recommendation.gains.items():
        if gain:
            figures |= {
                f"{half}_gain": gain.gain,
                f"{half}_gain_interval_low": gain.interval[0],
                f"{half}_gain_interval_high": gain.interval[1],
            }
    TrialLog(run).close(recommendation.settings, figures)


def write_recommendation(recommendation: Recommendation) -> Path:
    """Write ``search/best.env`` below the home, with the figures as comments, and return where it is."""
    path = FlowSettings().home / "search" / "best.env"
    with replacing(path) as temporary:
        comments = [f"# {words}" for words in recommendation.words()]
        temporary.write_text("\n".join([*comments, *recommendation.lines(), ""]))
    return path
