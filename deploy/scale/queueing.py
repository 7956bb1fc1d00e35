"""Waiting for one of several servers: how full they may be.

M/M/c by Erlang's C formula ("Løsning af nogle Problemer fra Sandsynlighedsregningen", 1917), and M/G/c by the
approximation of Allen and Cunneen (Allen, "Probability, Statistics, and Queueing Theory", 1978). All times
are in mean service times.
"""

import heapq
import math

import numpy as np
from scipy import optimize, stats


def probability_of_waiting(servers: int, utilization: float) -> float:
    """Return Erlang C: the share of requests of M/M/c that find all ``servers`` busy.

    Args:
        servers: how many there are, 1 or more.
        utilization: the share of their time that they work, from 0 to below 1.

    Raises:
        ValueError: there is no server, or they cannot keep up.
    """
    if servers < 1 or not 0 <= utilization < 1:
        raise ValueError(
            f"{servers} servers at {utilization:.0%} never catch up: give at least one, below 100 %"
        )
    load = servers * utilization
    # Erlang B as a quotient of Poisson's probabilities, which is finite for thousands of servers.
    lost = math.exp(stats.poisson.logpmf(servers, load) - stats.poisson.logcdf(servers, load))
    return lost / (1 - utilization * (1 - lost))


def mean_wait(servers: int, utilization: float, variation: float = 1.0) -> float:
    """Return the mean wait, exact for M/M/c.

    Args:
        servers: as for ``probability_of_waiting``.
        utilization: as there.
        variation: coefficient of variation of service times; 1 is exponential, 0 always the same.
    """
    exponential = probability_of_waiting(servers, utilization) / (servers * (1 - utilization))
    return exponential * (1 + variation**2) / 2


def wait_quantile(servers: int, utilization: float, quantile: float) -> float:
    """Return the wait of M/M/c that a share ``quantile`` of the requests does not exceed."""
    waiting = probability_of_waiting(servers, utilization)
    if waiting <= 1 - quantile:
        return 0.0
    return math.log(waiting / (1 - quantile)) / (servers * (1 - utilization))


def largest_utilization(servers: int, wait: float, quantile: float) -> float:
    """Return how full servers of M/M/c may be, so that ``quantile`` of the requests wait at most ``wait``."""
    return float(
        optimize.brentq(lambda full: wait_quantile(servers, full, quantile) - wait, 1e-9, 1 - 1e-9, xtol=1e-6)
    )


def simulated_waits(servers: int, gaps: np.ndarray, services: np.ndarray) -> np.ndarray:
    """Return the waits [requests] where each request takes the server that is free first, in order.

    Args:
        servers: how many there are.
        gaps: times between arrivals [requests].
        services: service times [requests].
    """
    free = [0.0] * servers
    waits = np.empty(len(gaps))
    for number, (arrival, service) in enumerate(
        zip(np.cumsum(gaps).tolist(), services.tolist(), strict=True)
    ):
        begin = max(arrival, free[0])
        heapq.heapreplace(free, begin + service)
        waits[number] = begin - arrival
    return waits


def drawn_waits(servers: int, utilization: float, variation: float, requests: int, seed: int) -> np.ndarray:
    """Simulate Poisson arrivals with log-normal services, or with exponential ones at a variation of 1.

    Returns:
        Waits [requests] less the first tenth, in which the queue fills.
    """
    draw = np.random.default_rng(seed)
    gaps = draw.exponential(1 / (servers * utilization), requests)
    if variation == 1.0:
        services = draw.exponential(1.0, requests)
    else:
        deviation = math.sqrt(math.log1p(variation**2))
        services = draw.lognormal(-(deviation**2) / 2, deviation, requests)
    return simulated_waits(servers, gaps, services)[requests // 10 :]


def lognormal_variation(median: float, p99: float) -> float:
    """Return the coefficient of variation of the log-normal with this median and 99th percentile."""
    deviation = math.log(p99 / median) / stats.norm.ppf(0.99)
    return math.sqrt(math.expm1(deviation**2))
