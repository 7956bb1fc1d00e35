"""The tables of ``python -m deploy scale``."""

from collections.abc import Iterable, Iterator

from deploy.scale import caching, canary, capacity, costs, queueing
from deploy.scale.capacity import Amount
from deploy.scale.settings import Measured, Prices, Target
from models.settings import Hyperparameters
from serving.online_features import MOST_RENTALS, MOST_USERS
from serving.settings import DecisionThresholds, ServingSettings
from serving.simulation import LOOKS

SEED = 0

WAITING_REQUESTS = 200_000
"""Simulated requests of each queue: its mean wait is known to some percent."""

MEASURED_VARIATION = queueing.lognormal_variation(5.039, 9.102)
"""Of an answer's time, by the median and p99 of one client (``make bench-serving``)."""

POOLS = (1, 8, 64)
FULL = (0.7, 0.9)

PATIENCE, QUANTILE = 1.0, 0.99
"""At most one service time of waiting, for all but one request in a hundred."""

LOOKUPS = 1_000_000
"""Simulated lookups of a cache: half of them fill it."""

LOSSES, SHARES = (0.2, 0.05, 0.01), (0.01, 0.05)
ROLLOUTS, EQUAL_ROLLOUTS = 200, 1_000
"""Simulated rollouts: a median is known to some percent, a rate of false alarms to half the level."""


def lines() -> Iterator[str]:
    """Give the whole report, a line at a time."""
    target, measured, prices = Target(), Measured(), Prices()
    yield from _amounts("the graph, as it is built", capacity.graph(target, measured, Hyperparameters()))
    yield from _amounts("the online store", capacity.store(target, measured, prices))
    yield from _amounts("a day's ratings", capacity.events(target, measured))
    yield from _amounts("the prediction log, as it is built", capacity.log(target, measured))
    yield from _queues(measured, target)
    yield from _caches(target, measured)
    yield from _canaries(target)
    pooled = queueing.largest_utilization(POOLS[-1], PATIENCE, QUANTILE)
    bill = costs.of_a_million(target, measured, prices, pooled)
    yield from _amounts("a million answers cost, at the assumed prices", bill)


def _amounts(title: str, amounts: Iterable[Amount]) -> Iterator[str]:
    yield title
    for one in amounts:
        number = (
            f"{one.value:,.4f}"
            if one.value < 1
            else f"{one.value:,.1f}"
            if one.value < 1e4
            else f"{one.value:,.0f}"
        )
        yield f"  {one.part:<36}{number:>12} {one.unit:<8} {one.how}".rstrip()


def _queues(measured: Measured, target: Target) -> Iterator[str]:
    service = measured.answer_cores / measured.answers_per_second
    yield f"waiting for one of c cores, of which an answer takes {1e3 * service:.2f} ms"
    yield "  cores  full   mean ms: M/M/c  simulated   M/G/c  simulated    p99 ms: M/M/c  simulated"
    for servers in POOLS:
        for full in FULL:
            drawn = [
                queueing.drawn_waits(servers, full, variation, WAITING_REQUESTS, SEED)
                for variation in (1.0, MEASURED_VARIATION)
            ]
            exact = queueing.mean_wait(servers, full), queueing.mean_wait(servers, full, MEASURED_VARIATION)
            late = queueing.wait_quantile(servers, full, QUANTILE)
            late_drawn = sorted(drawn[0])[int(QUANTILE * len(drawn[0]))]
            figures = (exact[0], drawn[0].mean(), exact[1], drawn[1].mean(), late, late_drawn)
            first, second, third, fourth, fifth, sixth = (1e3 * service * figure for figure in figures)
            yield (
                f"  {servers:>5}  {full:>4.0%}  {first:>15.3f} {second:>10.3f} {third:>7.3f} {fourth:>10.3f}"
                f"  {fifth:>15.2f} {sixth:>10.2f}"
            )
    for servers in POOLS:
        full = queueing.largest_utilization(servers, PATIENCE, QUANTILE)
        cores = target.requests_per_second * service / full
        yield (
            f"  p99 of the wait within one service time: pools of {servers} at most {full:.1%} full, "
            f"{cores:,.0f} cores in all"
        )


def _caches(target: Target, measured: Measured) -> Iterator[str]:
    exponent = target.popularity_exponent
    yield f"hits of a cache (LRU; Zipf's exponent {exponent:g}; Che's approximation)"
    processes = int(target.requests_per_second / measured.answers_per_second)
    seconds = ServingSettings().rental_cache_seconds
    rentals = caching.zipf(target.rentals, exponent)
    lookups = measured.answers_per_second * target.answer_rentals * seconds
    drawn = caching.simulated_hit_ratio(target.rentals, exponent, MOST_RENTALS, LOOKUPS, SEED)
    yield (
        f"  {MOST_RENTALS:,} of {target.rentals:,} rentals: "
        f"{caching.lru_hit_ratio(rentals, MOST_RENTALS):.1%}, simulated {drawn:.1%}; "
        f"without a bound, by its {seconds:g} s alone: {caching.expiring_hit_ratio(rentals, lookups):.1%}"
    )
    users = caching.zipf(target.users, exponent)
    for size, where in (
        (MOST_USERS, "any process answers a user"),
        (MOST_USERS * processes, "each its own users"),
    ):
        ratio = caching.lru_hit_ratio(users, size)
        yield f"  {size:,} of {target.users:,} users ({where}): {ratio:.1%}"


def _canaries(target: Target) -> Iterator[str]:
    serving = ServingSettings()
    level = DecisionThresholds().of_steps(len(serving.rollout_steps) - 1).reward_significance
    yield f"a canary that loses reward, found by serving.evidence at its level of {level:.1%} a step"
    yield "  share   loss   users of both arms: median   nine of ten     seconds: median  nine of ten"
    for share in SHARES:
        for loss in LOSSES:
            found = canary.users_until_found(loss, share, level, ROLLOUTS, SEED)
            median, most = (
                canary.seconds_until_seen(
                    users, target.users, target.requests_per_second, serving.rollout_poll_seconds
                )
                for users in (found.median, found.nine_of_ten)
            )
            yield (
                f"  {share:>5.0%}  {loss:>5.0%}  {found.median:>26,.0f} {found.nine_of_ten:>13,.0f}"
                f"  {median:>18.1f} {most:>12.1f}"
            )
    evidence, once = canary.false_alarms(SHARES[0], level, EQUAL_ROLLOUTS, SEED)
    yield (
        f"  an equal canary at {SHARES[0]:.0%} is taken back in {evidence:.2%} of {EQUAL_ROLLOUTS:,} "
        f"rollouts of {LOOKS} looks; by a test for one look in {once:.1%}"
    )
