"""Features into a registered model: `python flows/train.py run [--until YYYY-MM-DD]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, resources, step


class TrainFlow(FlowSpec):
    """Train, evaluate, export and register the recommender.

    1. start: the point-in-time training set, through Feast.
    2. fit: the Lightning recommender, on all but the last days.
    3. evaluate: the last days, beside the baselines; the card shows it.
    4. register: ONNX, parity with PyTorch, and a version in MLflow with its lineage.
    5. end: say which version it is.
    """

    until = Parameter("until", default="", help="day before which ratings count; empty: as the features")
    reason = Parameter("reason", default="by hand", help="why this training runs; kept with the version")

    @step
    def start(self):
        """Build the training set."""
        from feature_repo.settings import FeatureSettings
        from flows.parameters import day
        from flows.settings import FlowSettings
        from flows.training import training_set

        self.data = training_set(FeatureSettings(), FlowSettings(), day(self.until, "until"))
        self.events = len(self.data.events)
        print(f"{self.events} events and {len(self.data.catalogues)} catalogue rows")
        self.next(self.fit)

    @resources(cpu=2, memory=8192)
    @step
    def fit(self):
        """Train the recommender."""
        import logging

        from flows.training import feature_columns, split
        from models.train import fit

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        train, _ = split(self.data)
        self.model = fit(train, self.data.catalogues, feature_columns())
        self.next(self.evaluate)

    @card(type="blank")
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
        current.card.extend(training_card(self.evaluation, self.data, self.reason))
        current.card.extend(importance_section(self.importances))
        self.next(self.register)

    @step
    def register(self):
        """Export and register the model."""
        from flows.training import publish

        self.published = publish(
            self.model,
            self.evaluation,
            self.data,
            run=f"TrainFlow/{current.origin_run_id or current.run_id}",
            reason=self.reason,
        )
        self.version = self.published.version
        self.next(self.end)

    @step
    def end(self):
        """Say which version it is."""
        print(
            f"registered version {self.version}: RMSE {self.evaluation.rmse:.4f}, "
            f"NDCG@10 {self.evaluation.ndcg_at_10:.4f}, "
            f"ONNX within {self.published.onnx_max_abs_diff:.1e} of PyTorch"
        )


if __name__ == "__main__":
    TrainFlow()
