"""Features into a registered model: `python flows/train.py run [--until YYYY-MM-DD]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, resources, step

from flows.cluster import pod, pods, training_trigger
from flows.parameters import BY_HAND
from flows.settings import ClusterSettings


@pods
@training_trigger(ClusterSettings())
class TrainFlow(FlowSpec):
    """Train, evaluate, export and register the recommender.

    1. start: the point-in-time training set, through Feast.
    2. fit: the Lightning recommender, on all but the last days; from scratch, or on from the champion.
    3. evaluate: the last days, beside the baselines; the card shows it.
    4. gate: ONNX, and whether it beats the champion and survives hostile requests; the card shows why.
    5. register: what passed becomes a version in MLflow, with lineage and model card; a refused one does not.
    6. end: say which version it is, or why there is none.
    """

    until = Parameter("until", default="", help="day before which ratings count; empty: as the features")
    reason = Parameter("reason", default=BY_HAND, help="why this training runs; kept with the version")
    against = Parameter(
        "against", default="champion", help="rival at the gate; baselines leaves the champion out"
    )
    begin = Parameter(
        "begin", default="scratch", help="champion goes on from its weights, in a fraction of the time"
    )

    @resources(cpu=4, memory=16384)
    @step
    def start(self):
        """Build the training set."""
        from feature_repo.settings import FeatureSettings
        from flows.events import reason_of
        from flows.parameters import BASELINES, CHAMPION, SCRATCH, day, one_of
        from flows.settings import FlowSettings
        from flows.training import training_set

        self.why = reason_of(self.reason, current.get("trigger"))
        one_of(self.against, "against", CHAMPION, BASELINES)
        one_of(self.begin, "begin", SCRATCH, CHAMPION)
        self.data = training_set(FeatureSettings(), FlowSettings(), day(self.until, "until"))
        self.events = len(self.data.events)
        print(f"{self.events} events and {len(self.data.catalogues)} catalogue rows")
        self.next(self.fit)

    @pod(gpu=True, hours=12)
    @resources(cpu=2, memory=8192)
    @step
    def fit(self):
        """Train the recommender."""
        import logging

        from flows.fitting import fit_recommender

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        self.model, self.began_from = fit_recommender(self.data, self.begin)
        self.next(self.evaluate)

    @card(type="blank")
    @resources(cpu=2, memory=8192)
    @step
    def evaluate(self):
        """Evaluate on the days after the training events."""
        from flows.cards import importance_section, training_card
        from flows.training import split
        from models.evaluate import evaluate
        from models.importance import importances

        train, test = split(self.data)
        self.evaluation = evaluate(self.model, test, self.data.catalogues, train)
        self.importances = importances(self.model, test, self.data.catalogues)
        current.card.extend(training_card(self.evaluation, self.data, self.why))
        current.card.extend(importance_section(self.importances))
        self.next(self.gate)

    @card(type="blank")
    @resources(cpu=2, memory=8192)
    @step
    def gate(self):
        """Decide whether the model becomes a version."""
        from flows.cards import gate_card
        from flows.gating import gate
        from models.settings import GateSettings

        self.gated = gate(self.model, self.data, self.against, GateSettings())
        current.card.extend(gate_card(self.gated.decision))
        self.next(self.register)

    @pod(again=False)
    @step
    def register(self):
        """Register the model, or keep why it was refused."""
        from flows.training import publish

        self.version = publish(
            self.model,
            self.evaluation,
            self.data,
            self.gated,
            run=f"TrainFlow/{current.origin_run_id or current.run_id}",
            reason=self.why,
            began_from=self.began_from,
        )
        self.next(self.end)

    @step
    def end(self):
        """Say which version it is, or why there is none."""
        from flows.retraining import trained_on_argo

        figures = f"RMSE {self.evaluation.rmse:.4f}, NDCG@10 {self.evaluation.ndcg_at_10:.4f}"
        decided = f"the gate {self.gated.decision}"
        if self.version is None:
            self.conclusion = f"no new version, {decided} ({figures})"
        else:
            self.conclusion = f"registered version {self.version}: {figures}; {decided}"
        print(self.conclusion)
        trained_on_argo(self.until, self.reason, self.version, str(self.gated.decision))


if __name__ == "__main__":
    TrainFlow()
