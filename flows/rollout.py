"""A registered version into traffic: `python flows/rollout.py run --version 4`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, step

from flows.cluster import pod, pods, rollout_trigger
from flows.settings import ClusterSettings


@pods
@rollout_trigger(ClusterSettings())
class RolloutFlow(FlowSpec):
    """Canary a version beside the champion; promote it or take it back.

    1. start: give it its share step by step, compare it with the champion, decide; the card shows why. A
       training whose model the gate refused leaves nothing to do.
    2. end: say which version serves.
    """

    version = Parameter(
        "version", type=int, default=0, help="registered version; 0: that of the training which triggers it"
    )
    steps = Parameter(
        "steps",
        default="",
        help="shares of traffic in percent, the last one 100; empty: RENTALS_ROLLOUT_STEPS",
    )
    again = Parameter("again", type=bool, default=False, help="try a version that was rolled back before")

    @card(type="blank")
    @pod(hours=48, account=ClusterSettings().rollout_account)
    @step
    def start(self):
        """Roll out."""
        from flows.cards import rollout_card
        from flows.deployment import roll_out_in_turn
        from flows.events import version_to_roll_out
        from flows.parameters import shares
        from flows.retraining import rolled_out_on_argo

        steps = shares(self.steps) if self.steps else None
        self.outcome = None
        self.rolled_out = version_to_roll_out(self.version, current.get("trigger"))
        if self.rolled_out:
            self.outcome = roll_out_in_turn(self.rolled_out, steps, self.again)
            rolled_out_on_argo(self.rolled_out, self.outcome)
            current.card.extend(rollout_card(self.outcome))
        self.next(self.end)

    @step
    def end(self):
        """Say which version serves."""
        if not self.outcome:
            print("nothing to roll out: no version was registered")
            return
        verdict = "promoted" if self.outcome.promoted else "rolled back"
        print(f"version {self.rolled_out} was {verdict}: {'; '.join(self.outcome.reasons)}")


if __name__ == "__main__":
    RolloutFlow()
