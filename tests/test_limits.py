"""Chapter 2: bounds on throughput, the price in security, forks and double spends."""

import math
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from web3scale import limits
from web3scale.errors import DomainError

# Vectors from outside


def test_nakamoto_table():
    """Nakamoto (2008), Bitcoin, section 11, q = 0.1; printed to seven decimals."""
    table = [
        1.0,
        0.2045873,
        0.0509779,
        0.0131722,
        0.0034552,
        0.0009137,
        0.0002428,
        0.0000647,
        0.0000173,
        4.6e-6,
        1.2e-6,
    ]
    ours = [limits.nakamoto_double_spend(0.1, z) for z in range(11)]
    assert ours == pytest.approx(table, abs=5.1e-8)


def test_croman_throughput():
    """Croman et al. (2016): 4 MB blocks every 600 s carry 27 transactions of 250 bytes a second at most."""
    assert limits.byte_throughput(4e6, 1 / 600, 250) == pytest.approx(27, rel=0.02)


@pytest.mark.parametrize(("load", "tolerated"), [(1.0, 0.382), (10.0, 0.090)])
def test_security_at_two_delays(load, tolerated):
    """Dembo et al. (2020): at λΔ = 1 and 10, the roots (3 − √5)/2 and 0.0901 of their condition."""
    assert limits.tolerated_adversary(load, 1.0) == pytest.approx(tolerated, abs=5e-4)
    assert limits.tolerated_adversary(1.0, 1.0) == pytest.approx((3 - math.sqrt(5)) / 2, rel=1e-12)


# Properties and limits


@given(rate=st.floats(1e-3, 1e3), delay=st.floats(0, 1e3))
def test_tolerated_adversary_solves_its_equation(rate, delay):
    q = limits.tolerated_adversary(rate, delay)
    assert 0 < q <= 0.5
    assert q == pytest.approx((1 - q) / (1 + (1 - q) * rate * delay), rel=1e-9)


def test_two_limits_of_the_delayed_throughput():
    law = limits.delayed_throughput
    B, rate, s, a, b = (law.symbols[n] for n in law.symbols)
    assert sp.limit(law.expr, B, sp.oo) == 1 / (b * s)
    assert sp.simplify(sp.limit(law.expr, rate, sp.oo) - B / (s * (a + b * B))) == 0
    assert sp.simplify(law.expr.subs({a: 0, b: 0}) - limits.byte_throughput(B, rate, s)) == 0


def test_best_fan_out_makes_the_coverage_time_least():
    k, L, tau, n = sp.symbols("k L tau n", positive=True)
    slope = sp.diff(limits.tree_coverage_time(n, k, L, tau), k)
    for latency in (0.0, 0.05, 1.0):
        best = limits.best_fan_out(latency, 0.01)
        assert float(slope.subs({k: best, L: latency, tau: 0.01, n: 1000})) == pytest.approx(0, abs=1e-9)
        near = limits.tree_coverage_time(1000, [best * 0.9, best, best * 1.1], latency, 0.01)
        assert np.argmin(near) == 1


@given(q=st.floats(0.01, 0.49), z=st.integers(1, 200))
def test_double_spends_are_probabilities_that_fall(q, z):
    for chance in (limits.double_spend, limits.nakamoto_double_spend):
        assert 0 <= chance(q, z) <= chance(q, z - 1) <= 1
    assert limits.double_spend(q, z) <= (4 * q * (1 - q)) ** z + 1e-300  # Chernoff's bound


@given(q=st.floats(0.05, 0.45), z=st.integers(1, 12))
def test_double_spend_by_summing_the_race(q, z):
    """When z honest blocks are found the adversary has a negative binomial number; the rest is gambler's ruin."""
    p = 1 - q
    total = 1 - sum(math.comb(k + z - 1, k) * (p**z * q**k - p**k * q**z) for k in range(z))
    assert limits.double_spend(q, z) == pytest.approx(total, rel=1e-9, abs=1e-13)


# Simulation against formula


@pytest.mark.parametrize("delay", [0.1, 1.0, 5.0])
def test_the_mining_race_lands_on_its_growth_rate(delay):
    found = limits.simulate_mining(1.0, delay, blocks=20_000, runs=40, rng=np.random.default_rng(7))
    error = found.std(ddof=1) / np.sqrt(40)
    assert abs(found.mean() - limits.growth_rate(1.0, delay)) < 3 * error


def test_a_double_spend_played_out():
    """Two confirmations, q = 0.3: honest and adversary blocks drawn one by one, given up 60 blocks behind."""
    rng = np.random.default_rng(8)
    won, games = 0, 4000
    for _ in range(games):
        lead, honest = 0, 0
        while honest < 2 or -60 < lead < 0:
            mine = rng.random() < 0.3
            lead += 1 if mine else -1
            honest += not mine
        won += lead >= 0
    share = won / games
    assert abs(share - limits.double_spend(0.3, 2)) < 3 * math.sqrt(share * (1 - share) / games)


