"""Queues: closed forms against outside figures, simulations against loops and against the closed forms."""

import dataclasses
import heapq
import inspect
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from web3scale.errors import DomainError
from web3scale.foundations.measures import throughput_bound
from web3scale.queues import (
    QueueRun,
    _lindley,
    _shared_queue,
    erlang_b,
    erlang_c,
    in_system,
    mg1_best_utilisation,
    mg1_power,
    mg1_response,
    mm1_response,
    mmn_response,
    simulate_closed,
    simulate_queue,
)

# Vectors from outside


@pytest.mark.parametrize(
    ("load", "servers", "blocking"),
    [
        (1, 1, 0.5),  # tests/test_erlang_b.py of pyworkforce
        (1, 2, 0.2),
        (10, 17, 0.012948875224726571),  # closed form
    ],
)
def test_published_erlang_b(load, servers, blocking):
    assert erlang_b(load, servers) == pytest.approx(blocking, rel=1e-12)


def test_published_number_of_servers():
    # pyworkforce: 17 is the fewest servers that block at most 2 % of 10 erlangs
    assert erlang_b(10, 17) <= 0.02 < erlang_b(10, 16)


@pytest.mark.parametrize(("load", "servers", "waiting"), [(0.5, 1, 0.5), (1, 2, 1 / 3), (10, 14, 0.17413193359504983)])
def test_erlang_c_closed_forms(load, servers, waiting):
    assert erlang_c(load, servers) == pytest.approx(waiting, rel=1e-12)


def test_published_erlang_c():
    # pyworkforce 0.5.1: 14 servers for 10 erlangs, answered within 0.11 service times; three decimals
    waiting = erlang_c(10, 14)
    assert waiting == pytest.approx(0.174, abs=0.0005)
    assert 1 - waiting * math.exp(-(14 - 10) * 0.11) == pytest.approx(0.888, abs=0.0005)
    assert 1 - erlang_c(10, 13) * math.exp(-(13 - 10) * 0.11) < 0.8  # 13 would miss the target of 80 %


def test_published_best_utilisation():
    # Kleinrock (1979): 2 - √2 for constant, 1/2 for exponential service
    assert mg1_best_utilisation(0) == pytest.approx(0.5857864376269049, rel=1e-12)
    assert sp.simplify(mg1_best_utilisation(sp.Integer(0)) - (2 - sp.sqrt(2))) == 0
    assert mg1_best_utilisation(1) == 0.5
    assert mg1_power(0.5, 10, 1) == pytest.approx(10**2 / 4, rel=1e-12)


# Closed forms

loads = st.floats(0.01, 200)
shares = st.floats(0.0, 0.99)
rates = st.floats(-3, 6).map(lambda e: 10.0**e)
spreads = st.floats(0.0, 20.0)
several = st.integers(1, 60)


@given(load=loads, servers=several)
def test_erlang_b_is_a_truncated_poisson(load, servers):
    expected = stats.poisson.pmf(servers, load) / stats.poisson.cdf(servers, load)
    assert erlang_b(load, servers) == pytest.approx(expected, rel=1e-9)


@given(share=st.floats(0.01, 0.99), servers=several)
def test_erlang_c_from_the_poisson_distribution(share, servers):
    load = share * servers
    full = stats.poisson.pmf(servers, load) / (1 - share)
    assert erlang_c(load, servers) == pytest.approx(full / (stats.poisson.cdf(servers - 1, load) + full), rel=1e-9)


@given(load=loads, servers=several, more=st.floats(1.01, 3))
def test_erlang_b_is_monotone(load, servers, more):
    blocking = erlang_b(load, servers)
    assert 0 <= blocking < 1
    assert erlang_b(load, servers + 1) < blocking
    assert erlang_b(load * more, servers) > blocking


@given(share=st.floats(0.01, 0.95), servers=several)
def test_waiting_is_likelier_than_blocking(share, servers):
    assert erlang_b(share * servers, servers) <= erlang_c(share * servers, servers) <= share + 1e-12


