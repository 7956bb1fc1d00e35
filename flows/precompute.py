"""Recommendations of all users into SQL: `python flows/precompute.py run [--version N]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, resources, retry, step

from flows.cluster import pod, pods, scheduled
from flows.settings import ClusterSettings


@pods
@scheduled(ClusterSettings().precompute_cron)
class PrecomputeFlow(FlowSpec):
    """Recommend to every user ahead of the requests.

    1. start: the latest features of all users.
    2. write: blocks of users through the model into the table `recommendation`; what was written stays.
    3. end: say what is there.
    """

    version = Parameter("version", type=int, default=0, help="registered version; 0 for the champion")

    @resources(cpu=4, memory=16384)
    @step
    def start(self):
        """Read the users."""
        from feature_repo.settings import FeatureSettings
        from flows.precomputation import user_inputs

        self.users = user_inputs(FeatureSettings())
        print(f"{len(self.users):,} users")
        self.next(self.write)

    @pod(hours=6)
    @resources(cpu=2, memory=4096)
    @retry(times=1)
    @step
    def write(self):
        """Compute and write the missing blocks."""
        from flows.precomputation import precompute_version

        self.used_version, self.done = precompute_version(self.users, self.version or None)
        self.next(self.end)

    @step
    def end(self):
        """Say what is there."""
        from flows.precomputation import place

        self.conclusion = (
            f"recommendations of {self.done.users:,} users by version {self.used_version} are in {place()}: "
            f"{self.done.written} of {self.done.blocks} blocks were written now"
        )
        print(self.conclusion)


if __name__ == "__main__":
    PrecomputeFlow()