def test_the_rate_only_rescales_time():
    one, four = (
        limits.simulate_mining(rate, 1 / rate, blocks=500, runs=2, rng=np.random.default_rng(1)) for rate in (1.0, 4.0)
    )
    assert four == pytest.approx(4 * one, rel=1e-12)


def test_without_delay_no_block_is_lost():
    growth = limits.simulate_mining(1.0, 0.0, blocks=10, runs=3, rng=np.random.default_rng(1))
    times = np.cumsum(np.random.default_rng(1).standard_exponential((3, 10)), axis=1)
    assert growth == pytest.approx(9 / (times[:, -1] - times[:, 0]))


@pytest.mark.parametrize("delay", [0.1, 1.0, 5.0])
def test_the_mining_race_block_by_block(delay):
    """Every block has the highest block that its miner knew as its parent: heights, one after the other."""
    times = np.cumsum(np.random.default_rng(3).standard_exponential((1, 300)), axis=1)[0]
    heights = []
    for now in times:
        known = [h for h, found in zip(heights, times, strict=False) if found + delay <= now]
        heights.append(1 + max(known, default=0))
    growth = limits.simulate_mining(1.0, delay, blocks=300, runs=1, rng=np.random.default_rng(3))
    assert growth == pytest.approx((max(heights) - 1) / (times[-1] - times[0]), rel=1e-12)


def test_nakamoto_s_other_table():
    # Nakamoto (2008), section 11: q = 0.3, and the confirmations for a risk below one in a thousand
    table = {0: 1.0, 5: 0.1773523, 10: 0.0416605, 15: 0.0101008, 20: 0.0024804, 25: 0.0006132, 30: 0.0001522}
    table |= {35: 0.0000379, 40: 0.0000095, 45: 0.0000024, 50: 0.0000006}
    for z, printed in table.items():
        assert limits.nakamoto_double_spend(0.3, z) == pytest.approx(printed, abs=5e-8)
    needed = {0.10: 5, 0.15: 8, 0.20: 11, 0.25: 15, 0.30: 24, 0.35: 41, 0.40: 89, 0.45: 340}
    for q, z in needed.items():
        assert limits.nakamoto_double_spend(q, z) < 0.001 <= limits.nakamoto_double_spend(q, z - 1)


@pytest.mark.parametrize(("q", "z"), [(0.3, 20), (0.1, 6), (0.45, 50), (0.499, 3), (1e-6, 2)])
def test_nakamoto_s_sum_in_exact_fractions(q, z):
    p = 1 - Fraction(q)
    mean = z * Fraction(q) / p
    term, total = Fraction(1), Fraction(0)
    for j in range(z + 1):
        total += term * (1 - (Fraction(q) / p) ** (z - j))
        term = term * mean / (j + 1)
    with mpmath.workdps(60):
        exact = 1 - mpmath.exp(-mpmath.mpf(mean.numerator) / mean.denominator) * total.numerator / total.denominator
    assert limits.nakamoto_double_spend(q, z) == pytest.approx(float(exact), rel=1e-11)


@pytest.mark.parametrize("z", [1, 2, 3, 6, 10, 30, 100, 200, 201, 500, 1000, 10**6])
def test_double_spends_to_twelve_digits(z):
    """Against sixty digits of mpmath, from a hopeless adversary to one just short of a half."""
    shares = [1e-300, 1e-100, 1e-30, 1e-17, 1e-12, 1e-8, 1e-4, 0.01, 0.1, 0.2, 0.249999, 0.25, 0.3, 1 / 3, 0.334]
    with mpmath.workdps(60):
        for share in [*shares, 0.4, 0.49, 0.4999, 0.4999999] if z <= 1000 else [0.4999999]:
            q = mpmath.mpf(share)
            odds = q / (1 - q)
            ahead = mpmath.gammainc(z + 1, 0, z * odds, regularized=True)
            behind = (odds * mpmath.exp(1 - odds)) ** z * mpmath.gammainc(z + 1, z, regularized=True)
            exact = mpmath.betainc(z, mpmath.mpf(1) / 2, 0, 4 * q * (1 - q), regularized=True)
            smallest = 1e-290  # below it floats lose their digits one by one
            assert limits.nakamoto_double_spend(share, z) == pytest.approx(
                float(ahead + behind), rel=1e-12, abs=smallest
            )
            assert limits.double_spend(share, z) == pytest.approx(float(exact), rel=1e-12, abs=smallest)