def test_erlang_ends():
    assert erlang_b(0, 3) == erlang_c(0, 3) == 0
    assert erlang_b(1e6, 3) == pytest.approx(1 - 3e-6, rel=1e-9)  # all but 3 of a million erlangs are turned away
    assert erlang_c(3 * (1 - 1e-9), 3) == pytest.approx(1, abs=1e-8)


def test_erlang_of_arrays():
    offered = np.array([[0.5, 1.0, 2.5]])
    for function in (erlang_b, erlang_c):
        assert np.array_equal(function(offered, 3), [[function(a, 3) for a in offered[0]]])
    assert offered.tolist() == [[0.5, 1.0, 2.5]]
    assert type(erlang_b(1, 2)) is type(erlang_c(1, 2)) is type(mmn_response(0.5, 1, 2)) is float


def test_mm1_is_mg1_with_exponential_service():
    rho, mu = mm1_response.symbols.values()
    assert sp.simplify(mg1_response(rho, mu, 1) - mm1_response.expr) == 0


@given(share=shares, rate=rates)
def test_one_server_by_three_formulas(share, rate):
    assert mmn_response(share, rate, 1) == pytest.approx(mm1_response(share, rate), rel=1e-12)
    assert mg1_response(share, rate, 1) == pytest.approx(mm1_response(share, rate), rel=1e-12)


@given(share=shares, rate=rates, servers=several)
def test_mmn_response(share, rate, servers):
    waiting = erlang_c(share * servers, servers) / (servers * rate * (1 - share))
    assert mmn_response(share, rate, servers) == pytest.approx(1 / rate + waiting, rel=1e-12)
    # one shared queue beats one queue a server, and no queue beats the service itself
    assert 1 / rate <= mmn_response(share, rate, servers) <= mm1_response(share, rate) * (1 + 1e-12)


def test_mmn_response_of_arrays():
    share = np.array([0.1, 0.5, 0.9])
    assert np.array_equal(mmn_response(share, 2.0, 3), [mmn_response(s, 2.0, 3) for s in share])


def test_pollaczek_khinchine_by_hand():
    # constant service halves the wait of exponential service; an empty queue leaves the service time
    assert mg1_response(0.5, 1, 0) - 1 == pytest.approx((mg1_response(0.5, 1, 1) - 1) / 2)
    assert mg1_response(0, 4, 9) == 0.25
    # λ·E[S²]/(2(1 - ρ)) with λ = 0.8, μ = 1, C² = 4
    assert mg1_response(0.8, 1, 4) == pytest.approx(1 + 0.8 * 5 / (2 * 0.2), rel=1e-12)


def test_best_utilisation_is_where_the_slope_of_power_vanishes():
    rho, _, spread = mg1_power.symbols.values()
    slope = sp.diff(mg1_power.expr, rho)
    assert sp.simplify(slope.subs(rho, mg1_best_utilisation.expr)) == 0
    for value in (sp.Integer(0), sp.Integer(1), sp.Integer(4)):
        # Kleinrock: one request in the system on average, whatever the service
        best = mg1_best_utilisation(value)
        assert sp.simplify(best * mg1_response(best, 1, value)) == 1
    assert spread == mg1_best_utilisation.symbols["variability"]


@given(spread=spreads, aside=st.floats(0.01, 0.999))
def test_best_utilisation_is_a_maximum(spread, aside):
    assert mg1_power(aside, 3.0, spread) <= mg1_power(mg1_best_utilisation(spread), 3.0, spread) * (1 + 1e-12)


# Recursions against loops

times = st.one_of(st.just(0.0), st.floats(0.001, 10))


def matrices(*shape: int) -> st.SearchStrategy[np.ndarray]:
    size = math.prod(shape)
    return st.lists(times, min_size=size, max_size=size).map(lambda v: np.array(v).reshape(shape))


def one_by_one(gaps, service):
    """Lindley's recursion as he wrote it: the wait of the one before, plus its service, less the gap."""
    waits = [0.0]
    for gap, before in zip(gaps[1:], service[:-1], strict=True):
        waits.append(max(0.0, waits[-1] + before - gap))
    return waits


