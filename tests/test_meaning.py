"""Power, the value of a response and productivity."""

import pytest
import sympy as sp

from web3scale.foundations.meaning import power, productivity, response_value


def test_power_value_productivity():
    assert power(800, 0.005) == pytest.approx(800 / 0.005)
    time, target = response_value.symbols.values()
    assert response_value.expr.subs(time, 0) == 1
    assert response_value.expr.subs(time, target) == sp.Rational(1, 2)
    assert sp.limit(response_value.expr, time, sp.oo) == 0
    assert productivity(1000, 0.25, 4.0) == pytest.approx(1000 * 0.25 / 4)