@pytest.mark.parametrize("z", [1, 4, 1000, 10**5, 10**9, 10**12])
def test_probabilities_near_one_half(z):
    near = math.nextafter(0.5, 0)
    shares = [0.4999999, 0.5 - 1e-12, near]
    for chance in (limits.nakamoto_double_spend, limits.double_spend):
        found = [chance(q, z) for q in shares]
        assert found == sorted(found)
        assert found[0] >= 0
        assert found[-1] <= 1
    assert limits.double_spend(0.4999999, 1) == pytest.approx(0.9999998, rel=1e-12)
    assert limits.double_spend(0.25, 3) == pytest.approx(limits.double_spend(math.nextafter(0.25, 0), 3), rel=1e-12)


def test_no_adversary_no_double_spend():
    assert limits.nakamoto_double_spend(0, 3) == 0
    assert limits.double_spend(0, 3) == 0


def test_the_least_of_three_bounds_binds():
    bound = limits.throughput_bound(1e6, [30e6, 3e9], 1 / 12, 110, 21_000, [25e6 / 8, 1e5], 8)
    assert bound == pytest.approx([limits.gas_throughput(30e6, 1 / 12, 21_000), 1e5 / 8 / 110])
    assert limits.throughput_bound(1e3, 30e6, 1.0, 100, 21_000, 1e9, 8) == limits.byte_throughput(1e3, 1.0, 100)


def test_a_few_exact_values():
    assert limits.tree_coverage_time(8, 2, 0, 1) == pytest.approx(6)
    assert limits.cover_probability(-1) == pytest.approx(math.exp(-math.e))
    assert limits.best_fan_out(0, 0.01) == pytest.approx(math.e)
    assert type(limits.best_fan_out(0.1, 0.01)) is float
    fast = limits.simulate_mining(100.0, 0.01, blocks=50_000, runs=1, rng=np.random.default_rng(4))
    assert fast[0] == pytest.approx(50, rel=0.02)