def first_come_first_served(gaps, service, servers):
    """Each request takes the server that is free first; a heap of the times at which they are."""
    free = [0.0] * servers
    now, waits = 0.0, []
    for gap, need in zip(gaps, service, strict=True):
        now += gap
        start = max(now, heapq.heappop(free))
        waits.append(start - now)
        heapq.heappush(free, start + need)
    return waits


def lindley(gaps, service):
    """The recursion on copies: it overwrites the gaps."""
    return _lindley(np.array(gaps, dtype=float), np.array(service, dtype=float))


@given(data=st.data(), runs=st.integers(1, 3), jobs=st.integers(1, 12))
def test_lindley_is_the_loop(data, runs, jobs):
    gaps, service = data.draw(matrices(runs, jobs)), data.draw(matrices(runs, jobs))
    expected = np.array([one_by_one(g, s) for g, s in zip(gaps, service, strict=True)])
    wait = lindley(gaps, service)
    assert (wait >= 0).all()
    assert wait == pytest.approx(expected, abs=1e-12)
    assert lindley(gaps[0], service[0]) == pytest.approx(expected[0], abs=1e-12)
    assert lindley(gaps[:, None], service[:, None]).shape == (runs, 1, jobs)


def test_lindley_over_many_jobs():
    rng = np.random.default_rng(3)
    gaps, service = rng.standard_exponential(20_000), 0.9 * rng.standard_exponential(20_000)
    assert lindley(gaps, service) == pytest.approx(one_by_one(gaps, service), abs=1e-9)


def test_the_first_gap_moves_nothing():
    assert lindley([0, 1, 1], [3, 3, 3]).tolist() == lindley([9, 1, 1], [3, 3, 3]).tolist() == [0, 2, 4]


def test_lindley_leaves_the_service_times_alone():
    service = np.array([3.0, 3, 3])
    _lindley(np.array([0.0, 1, 1]), service)
    assert service.tolist() == [3, 3, 3]


@settings(max_examples=60)
@given(data=st.data(), runs=st.integers(1, 3), jobs=st.integers(1, 12), servers=st.integers(1, 5))
def test_shared_queue_is_first_come_first_served(data, runs, jobs, servers):
    gaps, service = data.draw(matrices(runs, jobs)), data.draw(matrices(runs, jobs))
    expected = np.array([first_come_first_served(g, s, servers) for g, s in zip(gaps, service, strict=True)])
    before = gaps.copy(), service.copy()
    assert _shared_queue(gaps, service, servers) == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(gaps, before[0])
    assert np.array_equal(service, before[1])


@pytest.mark.parametrize("servers", [2, 3, 8])
def test_shared_queue_over_many_jobs(servers):
    rng = np.random.default_rng(4)
    gaps, service = rng.standard_exponential((2, 3000)), 0.9 * servers * rng.standard_exponential((2, 3000))
    expected = np.array([first_come_first_served(g, s, servers) for g, s in zip(gaps, service, strict=True)])
    assert _shared_queue(gaps, service, servers) == pytest.approx(expected, abs=1e-9)


def test_one_server_is_lindley():
    rng = np.random.default_rng(5)
    gaps, service = rng.standard_exponential((3, 2000)), 0.8 * rng.standard_exponential((3, 2000))
    assert _shared_queue(gaps, service, 1) == pytest.approx(lindley(gaps, service), abs=1e-9)


# Simulations against formulas


def close(samples, theory, largest_error):
    """Within three standard errors of the runs' own mean, and these small enough to tell a wrong formula."""
    error = np.std(samples, ddof=1) / math.sqrt(len(samples))
    assert error < largest_error * theory
    # one customer in a closed system leaves nothing to chance: only rounding parts the runs from theory
    assert abs(np.mean(samples) - theory) <= 3 * error + 1e-12 * theory, f"{(np.mean(samples) - theory) / error:.1f} SE"


