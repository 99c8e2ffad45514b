"""Laws of speed-up: against published figures, and their own algebra."""

import pytest
import sympy as sp
from hypothesis import assume, given
from hypothesis import strategies as st

from web3scale.errors import DomainError
from web3scale.foundations.laws import (
    amdahl_half_nodes,
    amdahl_limit,
    amdahl_parallel,
    amdahl_speedup,
    gustafson_speedup,
    karp_flatt,
    usl_peak,
    usl_throughput,
)

p, n = amdahl_speedup.symbols.values()
q = sp.Symbol("q", positive=True)  # 1 - p: SymPy then knows that p < 1
AMDAHL = amdahl_speedup.expr


def same(left, right) -> bool:
    return sp.simplify(left - right) == 0


def test_published_override():
    assert usl_peak(0.001, 1e-5) == pytest.approx(316.0696, abs=0.5e-4)
    assert 89.9952384 * amdahl_limit(1 - 0.001) == pytest.approx(89995.23, rel=1e-4)


def test_amdahl_limits():
    assert AMDAHL.subs(n, 1) == 1
    assert AMDAHL.subs(p, 1) == n
    assert AMDAHL.subs(p, 0) == 1
    assert same(sp.limit(AMDAHL.subs(p, 1 - q), n, sp.oo), amdahl_limit.expr.subs(p, 1 - q))
    assert same(amdahl_limit.expr, 1 / (1 - p))


def test_amdahl_half_point():
    assert same(AMDAHL.subs(n, amdahl_half_nodes.expr), amdahl_limit.expr / 2)


def test_amdahl_grows_by_less_and_less():
    assert same(sp.diff(AMDAHL, n), AMDAHL**2 * p / n**2)
    slope = sp.factor(sp.diff(AMDAHL, n, 2).subs(p, 1 - q))
    assert sp.simplify(slope.subs({q: sp.Rational(1, 3), n: 5})) < 0


def test_usl_without_coherency_is_amdahl():
    size, gain, contention, coherency = usl_throughput.symbols.values()
    assert same(usl_throughput.expr.subs(coherency, 0), gain * AMDAHL.subs({p: 1 - contention, n: size}))
    assert same(usl_throughput.expr.subs(size, 1), gain)
    assert sp.limit(usl_throughput.expr, size, sp.oo) == 0


def test_usl_peak_is_where_the_slope_vanishes():
    size, _, contention, coherency = usl_throughput.symbols.values()
    slope = sp.numer(sp.together(sp.diff(usl_throughput.expr, size)))
    assert same(slope.subs(size, usl_peak.expr), 0)
    assert same(usl_peak.expr**2, (1 - contention) / coherency)


@given(contention=st.floats(0.0, 0.9), coherency=st.floats(1e-6, 0.1), aside=st.floats(0.2, 5))
def test_usl_peak_is_a_maximum(contention, coherency, aside):
    peak = usl_peak(contention, coherency)
    assume(peak * aside >= 1)
    top = usl_throughput(peak, 1.0, contention, coherency)
    assert usl_throughput(peak * aside, 1.0, contention, coherency) <= top * (1 + 1e-12)


def test_karp_flatt_inverts_amdahl():
    speedup, size = karp_flatt.symbols.values()
    assert same(karp_flatt.expr.subs({speedup: AMDAHL, size: n}), 1 - p)
    assert same(karp_flatt.expr.subs(speedup, size), 0)


@given(parallel=st.floats(0.0, 1.0), nodes=st.floats(1.5, 1000))
def test_karp_flatt_inverts_amdahl_in_numbers(parallel, nodes):
    assert karp_flatt(amdahl_speedup(parallel, nodes), nodes) == pytest.approx(1 - parallel, abs=1e-12)


def test_karp_flatt_beyond_linear_speedup_is_negative():
    assert karp_flatt(5, 4) == pytest.approx((1 / 5 - 1 / 4) / (1 - 1 / 4))
    assert karp_flatt(5, 4) < 0


def test_gustafson_is_amdahl_of_another_share():
    share, size = gustafson_speedup.symbols.values()
    assert same(AMDAHL.subs({p: amdahl_parallel.expr, n: size}), gustafson_speedup.expr)
    assert same(gustafson_speedup.expr, size - (1 - share) * (size - 1))
    assert amdahl_parallel(0.3, 1) == 0.3
    assert amdahl_parallel(1, 7) == 1.0


def test_more_contention_than_a_queue_is_refused():
    with pytest.raises(DomainError, match=r"^usl_throughput: contention must be a number in \[0, 1\], got 1.1"):
        usl_throughput(2, 1.0, 1.1, 0.0)


def test_a_share_too_long_to_print_is_refused_all_the_same():
    # printing more than 4300 digits is a ValueError of Python's, which once hid the refusal
    with pytest.raises(DomainError, match=r"^amdahl_speedup: parallel must be .*, got an int too long to print$"):
        amdahl_speedup(10**5000, 2)
