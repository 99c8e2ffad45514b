"""Efficiency, elasticity, and the bounds of a closed system."""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from web3scale.errors import DomainError
from web3scale.foundations.laws import amdahl_speedup, gustafson_speedup, usl_peak, usl_throughput
from web3scale.foundations.measures import (
    efficiency,
    elasticity,
    isoefficient_work,
    saturation_customers,
    throughput_bound,
)

p, n = amdahl_speedup.symbols.values()
q = sp.Symbol("q", positive=True)  # 1 - p: SymPy then knows that p < 1
AMDAHL = amdahl_speedup.expr


def same(left, right) -> bool:
    return sp.simplify(left - right) == 0


def test_elasticity_by_hand():
    x, r = sp.symbols("x r", positive=True)
    assert elasticity(x * r**3, r) == 3
    assert elasticity(x, r) == 0
    assert same(elasticity(AMDAHL, n), AMDAHL * p / n)
    share, size = gustafson_speedup.symbols.values()
    assert same(elasticity(gustafson_speedup, size), share * size / gustafson_speedup.expr)
    assert sp.limit(elasticity(amdahl_speedup, n).subs(p, 1 - q), n, sp.oo) == 0


def test_elasticity_knows_no_units():
    a, b = sp.symbols("a b", positive=True)
    size, _, contention, coherency = usl_throughput.symbols.values()
    rescaled = a * usl_throughput.expr.subs(size, b * size)
    assert same(elasticity(rescaled, size), elasticity(usl_throughput, size).subs(size, b * size))
    # at the peak a little more of n gains nothing
    assert same(elasticity(usl_throughput, size).subs(size, usl_peak.expr), 0)
    assert same(elasticity(usl_throughput, size).subs(size, 1), 1 - contention - coherency)


@pytest.mark.parametrize("quantity", [1, 2.0, "x", None, len])
def test_elasticity_refuses_what_is_no_expression(quantity):
    with pytest.raises(DomainError, match=r"^elasticity: quantity must be "):
        elasticity(quantity, n)


@pytest.mark.parametrize("resource", ["n", 2 * n, None, 1])
def test_elasticity_refuses_what_is_no_symbol(resource):
    with pytest.raises(DomainError, match=r"^elasticity: resource must be "):
        elasticity(amdahl_speedup, resource)


def test_elasticity_refuses_a_namesake():
    # without positive=True it is another symbol, and the derivative with respect to it is zero
    with pytest.raises(DomainError, match=r"^elasticity: resource must be the same symbol "):
        elasticity(amdahl_speedup, sp.Symbol("n"))
    assert elasticity(amdahl_speedup, sp.Symbol("z")) == 0


def test_isoefficient_work_holds_the_efficiency():
    eta, overhead = isoefficient_work.symbols.values()
    work, other = efficiency.symbols.values()
    assert same(efficiency.expr.subs({work: isoefficient_work.expr, other: overhead}), eta)
    # efficiency is speed-up over nodes: with W + T_o = n·T_n, it is W/(n·T_n)
    assert same(efficiency.expr.subs(other, n * (work / AMDAHL) - work), AMDAHL / n)


# Bounds of a closed system

demands = st.lists(st.floats(0.01, 10), min_size=1, max_size=6)
thinking = st.floats(0, 100)


@given(demands=demands, think=thinking, customers=st.integers(0, 500))
def test_bound_is_the_lower_of_two_lines(demands, think, customers):
    bound = throughput_bound(demands, customers, think_time=think)
    assert isinstance(bound, float)
    assert bound == pytest.approx(min(1 / max(demands), customers / (sum(demands) + think)), rel=1e-12)


@given(demands=demands, think=thinking)
def test_the_lines_meet_at_saturation(demands, think):
    corner = saturation_customers(demands, think)
    assert corner >= 1 - 1e-12
    assert corner == pytest.approx((sum(demands) + think) / max(demands), rel=1e-12)
    assert throughput_bound(demands, corner, think) == pytest.approx(1 / max(demands), rel=1e-12)
    assert throughput_bound(demands, 0.99 * corner, think) < 1 / max(demands)
    assert throughput_bound(demands, 2 * corner, think) == 1 / max(demands)


@given(demands=demands, think=thinking, scale=st.floats(0.01, 100), data=st.data())
def test_bound_properties(demands, think, scale, data):
    customers = np.arange(30)
    bound = throughput_bound(demands, customers, think)
    assert bound.shape == (30,)
    assert (np.diff(bound) >= 0).all()
    # seconds in another unit; stations in another order; one more station never helps
    rescaled = throughput_bound([d * scale for d in demands], customers, think * scale)
    assert rescaled * scale == pytest.approx(bound, rel=1e-12)
    shuffled = data.draw(st.permutations(demands))
    assert throughput_bound(shuffled, customers, think) == pytest.approx(bound, rel=1e-12)
    assert (throughput_bound([*demands, 0.5], customers, think) <= bound * (1 + 1e-12)).all()


@settings(max_examples=30)
@given(demands=demands)
def test_think_time_is_zero_unless_told(demands):
    assert throughput_bound(demands, 3) == throughput_bound(demands, 3, 0.0)
    assert saturation_customers(demands) == saturation_customers(demands, 0.0)
    assert throughput_bound(np.array(demands), 3) == throughput_bound(demands, 3)


def test_one_station_as_a_number_and_stations_without_demand():
    assert throughput_bound(0.5, 4) == 2.0
    assert throughput_bound([0.5, 0.0], 1) == 2.0


@pytest.mark.parametrize("bad", [[], [0.0], [0, 0], [-1, 2], [math.nan], "1", None, [[1.0, 2.0]], [math.inf]])
def test_demands_refused(bad):
    with pytest.raises(DomainError, match=r"^throughput_bound: demands must be "):
        throughput_bound(bad, 3)
    with pytest.raises(DomainError, match=r"^saturation_customers: demands must be "):
        saturation_customers(bad)


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, "3", None, []])
def test_customers_and_think_time_refused(bad):
    with pytest.raises(DomainError, match=r"^throughput_bound: customers must be "):
        throughput_bound([0.1], bad)
    with pytest.raises(DomainError, match=r"^throughput_bound: think_time must be "):
        throughput_bound([0.1], 3, bad)
    with pytest.raises(DomainError, match=r"^saturation_customers: think_time must be "):
        saturation_customers([0.1], bad)


def test_bounds_must_be_finite():
    with pytest.raises(DomainError, match=r"^throughput_bound: the result must be finite"):
        throughput_bound([1e-310], [1.0, 1e10])
    with pytest.raises(DomainError, match=r"^throughput_bound: the result must be finite"):
        throughput_bound([1e308, 1e308], 3)  # was 0
    with pytest.raises(DomainError, match=r"^saturation_customers: the result must be finite"):
        saturation_customers([1e-310], 1e300)


def test_think_time_is_one_number():
    with pytest.raises(DomainError, match=r"^throughput_bound: .*think_time"):
        throughput_bound([0.1], [1, 2], [0.1, 0.2, 0.3])
    with pytest.raises(DomainError, match=r"^saturation_customers: .*think_time"):
        saturation_customers([0.1], [0.1, 0.2])


@pytest.mark.parametrize("quantity", [sp.Integer(0), -n, sp.nan, sp.zoo])
def test_an_elasticity_of_nothing_is_refused(quantity):
    with pytest.raises(DomainError, match=r"^elasticity: quantity must be positive, got "):
        elasticity(quantity, n)