@pytest.mark.parametrize("variability", [1.0, 0.0, 4.0], ids=["M/M/1", "M/D/1", "M/G/1"])
def test_one_server_on_theory(variability):
    # empty queues at the start bias the mean: the warm-up is many times the relaxation time of about 1/(1 - ρ)² = 25
    rng = np.random.default_rng(11)
    run = simulate_queue(800, 1000, jobs=20_000, runs=50, warmup=2_000, variability=variability, rng=rng)
    close(run.mean_response_s, mg1_response(0.8, 1000, variability), 0.02)
    close((run.wait_s > 0).mean(axis=1), 0.8, 0.003)  # Poisson arrivals see time averages
    close([in_system(800, r) for r in run.mean_response_s], in_system(800, mg1_response(0.8, 1000, variability)), 0.02)


def test_four_servers_on_theory():
    rng = np.random.default_rng(12)
    run = simulate_queue(3200, 1000, jobs=6_000, runs=100, warmup=1_000, servers=4, rng=rng)
    close(run.mean_response_s, mmn_response(0.8, 1000, 4), 0.02)
    close((run.wait_s > 0).mean(axis=1), erlang_c(3.2, 4), 0.01)


@pytest.mark.parametrize("variability", [0.25, 1.0, 4.0])
def test_service_times_have_the_stated_moments(variability):
    rng = np.random.default_rng(13)
    service = simulate_queue(1, 2, jobs=50_000, runs=40, variability=variability, rng=rng).service_s
    close(service.mean(axis=1), 0.5, 0.003)
    close(4 * service.var(axis=1), variability, 0.02)


def test_constant_service_is_constant():
    run = simulate_queue(1, 2, jobs=10, variability=0, rng=np.random.default_rng(1))
    assert (run.service_s == 0.5).all()


def test_arrivals_come_at_their_rate():
    # the record holds no gaps, but the wait alone tells their rate
    for rho in (0.05, 0.3, 0.6):
        run = simulate_queue(rho * 7, 7, jobs=20_000, runs=40, warmup=500, rng=np.random.default_rng(14))
        close(run.wait_s.mean(axis=1), mm1_response(rho, 7) - 1 / 7, 0.03)


@pytest.mark.parametrize("servers", [1, 3])
def test_littles_law_on_a_sample_path(servers):
    rng = np.random.default_rng(15)
    gaps, service = rng.standard_exponential((1, 5000)), 0.9 * servers * rng.standard_exponential((1, 5000))
    wait = lindley(gaps, service) if servers == 1 else _shared_queue(gaps, service, servers)
    arrival = np.cumsum(gaps[0])
    departure = arrival + wait[0] + service[0]
    # walk through arrivals and departures in order of time, counting who is inside; all have left at the end
    moments = np.concatenate([arrival, departure])
    order = np.argsort(moments, kind="stable")
    inside = np.cumsum(np.repeat([1, -1], arrival.size)[order])
    end = departure.max()
    average = np.sum(inside[:-1] * np.diff(moments[order])) / end
    assert inside.min() == inside[-1] == 0
    assert average == pytest.approx(in_system(arrival.size / end, (departure - arrival).mean()), rel=1e-9)


def test_warmup_is_cut_from_the_front():
    whole = simulate_queue(4, 5, jobs=300, runs=2, rng=np.random.default_rng(1))
    cut = simulate_queue(4, 5, jobs=200, warmup=100, runs=2, rng=np.random.default_rng(1))
    assert cut.wait_s.shape == cut.service_s.shape == (2, 200)
    assert np.array_equal(cut.wait_s, whole.wait_s[:, 100:])
    assert np.array_equal(cut.service_s, whole.service_s[:, 100:])


