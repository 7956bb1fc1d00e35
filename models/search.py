"""The search for hyperparameters: what may vary, what is tried next, and what goes on to a larger budget.

The ranking and the rating half of the recommender share no weights, so each is a search of its own, over
fewer settings; one fit tries a proposal of each. A round's proposals are all measured before any is judged:
the best third goes on to more epochs (successive halving, Jamieson and Talwalkar 2016), and the second round
is joined by as many new ones, drawn from what the first has shown (as in BOHB, Falkner et al. 2018).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING

from models.search_space import HALVES, Half, Setting
from models.settings import Hyperparameters

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

BUDGETS = (0.25, 0.5, 1.0)
"""Share of the present epochs in each round; the last is the whole training."""

REDUCTION = 3
"""Of so many proposals one goes on (Li et al. 2018 advise 3 or 4)."""

REFRESHED = 1
"""The round that new proposals join: the first one to know more than chance, and still a cheap one."""

PRESENT = 0
"""Number of the proposal that holds the settings as they are; it stays to the end, to be compared with."""

DIGITS = 4
"""Significant digits of a proposed setting."""


class SearchError(ValueError):
    """The search cannot begin or go on; the message names the remedy."""


class State(StrEnum):
    """What became of a proposal."""

    RUNNING = "running"
    PRUNED = "pruned"
    FAILED = "failed"
    COMPLETE = "complete"


@dataclass
class Proposal:
    """Values of one half's settings, and how good they were."""

    number: int
    values: dict[str, float]
    state: State = State.RUNNING
    figures: dict[int, float] = field(default_factory=dict)
    """The half's figure by round, from 0."""


@dataclass(frozen=True)
class Trial:
    """One fit: the numbers of the proposals that it tries, by half, and all its hyperparameters."""

    round: int
    proposals: Mapping[str, int]
    hyperparameters: Hyperparameters


@dataclass(frozen=True)
class Outcome:
    """What came of a trial: each half's figure and the seconds it took, or why it failed."""

    trial: Trial
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    failure: str = ""


