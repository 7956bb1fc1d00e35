import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.scale import queueing

SERVERS = st.integers(1, 40)
FULL = st.floats(0.01, 0.97)


def drawn(servers: int, full: float, variation: float) -> np.ndarray:
    """Waits of several days: those of one hang together where servers are busy."""
    return np.concatenate(
        [queueing.drawn_waits(servers, full, variation, 100_000, seed) for seed in range(6)]
    )


@given(SERVERS, FULL)
def test_erlang_c_is_the_sum_over_the_states_of_the_chain(servers: int, full: float) -> None:
    load = servers * full
    waiting = load**servers / math.factorial(servers) / (1 - full)
    free = sum(load**busy / math.factorial(busy) for busy in range(servers))
    assert queueing.probability_of_waiting(servers, full) == pytest.approx(
        waiting / (free + waiting), rel=1e-9
    )


@given(FULL)
def test_of_one_server_the_mean_waits_are_those_of_pollaczek_and_khinchine(full: float) -> None:
    assert queueing.probability_of_waiting(1, full) == pytest.approx(full)
    assert queueing.mean_wait(1, full) == pytest.approx(full / (1 - full))
    assert queueing.mean_wait(1, full, variation=0.0) == pytest.approx(full / (1 - full) / 2)


def test_thousands_of_servers_have_a_finite_probability() -> None:
    assert 0 < queueing.probability_of_waiting(10_000, 0.99) < 0.5


@pytest.mark.parametrize(("servers", "full"), [(1, 0.7), (8, 0.8), (16, 0.85)])
def test_the_formulas_for_exponential_services_are_what_a_simulation_finds(servers: int, full: float) -> None:
    waits = drawn(servers, full, 1.0)
    assert (waits > 0).mean() == pytest.approx(queueing.probability_of_waiting(servers, full), rel=0.05)
    assert waits.mean() == pytest.approx(queueing.mean_wait(servers, full), rel=0.1)
    late = queueing.wait_quantile(servers, full, 0.9)
    assert (waits > late).mean() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(("servers", "variation"), [(1, 0.3), (1, 1.5), (8, 0.3)])
def test_the_approximation_for_other_services_is_close_where_servers_are_busy(
    servers: int, variation: float
) -> None:
    waits = drawn(servers, 0.8, variation)
    assert waits.mean() == pytest.approx(queueing.mean_wait(servers, 0.8, variation), rel=0.1)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=50), st.integers(1, 4))
def test_a_request_waits_until_enough_of_those_before_it_have_ended(
    requests: list[tuple[float, float]], servers: int
) -> None:
    gaps, services = map(np.array, zip(*requests, strict=True))
    arrivals, ends = np.cumsum(gaps), []
    for number, wait in enumerate(queueing.simulated_waits(servers, gaps, services)):
        begin = arrivals[number] + wait
        assert sum(end > begin + 1e-9 for end in ends) < servers
        if wait > 0:
            # A moment earlier all servers were busy.
            assert sum(end >= begin - 1e-9 for end in ends) >= servers
        ends.append(begin + services[number])


@given(SERVERS, st.floats(0.1, 3.0))
def test_servers_may_be_as_full_as_the_wait_allows(servers: int, wait: float) -> None:
    full = queueing.largest_utilization(servers, wait, 0.99)
    assert queueing.wait_quantile(servers, full * 0.999, 0.99) <= wait
    assert queueing.wait_quantile(servers, full * 0.999 + 0.001, 0.99) >= wait


@pytest.mark.parametrize(("servers", "full"), [(0, 0.5), (4, 1.0), (4, -0.1)])
def test_servers_that_cannot_keep_up_are_refused(servers: int, full: float) -> None:
    with pytest.raises(ValueError, match="give at least one, below 100 %"):
        queueing.probability_of_waiting(servers, full)


def test_the_spread_is_that_of_the_log_normal_with_these_quantiles() -> None:
    drawn = np.random.default_rng(0).lognormal(1.0, 0.5, 400_000)
    variation = queueing.lognormal_variation(float(np.median(drawn)), float(np.quantile(drawn, 0.99)))
    assert variation == pytest.approx(drawn.std() / drawn.mean(), rel=0.02)