def test_record():
    run = QueueRun(np.array([[0.0, 2.0]]), np.array([[1.0, 3.0]]), 0.5)
    assert run.response_s.tolist() == [[1.0, 5.0]]
    assert run.mean_response_s.tolist() == [3.0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.arrival_rate = 1.0
    assert run != QueueRun(run.wait_s, run.service_s, 0.5)  # arrays in a record have no one answer to ==
    assert simulate_queue(4, 5, jobs=1, rng=np.random.default_rng(1)).arrival_rate == 4.0


# A closed system


def repairman(demand, customers, think):
    """Throughput of M/M/1//N from its stationary distribution: p_k ∝ N!/(N - k)!·(D/Z)^k."""
    weights = [math.perm(customers, k) * (demand / think) ** k for k in range(customers + 1)]
    return (1 - weights[0] / sum(weights)) / demand


def mean_value_analysis(demands, customers, think):
    """Reiser and Lavenberg (1980): a customer finds the queue of a system with one customer fewer."""
    queue = np.zeros(len(demands))
    for number in range(1, customers + 1):
        response = np.array(demands) * (1 + queue)
        throughput = number / (think + response.sum())
        queue = throughput * response
    return throughput


def test_the_two_exact_solutions_agree():
    assert repairman(0.1, 12, 1.0) == pytest.approx(mean_value_analysis([0.1], 12, 1.0), rel=1e-12)


@pytest.mark.parametrize("customers", [1, 5, 11, 30])
def test_closed_system_is_the_machine_repairman(customers):
    x = simulate_closed([0.1], customers, 1.0, completions=4_000, runs=60, rng=np.random.default_rng(21))
    assert x.shape == (60,)
    close(x, repairman(0.1, customers, 1.0), 0.005)


@pytest.mark.parametrize(
    ("demands", "customers", "think"),
    [([0.2, 0.1, 0.1], 5, 0.6), ([0.1, 0.3], 4, 0.0), ([0.05, 0.02, 0.08, 0.01], 20, 0.5), ([0.5], 3, 0.0)],
)
def test_closed_system_is_mean_value_analysis(demands, customers, think):
    x = simulate_closed(demands, customers, think, completions=3_000, runs=60, rng=np.random.default_rng(22))
    # one station without thinking is always busy: no randomness is left but rounding
    if len(demands) == 1:
        assert x == pytest.approx(1 / demands[0], rel=1e-12)
    else:
        close(x, mean_value_analysis(demands, customers, think), 0.005)


@pytest.mark.parametrize(("customers", "completions"), [(2, 9), (2, 20), (4, 40)])
def test_closed_system_drops_its_start(customers, completions):
    # all customers stand at the first of four stations when it begins: were that kept, runs as short as these would
    # lose 4 to 9 % of the throughput, while the mean of so many is known to 0.1 %
    rng = np.random.default_rng(24)
    x = simulate_closed([0.1] * 4, customers, 0.0, completions=completions, runs=5_000, rng=rng)
    assert x.mean() == pytest.approx(mean_value_analysis([0.1] * 4, customers, 0.0), rel=0.01)


@pytest.mark.parametrize("customers", [1, 3, 5, 8, 40])
def test_closed_system_stays_below_its_bound(customers):
    x = simulate_closed([0.2, 0.1, 0.1], customers, 0.6, completions=1_000, runs=50, rng=np.random.default_rng(23))
    error = x.std(ddof=1) / math.sqrt(x.size)
    bound = throughput_bound([0.2, 0.1, 0.1], customers, think_time=0.6)
    assert x.mean() <= bound + 3 * error
    if customers == 40:  # far beyond saturation the bound is reached
        assert x.mean() == pytest.approx(bound, rel=0.01)


# Randomness

SIMULATIONS = {
    "M/M/1": lambda rng: simulate_queue(4, 5, jobs=50, runs=2, rng=rng).response_s,
    "M/D/1": lambda rng: simulate_queue(4, 5, jobs=50, runs=2, variability=0, rng=rng).response_s,
    "M/G/1": lambda rng: simulate_queue(4, 5, jobs=50, runs=2, variability=4, rng=rng).response_s,
    "M/M/2": lambda rng: simulate_queue(8, 5, jobs=50, runs=2, servers=2, rng=rng).response_s,
    "closed": lambda rng: simulate_closed([0.1, 0.2], 3, 1.0, completions=50, runs=2, rng=rng),
}
each_simulation = pytest.mark.parametrize("simulate", SIMULATIONS.values(), ids=SIMULATIONS)


@each_simulation
def test_same_seed_same_bytes(simulate):
    first, second = (simulate(np.random.default_rng(7)).tobytes() for _ in range(2))
    assert first == second
    assert first != simulate(np.random.default_rng(8)).tobytes()
    generator = np.random.default_rng(7)
    assert simulate(generator).tobytes() == first
    assert simulate(generator).tobytes() != first  # the generator has moved on


@each_simulation
def test_runs_differ(simulate):
    result = simulate(np.random.default_rng(7))
    assert not np.array_equal(result[0], result[1])


@pytest.mark.parametrize("simulate", [simulate_queue, simulate_closed])
def test_rng_is_a_required_keyword(simulate):
    parameter = inspect.signature(simulate).parameters["rng"]
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    assert parameter.default is inspect.Parameter.empty


@pytest.mark.parametrize("bad", [1, None, np.random.RandomState(1), np.random, "rng"])
@each_simulation
def test_rng_must_be_a_generator(simulate, bad):
    with pytest.raises(DomainError, match=r"rng must be a Generator, got "):
        simulate(bad)


# Refusals

NO_RATE = [0, -1, math.nan, math.inf, "1", None, True, []]
NO_COUNT = [0, -1, 1.5, 2.0, True, "1", None, math.nan]
QUEUE = {"arrival_rate": 1.0, "service_rate": 2.0, "jobs": 3}
CLOSED = {"demands": [0.1, 0.2], "customers": 3, "think_time": 1.0, "completions": 10, "runs": 2}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *[("arrival_rate", v) for v in [*NO_RATE, [1.0, 1.5], [1.0]]],
        *[("service_rate", v) for v in [*NO_RATE, [2.0, 3.0], [2.0]]],
        *[("variability", v) for v in [-1, math.nan, math.inf, "1", None, [1.0, 2.0], [1.0]]],
        *[(n, v) for n in ("jobs", "servers", "runs") for v in NO_COUNT],
        *[("warmup", v) for v in [-1, 1.5, True, None]],
    ],
)
def test_simulate_queue_refuses(name, bad):
    with pytest.raises(DomainError, match=f"^simulate_queue: {name} must be "):
        simulate_queue(**(QUEUE | {name: bad}), rng=np.random.default_rng(1))


