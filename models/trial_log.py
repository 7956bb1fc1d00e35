"""Trials in MLflow: a run for each proposal of a search, below a run for the search itself."""

from typing import TYPE_CHECKING

from models.registry import experiment, tracking_client
from models.search import HalfSearch, Proposal, Search, State
from models.settings import ModelSettings

if TYPE_CHECKING:
    from mlflow.entities import Run

EXPERIMENT = "rental-recommender-search"
"""MLflow experiment of the searches."""

SEARCH, TRIAL, STATE, PARENT = "search", "trial", "state", "mlflow.parentRunId"
"""Tags of a run: its search, the proposal that it is, what became of it, and MLflow's own for nesting."""


class TrialLog:
    """What a search has tried, as far as it has come; written again, it adds only what is new."""

    def __init__(self, name: str, settings: ModelSettings | None = None) -> None:
        """Open the log of the search ``name``; None takes the settings of the environment."""
        settings = settings or ModelSettings()
        self.name = name
        self._client = tracking_client(settings)
        self._experiment = experiment(self._client, settings, EXPERIMENT)
        self._parent = self._run(name, "search", {})

    def write(self, search: Search) -> None:
        """Bring every proposal's values, figures by round (MLflow's step) and state up to date."""
        for half in search.halves:
            for proposal in half.proposals:
                self._write(half, proposal)

    def close(self, recommended: dict[str, float], figures: dict[str, float]) -> None:
        """End the search's own run with what it recommends and the figures behind that."""
        run = self._parent.info.run_id
        for name, value in recommended.items():
            self._client.log_param(run, name, value)
        for name, figure in figures.items():
            self._client.log_metric(run, name, figure)
        self._client.set_terminated(run)

    def _write(self, half: HalfSearch, proposal: Proposal) -> None:
        name = f"{half.half.name}-{proposal.number}"
        run = self._run(name, name, {PARENT: self._parent.info.run_id, "half": half.half.name})
        if run.info.status != "RUNNING":
            return
        number = run.info.run_id
        for key, value in proposal.values.items():
            self._client.log_param(number, key, value)
        known = {metric.step for metric in self._client.get_metric_history(number, half.half.figure)}
        for round, figure in proposal.figures.items():
            if round not in known:
                self._client.log_metric(number, half.half.figure, figure, step=round)
        self._client.set_tag(number, STATE, str(proposal.state))
        if proposal.state != State.RUNNING:
            self._client.set_terminated(number, "FAILED" if proposal.state == State.FAILED else "FINISHED")

    def _run(self, name: str, trial: str, tags: dict[str, str]) -> "Run":
        found = self._client.search_runs(
            [self._experiment], f"tags.{SEARCH} = '{self.name}' and tags.{TRIAL} = '{trial}'"
        )
        if found:
            return found[0]
        tags = {SEARCH: self.name, TRIAL: trial, **tags}
        return self._client.create_run(self._experiment, run_name=name, tags=tags)
