"""Better hyperparameters: `python flows/search.py run [--trials N] [--seed N] [--until YYYY-MM-DD]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, catch, current, environment, resources, retry, step

from flows.cluster import pod, pods, scheduled
from flows.settings import ClusterSettings

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Trials run side by side: one that took every core would slow the others down more than it gained."""


def trial(function):
    """A step that trains once, on one core; it is tried a second time when it fails."""
    attempts = retry(times=1, minutes_between_retries=0)
    placed = pod(hours=12)(resources(cpu=1, memory=6144)(attempts(step(function))))
    return environment(vars=ONE_THREAD)(placed)


@pods
@scheduled(ClusterSettings().search_cron)
class SearchFlow(FlowSpec):
    """Search hyperparameters on days before the tests: three rounds of trials, each of fewer and longer ones.

    1. start: the training set without its tests; two windows at its end, one to choose on, one to confirm on.
    2. screen, refine, finish: a round's trials, side by side, for a quarter, half and all of the epochs.
    3. screened, refined, finished: collect what came of them.
    4. narrow, select, choose: end a round; all but the best third stop early. MLflow has every trial.
    5. confirm: the winner and the present settings on the later window, with more than one seed.
    6. judge: is the winner better outside noise; the card shows the search.
    7. end: print the settings to take, and write them to search/best.env.

    A round is a step of its own, because Metaflow has no loop around a foreach. A failed trial is shown as
    such, and does not end the search.
    """

    until = Parameter("until", default="", help="day before which ratings count; empty: as the features")
    trials = Parameter("trials", default=12, help="trials of the first round")
    seed = Parameter("seed", default=7, help="seed of what is proposed")

    @resources(cpu=4, memory=16384)
    @step
    def start(self):
        """Build the training set and propose the first round."""
        from feature_repo.settings import FeatureSettings
        from flows.parameters import day
        from flows.settings import FlowSettings
        from flows.training import training_set
        from flows.trials import before_tests
        from models.search import Search
        from models.settings import Hyperparameters

        self.search = Search(Hyperparameters(), self.trials, self.seed)
        data = training_set(FeatureSettings(), FlowSettings(), day(self.until, "until"))
        self.confirming = before_tests(data)
        self.choosing = before_tests(self.confirming)
        self.round = self.search.trials()
        self.next(self.screen, foreach="round")

    @catch(var="failure")
    @trial
    def screen(self):
        """Train for a quarter of the epochs."""
        self._try()
        self.next(self.screened)

    @step
    def screened(self, inputs):
        """Collect what came of the trials."""
        self._collect(inputs)
        self.next(self.narrow)

    @step
    def narrow(self):
        """End the first round; new proposals join what is left."""
        self._end_round()
        self.next(self.refine, foreach="round")

    @catch(var="failure")
    @trial
    def refine(self):
        """Train for half of the epochs."""
        self._try()
        self.next(self.refined)

    @step
    def refined(self, inputs):
        """Collect what came of the trials."""
        self._collect(inputs)
        self.next(self.select)

    @step
    def select(self):
        """End the second round."""
        self._end_round()
        self.next(self.finish, foreach="round")

    @catch(var="failure")
    @trial
    def finish(self):
        """Train for all of the epochs."""
        self._try()
        self.next(self.finished)

    @step
    def finished(self, inputs):
        """Collect what came of the trials."""
        self._collect(inputs)
        self.next(self.choose)

    @step
    def choose(self):
        """End the last round."""
        from flows.trials import contenders

        self._end_round()
        self.contenders = contenders(self.search)
        self.next(self.confirm, foreach="contenders")

    @trial
    def confirm(self):
        """Train again on all before the confirming window."""
        from flows.training import feature_columns
        from flows.trials import measure

        self.measured = measure(self.input.hyperparameters, self._window("confirming"), feature_columns())
        self.next(self.judge)

    @card(type="blank")
    @step
    def judge(self, inputs):
        """Compare the winner with the present settings."""
        from flows.search_card import search_card
        from flows.trials import close_log, recommend

        self.merge_artifacts(inputs, include=["search", "choosing", "confirming"])
        self.recommendation = recommend(self.search, [(task.input, task.measured) for task in inputs])
        close_log(self._run(), self.recommendation)
        current.card.extend(search_card(self.search, self.recommendation, self.choosing, self.confirming))
        self.next(self.end)

    @step
    def end(self):
        """Say what to take."""
        from flows.trials import write_recommendation

        path = write_recommendation(self.recommendation)
        self.conclusion = "\n".join([*self.recommendation.words(), f"{path}:", *self.recommendation.lines()])
        print(self.conclusion)

    def _try(self):
        from flows.training import feature_columns
        from flows.trials import try_out

        self.outcome = try_out(self.input, self._window("choosing"), feature_columns())

    def _window(self, name):
        window = getattr(self, name)
        # Metaflow stores again what a task has read, and what was worked with may be stored as other bytes:
        # each trial would keep a copy, and the copies could not be merged.
        delattr(self, name)
        return window

    def _collect(self, inputs):
        from models.search import Outcome

        self.merge_artifacts(inputs, include=["search", "choosing", "confirming"])
        self.outcomes = [
            Outcome(task.input, failure=f"{task.failure.type}: {task.failure.exception}")
            if task.failure
            else task.outcome
            for task in inputs
        ]

    def _end_round(self):
        from flows.trials import end_round

        end_round(self.search, self._run(), self.outcomes)
        self.round = self.search.trials()

    def _run(self):
        return f"SearchFlow/{current.origin_run_id or current.run_id}"


if __name__ == "__main__":
    SearchFlow()