@pytest.mark.parametrize(("arrival_rate", "servers"), [(2, 1), (2.5, 1), (6, 3), (7, 3)])
def test_an_overloaded_queue_is_refused(arrival_rate, servers):
    with pytest.raises(DomainError, match=r"^simulate_queue: arrival_rate must be below servers \* service_rate, got "):
        simulate_queue(arrival_rate, 2, jobs=3, servers=servers, rng=np.random.default_rng(1))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *[("demands", v) for v in [*NO_RATE, [0.1, 0], [0.1, -1], [0.1, math.nan], [[0.1, 0.2]]]],
        *[("think_time", v) for v in [-1, math.nan, math.inf, "1", None, [1.0, 2.0], [1.0]]],
        *[(n, v) for n in ("customers", "completions", "runs") for v in NO_COUNT],
    ],
)
def test_simulate_closed_refuses(name, bad):
    with pytest.raises(DomainError, match=f"^simulate_closed: {name} must be "):
        simulate_closed(**(CLOSED | {name: bad}), rng=np.random.default_rng(1))


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, "1", None, True, [], [1, math.nan]])
def test_erlang_refuses_a_load(bad):
    for function in (erlang_b, erlang_c):
        with pytest.raises(DomainError, match=f"^{function.__name__}: offered_load must be "):
            function(bad, 3)


@pytest.mark.parametrize("bad", [3, 3.5, [1, 3]])
def test_erlang_c_refuses_overload(bad):
    with pytest.raises(DomainError, match=r"^erlang_c: offered_load.* must be .*\[0, 1\), got "):
        erlang_c(bad, 3)


@pytest.mark.parametrize("bad", NO_COUNT)
def test_servers_are_counted(bad):
    for function in (erlang_b, erlang_c):
        with pytest.raises(DomainError, match=f"^{function.__name__}: servers must be an integer in 1 "):
            function(0.5, bad)
    with pytest.raises(DomainError, match=r"^mmn_response: servers must be an integer in 1 "):
        mmn_response(0.5, 1.0, bad)