def test_same_seed_same_run():
    one, two = (limits.simulate_mining(2.0, 0.5, blocks=100, runs=3, rng=np.random.default_rng(1)) for _ in range(2))
    assert one.tobytes() == two.tobytes()


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: limits.double_spend(0.5, 6), r"double_spend: adversary must be a number in \[0, 0.5\), got 0.5"),
        (
            lambda: limits.double_spend(0.1, -1),
            "double_spend: confirmations must be an integer in 0 .* got -1",
        ),
        (lambda: limits.nakamoto_double_spend(math.nan, 1), "nakamoto_double_spend: adversary"),
        (lambda: limits.nakamoto_double_spend(0.1, 1.5), "nakamoto_double_spend: confirmations"),
        (
            lambda: limits.nakamoto_double_spend(0.1, 10**400),
            "nakamoto_double_spend: confirmations must be an integer",
        ),
        (lambda: limits.double_spend(0.1, 10**5000), "double_spend: confirmations must be an integer"),
        (
            lambda: limits.simulate_mining(1e-308, 1, blocks=50, runs=1, rng=np.random.default_rng(1)),
            "simulate_mining: the result must be finite",
        ),
        (
            lambda: limits.simulate_mining(1, 1, blocks=10**6, runs=3, rng=np.random.default_rng(1)),
            "simulate_mining: blocks times runs must be an integer in 0 ... 2000000, got 3000000",
        ),
        (
            lambda: limits.simulate_mining(1.7e308, 0, blocks=2, runs=50, rng=np.random.default_rng(1)),
            "simulate_mining: the result must be finite",
        ),
        (
            lambda: limits.simulate_mining(1, 1, blocks=10**29, runs=1, rng=np.random.default_rng(1)),
            "simulate_mining: blocks must be an integer in 2 ... 2000000, got 1000",
        ),
        (
            lambda: limits.simulate_mining(1, 1, blocks=2, runs=10**6, rng=np.random.default_rng(1)),
            "simulate_mining: runs must be an integer in 1 ... 100000, got 1000000",
        ),
        (lambda: limits.growth_rate(sp.true, 1), "growth_rate: block_rate must be a number"),
        (lambda: limits.best_fan_out(-1, 1), "best_fan_out: link_latency"),
        (lambda: limits.best_fan_out(1e308, 1e-308), "best_fan_out: the result must be finite"),
        (lambda: limits.best_fan_out([1.0, 2.0], 1.0), "best_fan_out: link_latency must be a number"),
        (lambda: limits.best_fan_out(1, 0), "best_fan_out: transmit_time"),
        (lambda: limits.simulate_mining(0, 1, blocks=5, runs=1, rng=np.random.default_rng(1)), "block_rate"),
        (lambda: limits.simulate_mining(1, -1, blocks=5, runs=1, rng=np.random.default_rng(1)), "propagation_delay"),
        (lambda: limits.simulate_mining(1, 1, blocks=1, runs=1, rng=np.random.default_rng(1)), "blocks"),
        (lambda: limits.simulate_mining(1, 1, blocks=5, runs=0, rng=np.random.default_rng(1)), "runs"),
        (lambda: limits.simulate_mining(1, 1, blocks=5, runs=1, rng=1), "rng must be a Generator"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(DomainError, match=message):
        call()


def test_the_preface_says_what_the_formulas_give():
    text = (Path(__file__).parent.parent / "chapters/preface.md").read_text("utf-8")
    for seconds, times, before, after in (  # median, 90th percentile
        (8.7, "8.1 times", "49.7 %", "46.7 %"),
        (79, "3.6 times", "47.0 %", "26.3 %"),
    ):
        per_byte = seconds / 540_000
        small, large = (limits.delayed_throughput(size, 1 / 600, 500, 0, per_byte) for size in (1e6, 1e7))
        tolerated = (limits.tolerated_adversary(1 / 600, size * per_byte) for size in (1e6, 1e7))
        shares = [f"{share:.1%}".replace("%", " %") for share in tolerated]
        assert (f"{large / small:.1f} times", *shares) == (times, before, after)
        assert times in text
        assert f"from {before} to {after}" in text
    kept = [f"{1 + size * 8.7 / 540_000 / 600:.3f}" for size in (1e6, 1e7)]
    assert f"by ${kept[0]}/{kept[1]}$" in text
    small, large = (limits.delayed_throughput(size, 1 / 600, 500, 0, 1e-6) for size in (1e6, 1e7))
    assert f"If a block of 1 MB took one second, the formula would give {large / small:.1f} times" in text


# Hypothesis 4 of Theorem 2.1: many equal miners


def growth_of_few(miners, delay, blocks, rng):
    """Mine with equal miners, each of whom knows its own blocks at once; return blocks of the chain per block found."""
    own, heard, known, now = np.zeros(miners, int), [], 0, 0.0
    for gap, finder in zip(rng.exponential(1.0, blocks), rng.integers(miners, size=blocks), strict=True):
        now += gap
        while heard and heard[0][0] <= now:
            known = max(known, heard.pop(0)[1])
        own[finder] = max(known, own[finder]) + 1
        heard.append((now + delay, own[finder]))
    return max(own) / now


@pytest.mark.parametrize(("delay", "miners"), [(0.1, 1), (1.0, 2), (10.0, 30)])
def test_with_few_miners_the_chain_grows_faster(delay, miners):
    law = limits.growth_rate(1.0, delay)
    assert growth_of_few(miners, delay, 20_000, np.random.default_rng(6)) > 1.05 * law


@pytest.mark.parametrize(("delay", "miners"), [(0.1, 100), (1.0, 100), (10.0, 5000)])
def test_many_times_one_and_the_square_of_blocks_per_delay_is_enough(delay, miners):
    law = limits.growth_rate(1.0, delay)
    assert growth_of_few(miners, delay, 20_000, np.random.default_rng(6)) == pytest.approx(law, rel=0.04)


def test_the_raises_that_are_left_out_are_no_more_than_the_chapter_says():
    # per height: (x + x²/2) over the number of miners
    for delay, miners in ((0.5, 4), (1.0, 4), (1.0, 20), (3.0, 60), (10.0, 500)):
        law = limits.growth_rate(1.0, delay)
        more = growth_of_few(miners, delay, 20_000, np.random.default_rng(7)) / law - 1
        assert -0.03 < more < (delay + delay**2 / 2) / miners + 0.03


def test_the_bound_on_the_raises_follows_from_the_time_that_they_save():
    # at time t after a height's first block at most 1 + t miners could raise the chain, in units of 1/λ;
    # who does saves x - t + 1 of the mean x + 1, so the chain grows by 1/(1 - saved)
    t, x, miners = sp.symbols("t x M", positive=True)
    raises = sp.integrate((1 + t) / miners, (t, 0, x))
    assert sp.simplify(raises - (x + x**2 / 2) / miners) == 0
    saved = sp.integrate((1 + t) * (x - t + 1) / miners, (t, 0, x)) / (x + 1)
    spare = sp.lambdify((x, miners), (1 + raises) * (1 - saved) - 1)
    at = np.geomspace(1e-3, 1e3, 2001)
    least = 4 * np.maximum(1, at**2)
    for times in (1, 2, 10, 1000):
        assert (spare(at, times * least) >= 0).all()
    assert spare(1.0, 2) < 0  # with fewer miners the argument fails
