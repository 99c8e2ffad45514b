"""Shards: formulas on exact counts of all cases, and a simulation on the formulas."""

import itertools
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

from web3scale.errors import DomainError
from web3scale.layers import sharding


def enumerated(k, m, v):
    """Every way to put m accounts on k shards, counted exactly."""
    touched = [len(set(places)) for places in itertools.product(range(k), repeat=m)]
    total = len(touched)
    cross = Fraction(sum(t > 1 for t in touched), total)
    return cross, Fraction(sum(touched), total), Fraction(sum(v * t if t > 1 else 1 for t in touched), total)


@pytest.mark.parametrize(("k", "m", "v"), [(1, 2, 2), (2, 2, 2), (3, 2, 1), (4, 3, 2), (5, 4, 3), (7, 1, 2)])
def test_formulas_equal_the_count_of_all_cases(k, m, v):
    cross, touched, work = enumerated(k, m, v)
    assert sharding.cross_shard_share(k, m) == pytest.approx(float(cross), abs=1e-12)
    assert sharding.shards_touched(k, m) == pytest.approx(float(touched), rel=1e-12)
    assert sharding.shard_work(k, m, v) == pytest.approx(float(work), rel=1e-12)
    assert sharding.sharded_throughput(10, k, m, v) == pytest.approx(float(10 * k / work), rel=1e-12)


@pytest.mark.parametrize("m", [2, 3, 5, 20])
@pytest.mark.parametrize("k", [2, 10, 1000, 10**6 - 17, 10**9 + 7, 10**12 + 39])
def test_the_digits_that_the_formulas_promise(k, m):
    share, touched = 1 - Fraction(1, k ** (m - 1)), k * (1 - (1 - Fraction(1, k)) ** m)
    assert abs(Fraction(sharding.cross_shard_share(k, m)) - share) <= Fraction(2, 10**16)
    if k > 10**6:  # beyond, so few digits are left that the call is refused
        with pytest.raises(DomainError, match=r"shards must be a number in \[1, 1e\+06\]"):
            sharding.shards_touched(k, m)
    else:
        assert abs(Fraction(sharding.shards_touched(k, m)) / touched - 1) <= Fraction(k + 3, 10**16)


def test_the_digits_left_of_any_accounts_and_visits():
    """Rounding 1 - 1/k and its power cost k 10^-16 each; of the work at the ends of both, four digits are left."""
    draw, worst = np.random.default_rng(3), 0.0
    with mpmath.workdps(50):
        for _ in range(4000):
            k, v = 10 ** draw.uniform(0, 6, size=2)
            m = 1 + 10 ** draw.uniform(-12, 5.9)
            shards, accounts = mpmath.mpf(k), mpmath.mpf(m)
            touched, local = shards * (1 - (1 - 1 / shards) ** accounts), shards ** (1 - accounts)
            assert abs(sharding.shards_touched(k, m) / touched - 1) <= (2 * k + 3) * 1e-16
            worst = max(worst, abs(sharding.shard_work(k, m, v) / (local + v * (touched - local)) - 1))
    assert 1e-9 < worst < 1e-4  # the first says that the points lie where digits are lost


def test_each_shard_added_brings_one_part_in_v_m():
    k, m, v, mu = (sharding.sharded_throughput.symbols[n] for n in ("shards", "accounts", "visits", "service_rate"))
    for accounts in (2, 3, 5):
        x = sharding.sharded_throughput.expr.subs(m, accounts)
        assert sp.simplify(sp.limit(x / (k * mu), k, sp.oo) - 1 / (v * accounts)) == 0
        assert x.subs(k, 1) == mu


@pytest.mark.parametrize(("k", "m", "v"), [(2, 2, 2), (8, 2, 2), (8, 3, 1), (32, 4, 2)])
def test_the_simulated_workload_lands_on_the_formulas(k, m, v):
    run = sharding.simulate_workload(k, m, v, transactions=5000, runs=40, rng=np.random.default_rng(7))
    for found, theory in [
        (run.cross_share, sharding.cross_shard_share(k, m)),
        (run.touched.mean(axis=1), sharding.shards_touched(k, m)),
        (run.work, sharding.shard_work(k, m, v)),
    ]:
        error = found.std(ddof=1) / np.sqrt(40)
        assert abs(found.mean() - theory) < 3 * error


def test_one_shard_is_touched_once():
    run = sharding.simulate_workload(1, 2, 2, transactions=3, runs=2, rng=np.random.default_rng(1))
    assert run.touched.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert run.work.tolist() == [1.0, 1.0]


def test_work_is_counted_by_visits():
    """One transaction: on two of two shards it makes v visits to both; on one, it makes one."""
    seen = set()
    for seed in range(8):
        run = sharding.simulate_workload(2, 2, 3, transactions=1, runs=1, rng=np.random.default_rng(seed))
        assert run.work[0] == (6 if run.touched[0, 0] == 2 else 1)
        seen.add(int(run.touched[0, 0]))
    assert seen == {1, 2}


@pytest.mark.parametrize("name", ["shards", "accounts", "visits", "transactions", "runs"])
@pytest.mark.parametrize("value", [0, 1.5, None, True])
def test_a_workload_needs_counts(name, value):
    arguments = {"shards": 2, "accounts": 2, "visits": 2, "transactions": 3, "runs": 2} | {name: value}
    with pytest.raises(DomainError, match=rf"simulate_workload: {name} must be an integer"):
        sharding.simulate_workload(**arguments, rng=np.random.default_rng(1))


def test_a_workload_on_more_shards_than_a_computer_counts_is_refused():
    with pytest.raises(DomainError, match=r"shards must be an integer in 1 ... 1024"):
        sharding.simulate_workload(2**63, 2, 2, transactions=1, runs=1, rng=np.random.default_rng(1))


def test_a_workload_needs_a_generator():
    with pytest.raises(DomainError, match="rng must be"):
        sharding.simulate_workload(2, 2, 2, transactions=3, runs=2, rng=7)


@pytest.mark.parametrize(("shards", "runs"), [(1024, 10**5), (2, 10**6)])
def test_many_runs_cost_no_more_than_their_places(shards, runs):
    run = sharding.simulate_workload(shards, 1, 1, transactions=1, runs=runs, rng=np.random.default_rng(1))
    assert run.work.shape == (runs,)
    assert np.all(run.work == 1)