class HalfSearch:
    """The proposals for one half, through the rounds."""

    def __init__(self, half: Half, present: Hyperparameters, proposals: int, seed: int) -> None:
        """Propose the present settings and ``proposals - 1`` others, drawn evenly from the space."""
        self.half, self.seed, self.round = half, seed, 0
        self.proposals = [Proposal(PRESENT, {s.name: getattr(present, s.name) for s in half.space})]
        self._propose(proposals - 1)

    @property
    def running(self) -> list[Proposal]:
        """The proposals of the present round, in order of their numbers."""
        return [proposal for proposal in self.proposals if proposal.state == State.RUNNING]

    @property
    def best(self) -> Proposal:
        """The best proposal among those that got furthest.

        Raises:
            SearchError: none was measured.
        """
        measured = [proposal for proposal in self.proposals if proposal.figures]
        if not measured:
            raise SearchError(f"no trial of the {self.half.name} half succeeded; the first error is above")
        last = max(max(proposal.figures) for proposal in measured)
        return self._ordered(measured, last)[0]

    def tell(self, figures: Mapping[int, float]) -> None:
        """Take the round's figures by proposal; a running one without a finite figure has failed."""
        for proposal in self.running:
            figure = figures.get(proposal.number, math.nan)
            if math.isfinite(figure):
                proposal.figures[self.round] = figure
            else:
                proposal.state = State.FAILED

    def narrow(self) -> None:
        """End the round: prune all but the best third and the present settings, and propose new ones in turn.

        After the last round what is left is complete.
        """
        if self.round == len(BUDGETS) - 1:
            for proposal in self.running:
                proposal.state = State.COMPLETE
            return
        ordered = self._ordered(self.running, self.round)
        kept = math.ceil(len(ordered) / REDUCTION)
        for proposal in ordered[kept:]:
            if proposal.number != PRESENT:
                proposal.state = State.PRUNED
        self.round += 1
        if self.round == REFRESHED:
            self._propose(kept)

    def _ordered(self, proposals: list[Proposal], round: int) -> list[Proposal]:
        """Those with a figure in ``round``, best first, the earlier one where two are equal."""
        measured = [proposal for proposal in proposals if round in proposal.figures]
        return sorted(measured, key=lambda proposal: -self.half.merit(proposal.figures[round]))

    def _propose(self, count: int) -> None:
        """Add proposals by a tree-structured Parzen estimator (Bergstra et al. 2011) of the round before.

        The study is made anew from what was measured, all of it with the same epochs, so that nothing but
        this object has to travel between tasks. With nothing measured the draws are even.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        space = {setting.name: _distribution(setting) for setting in self.half.space}
        study = optuna.create_study(
            direction="maximize" if self.half.higher_is_better else "minimize",
            # One measured proposal is enough to leave chance: the first round alone is drawn evenly.
            sampler=optuna.samplers.TPESampler(seed=self.seed + self.round, n_startup_trials=1),
        )
        for proposal in self._ordered(self.proposals, self.round - 1):
            value = proposal.figures[self.round - 1]
            study.add_trial(
                optuna.trial.create_trial(params=proposal.values, distributions=space, value=value)
            )
        for _ in range(count):
            values = {name: _rounded(value) for name, value in study.ask(space).params.items()}
            self.proposals.append(Proposal(len(self.proposals), values))


class Search:
    """Both halves' searches, and the trials that serve them together."""

    def __init__(self, present: Hyperparameters, trials: int, seed: int) -> None:
        """Begin from the ``present`` settings.

        Args:
            present: the settings as they are; what is not in the space stays so in every trial.
            trials: trials of the first round, the one of the present settings included.
            seed: of the draws; the same one proposes the same.

        Raises:
            SearchError: there are too few trials, or present settings are outside the space.
        """
        if trials < REDUCTION:
            raise SearchError(f"{trials} trials are no search; try at least {REDUCTION}")
        outside = [
            f"{setting.name} is {getattr(present, setting.name)}, outside {setting.low:g}..{setting.high:g}"
            for half in HALVES
            for setting in half.space
            if not setting.low <= getattr(present, setting.name) <= setting.high
        ]
        if outside:
            raise SearchError(
                f"{'; '.join(outside)}: set it inside, or widen HALVES in models/search_space.py"
            )
        self.present = present
        self.halves = [HalfSearch(half, present, trials, seed) for half in HALVES]
        self.outcomes: list[Outcome] = []

    def epochs(self, round: int) -> int:
        """Return the epochs that a trial of ``round`` trains for."""
        return math.ceil(BUDGETS[round] * self.present.epochs)

    def trials(self) -> list[Trial]:
        """The trials of the round; the first one has the present settings in both halves.

        Where a half has fewer proposals left than the other, the other's last trials keep its present ones.
        """
        round = self.halves[0].round
        trials = []
        for proposals in zip_longest(*(half.running for half in self.halves)):
            pairs = zip(self.halves, proposals, strict=True)
            tried = {search.half.name: proposal for search, proposal in pairs if proposal}
            values = {name: value for proposal in tried.values() for name, value in proposal.values.items()}
            trials.append(
                Trial(
                    round,
                    {half: proposal.number for half, proposal in tried.items()},
                    self.present.model_copy(update={**values, "epochs": self.epochs(round)}),
                )
            )
        return trials

    def end_round(self, outcomes: list[Outcome]) -> None:
        """Take what came of the round's trials, prune, and propose.

        Raises:
            SearchError: every trial failed; the message is the first one's.
        """
        if all(outcome.failure for outcome in outcomes):
            raise SearchError(f"every trial of the round failed, the first one with: {outcomes[0].failure}")
        self.outcomes += outcomes
        for search in self.halves:
            name = search.half.name
            search.tell(
                {
                    outcome.trial.proposals[name]: outcome.figures[name]
                    for outcome in outcomes
                    if name in outcome.trial.proposals and name in outcome.figures
                }
            )
            search.narrow()

    @property
    def best(self) -> Hyperparameters:
        """The present hyperparameters with the best values of each half."""
        values = {name: value for search in self.halves for name, value in search.best.values.items()}
        return self.present.model_copy(update=values)


def _rounded(value: float) -> float:
    # More digits make no other model, only settings that nobody can copy. The space's ends have fewer.
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def _distribution(setting: Setting) -> "BaseDistribution":
    import optuna

    if setting.whole:
        return optuna.distributions.IntDistribution(int(setting.low), int(setting.high), log=setting.log)
    return optuna.distributions.FloatDistribution(setting.low, setting.high, log=setting.log)