@pytest.mark.parametrize("bad", [1, 1.2, -0.1, math.nan, "0.5", None, [0.5, 1.0]])
def test_utilisation_refused(bad):
    with pytest.raises(DomainError, match=r"^mmn_response: utilisation must be a number in \[0, 1\), got "):
        mmn_response(bad, 1.0, 3)
    with pytest.raises(DomainError, match=r"^mm1_response: utilisation must be a number in \[0, 1\), got "):
        mm1_response(bad, 1.0)


@pytest.mark.parametrize("bad", [*NO_RATE, [1.0, 2.0]])
def test_mmn_service_rate_is_one_positive_number(bad):
    with pytest.raises(DomainError, match=r"^mmn_response: .*service_rate"):
        mmn_response([0.1, 0.2, 0.3], bad, 3)


def test_results_must_be_finite():
    with pytest.raises(DomainError, match=r"^mmn_response: the result must be finite"):
        mmn_response(0.5, 1e-309, 2)


@pytest.mark.parametrize("rate", [1e-308, 5e-324])
def test_gaps_too_long_for_floats(rate):
    with pytest.raises(DomainError, match=r"^simulate_queue: the result must be finite"):
        simulate_queue(rate, 2.0, jobs=50, rng=np.random.default_rng(1))  # waits were nan


def test_service_too_long_for_floats():
    for demands, think_time in [(5e-324, 1.0), (1.0, 5e-324), ([1.0, 1e-310], 0.0), ([1e308] * 2, 0.0)]:
        with pytest.raises(DomainError, match=r"^simulate_closed: the result must be finite"):
            simulate_closed(demands, 5, think_time, completions=10, runs=2, rng=np.random.default_rng(1))
    with pytest.raises(DomainError, match=r"^mmn_response: the result must be finite"):
        mmn_response(0.9, 5e-324, 3)


BEYOND = {"servers": 2**63, "jobs": 10**8, "runs": 10**5000, "warmup": 10**8}


@pytest.mark.parametrize(("name", "value"), BEYOND.items(), ids=BEYOND)
def test_counts_that_no_machine_could_simulate(name, value):
    with pytest.raises(DomainError, match=f"^simulate_queue: {name} must be an integer in "):
        simulate_queue(**(QUEUE | {name: value}), rng=np.random.default_rng(1))


@pytest.mark.parametrize("name", ["customers", "completions", "runs"])
def test_events_that_no_machine_could_simulate(name):
    with pytest.raises(DomainError, match=f"^simulate_closed: {name} must be an integer in "):
        simulate_closed(**(CLOSED | {name: 10**9}), rng=np.random.default_rng(1))


@pytest.mark.parametrize("servers", [2**63, 10**5000, 10**6], ids=["a word", "too long to print", "a million"])
def test_servers_that_no_machine_could_count(servers):
    for function in (erlang_b, erlang_c):
        with pytest.raises(DomainError, match=f"^{function.__name__}: servers must be an integer in 1 "):
            function(0.5, servers)
    with pytest.raises(DomainError, match=r"^mmn_response: servers must be an integer in 1 "):
        mmn_response(0.5, 1.0, servers)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda rng: erlang_b(np.ones(101), 10**5),
            "erlang_b: loads times servers must be an integer in 0 ... 10000000, got",
        ),
        (
            lambda rng: simulate_queue(1, 2, jobs=10**6, runs=11, rng=rng),
            "simulate_queue: runs times jobs and warmup must be an integer in 0 ... 10000000, got 11000000",
        ),
        (
            lambda rng: simulate_queue(1, 2, jobs=10**6, warmup=10**7, rng=rng),
            "simulate_queue: runs times jobs and warmup must be an integer in 0 ... 10000000, got 11000000",
        ),
        (
            lambda rng: simulate_queue(1, 2, jobs=1000, servers=10**5, rng=rng),
            "simulate_queue: servers, jobs and runs together must be an integer in 0 ... 40000000, got 100200000",
        ),
        (
            lambda rng: simulate_closed([1.0], 1, 0.0, completions=10**5, runs=1, rng=rng),
            "simulate_closed: events of all runs must be an integer in 0 ... 40000000, got 110115005",
        ),
    ],
)
def test_the_whole_must_be_affordable(call, message):
    with pytest.raises(DomainError, match=message):
        call(np.random.default_rng(1))
