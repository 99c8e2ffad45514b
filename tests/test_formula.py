"""Formula: the decorator on formulas of its own, then what must hold of every formula in the package."""

import importlib
import inspect
import itertools
import math
import pickle
import pkgutil
import re
import time
from fractions import Fraction
from typing import Annotated, Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy.printing.pretty.pretty_symbology import pretty_symbol
from test_quantities import NOT_NUMBERS

import web3scale
from web3scale.errors import DomainError, shown
from web3scale.formula import Formula, formula
from web3scale.foundations.laws import amdahl_limit, amdahl_speedup, karp_flatt
from web3scale.quantities import Count, PositiveRatio, Quantity, Ratio, Seconds, Share
from web3scale.queues import mg1_best_utilisation, mg1_power, mg1_response

calls = 0


@formula(parallel="p", nodes="n")
def speedup(parallel: Share, nodes: Count) -> Ratio:
    """Amdahl's law, with a count of how often the body runs."""
    global calls
    calls += 1
    return 1 / (1 - parallel + parallel / nodes)


@formula(time="t")
def seven(time: Seconds) -> Ratio:
    """A constant: lambdify alone would return one number for any array."""
    return sp.Integer(7)


@formula(width="w")
def inside(width: Annotated[Any, Quantity("1", high=1.0, open="low high")]) -> Ratio:
    """A parameter open at both ends."""
    return 1 / (width * (1 - width))


@formula(nodes="n")
def one_less(nodes: Count) -> Ratio:
    """A constant below zero."""
    return nodes - 1


@formula(left="a", right="b")
def reciprocal(left: Ratio, right: Ratio) -> Annotated[Any, Quantity("1", low=-np.inf)]:
    """A pole inside the ranges."""
    return 1 / (left - right)


@formula(left="a", right="b")
def quotient(left: PositiveRatio, right: PositiveRatio) -> PositiveRatio:
    """May overflow."""
    return left / right


# One body


def test_expression_is_the_body_on_symbols():
    p, n = speedup.symbols.values()
    assert [p.name, n.name] == ["p", "n"]
    assert p.is_positive
    assert n.is_positive
    assert speedup.expr == speedup.body(p, n) == 1 / (1 - p + p / n)


def test_the_body_runs_once_and_never_for_numbers():
    speedup(0.5, 2)
    before = calls
    assert speedup(0.25, 3) == pytest.approx(1 / (0.75 + 0.25 / 3), rel=1e-15)
    assert speedup.expr is speedup.expr
    assert calls == before


def test_letters_must_be_parameters():
    with pytest.raises(TypeError, match="nodez"):
        formula(nodez="n")(lambda nodes: nodes)


def test_it_looks_like_the_function_it_was():
    assert speedup.__name__ == "speedup"
    assert speedup.__module__ == __name__
    assert speedup.__doc__.startswith("Amdahl's law")
    assert str(inspect.signature(speedup)) == "(parallel, nodes)"
    assert repr(speedup) == f"speedup(parallel, nodes) = {speedup.expr}"
    assert speedup._repr_latex_() == f"$\\displaystyle {speedup.latex}$"


def test_latex_is_written_as_one_writes_it():
    assert amdahl_limit.latex == r"\frac{1}{1 - p}"
    assert karp_flatt.latex == r"\frac{\frac{1}{A} - \frac{1}{n}}{1 - \frac{1}{n}}"  # SymPy opens with the minus
    assert one_less.latex == "n - 1"


def test_quantities_come_from_the_annotations():
    assert speedup.quantities == {
        "parallel": Quantity("1", high=1.0),
        "nodes": Quantity("1", low=1.0),
        "return": Quantity("1"),
    }


def test_pickled_by_name():
    assert pickle.loads(pickle.dumps(amdahl_speedup)) is amdahl_speedup


@pytest.mark.parametrize(("args", "kwargs"), [((0.5,), {}), ((0.5, 2, 3), {}), ((0.5,), {"nodez": 2}), ((), {})])
def test_wrong_arguments_are_a_type_error_as_for_any_function(args, kwargs):
    with pytest.raises(TypeError):
        speedup(*args, **kwargs)


# SymPy in, SymPy out


def test_exact_numbers_stay_exact():
    assert speedup(sp.Rational(1, 3), sp.Integer(2)) == sp.Rational(6, 5)
    assert mg1_best_utilisation(sp.Integer(0)) == 1 / (1 + 1 / sp.sqrt(2))
    assert speedup(sp.Rational(1, 3), 2) == sp.Rational(6, 5)
    assert speedup(Fraction(1, 3), sp.Integer(2)) == sp.Rational(6, 5)


@pytest.mark.parametrize("measured", [3, Fraction(3), np.int64(3), np.array(3)])
def test_integers_beside_sympy_stay_exact(measured):
    assert karp_flatt(measured, sp.Integer(4)) == sp.Rational(1, 9)


def test_a_formula_inside_another():
    x = sp.Symbol("x", positive=True)
    assert speedup(x, 2) == 1 / (1 - x / 2)
    assert speedup(parallel=x, nodes=2) == speedup(nodes=2, parallel=x) == speedup(x, 2)
    rho, mu, c2 = mg1_power.symbols.values()
    assert mg1_power.expr == rho * mu / mg1_response(rho, mu, c2)


@pytest.mark.parametrize("bad", [sp.Integer(2), sp.Rational(-1, 9), sp.nan, sp.oo, sp.sqrt(2), sp.I, sp.zoo])
def test_exact_numbers_are_checked(bad):
    with pytest.raises(DomainError, match=r"^speedup: parallel must be a number in \[0, 1\], got "):
        speedup(bad, sp.Symbol("n"))


@pytest.mark.parametrize("bad", [2, -0.1, math.nan, "0.5", True, None, 0.5j])
def test_numbers_beside_sympy_are_checked(bad):
    with pytest.raises(DomainError, match=r"^speedup: parallel must be a number in \[0, 1\], got "):
        speedup(bad, sp.Symbol("n"))


# Arrays


def test_broadcasting():
    shares, nodes = np.array([[0.1], [0.9]]), np.array([1, 2, 4])
    result = speedup(shares, nodes)
    assert result.shape == (2, 3)
    assert result.dtype == np.float64
    assert np.array_equal(result, [[speedup(float(p), int(n)) for n in nodes] for p in shares[:, 0]])


def test_a_constant_is_broadcast_too():
    assert seven(3) == 7.0
    assert isinstance(seven(3), float)
    assert np.array_equal(seven([1, 2, 3]), [7.0, 7.0, 7.0])
    result = seven(np.zeros((2, 3)))
    result[0, 0] = 1  # a copy: one cell, not all of them
    assert result.sum() == 36


@pytest.mark.parametrize("number", [2, 2.0, np.int64(2), np.float32(2), np.float64(2), Fraction(2), np.array(2), 2**40])
def test_one_number_gives_a_float(number):
    assert type(speedup(0.5, number)) is float
    assert speedup(0.5, number) == 1 / (0.5 + 0.5 / float(number))


@pytest.mark.parametrize("numbers", [[1, 2], (1, 2), np.array([1, 2]), np.array([1, 2], dtype=np.uint8), [Fraction(2)]])
def test_many_numbers_give_an_array(numbers):
    assert isinstance(speedup(0.5, numbers), np.ndarray)
    assert np.array_equal(speedup(0.5, numbers), [speedup(0.5, n) for n in numbers])


def test_arguments_are_left_as_they_were():
    shares, nodes = np.array([0.1, 0.9]), np.array([2.0, 3.0])
    result = speedup(shares, nodes)
    result[:] = 0
    assert shares.tolist() == [0.1, 0.9]
    assert nodes.tolist() == [2.0, 3.0]
    times = np.array([1.0, 2.0])
    seven(times)[0] = 0
    assert times.tolist() == [1.0, 2.0]


def test_shapes_that_do_not_broadcast():
    with pytest.raises(DomainError) as error:
        speedup([0.1, 0.2], [1, 2, 3])
    rule = "speedup: shapes must broadcast, to 10000000 numbers at most"
    assert str(error.value) == f"{rule}, got parallel (2,), nodes (3,)"
    with pytest.raises(DomainError) as error:  # two small arrays, a result of 80 GB
        speedup(np.full((10**5, 1), 0.5), np.full(10**5, 2.0))
    assert str(error.value) == f"{rule}, got parallel (100000, 1), nodes (100000,)"


# Refusals


@pytest.mark.parametrize("bad", NOT_NUMBERS, ids=lambda bad: re.sub(" at 0x.*", ">", repr(bad)))
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(DomainError) as error:
        speedup(bad, 2)
    assert str(error.value) == f"speedup: parallel must be a number in [0, 1], got {shown(bad)}"


def test_message_is_what_rule_value():
    with pytest.raises(DomainError) as error:
        speedup(0.5, nodes=0.5)
    assert str(error.value) == "speedup: nodes must be a number in [1, inf), got 0.5"
    assert isinstance(error.value, ValueError)
    with pytest.raises(DomainError) as error:
        speedup([0.5, 1.5], 2)
    assert str(error.value) == "speedup: parallel must be a number in [0, 1], got [0.5, 1.5]"


@pytest.mark.parametrize("bad", [0, 1, 0.0, 1.0, [0.5, 1.0], -1e-300])
def test_open_ends_are_refused_not_returned_as_inf(bad):
    with pytest.raises(DomainError, match=r"^inside: width must be a number in \(0, 1\), got "):
        inside(bad)


def test_closed_ends_are_in():
    assert speedup(0, 1) == speedup(1, 1) == 1.0
    assert np.array_equal(speedup([0.0, 1.0], 2), [1.0, 2.0])


@pytest.mark.parametrize("args", [(1, 1), ([1, 2], [2, 2]), ([1.0, 2.0], 2)])
def test_a_pole_is_refused(args):
    with pytest.raises(DomainError, match=r"^reciprocal: no finite value at left=.*, right=.*$"):
        reciprocal(*args)


@pytest.mark.parametrize("args", [(1e200, 1e-200), ([1.0, 1e200], 1e-200)])
def test_overflow_is_refused(args):
    with pytest.raises(DomainError, match=r"^quotient: no finite value at "):
        quotient(*args)


# Every formula of the package


def every_formula() -> list[Formula]:
    found = {}
    for module in pkgutil.walk_packages(web3scale.__path__, "web3scale."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Formula):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return [found[name] for name in sorted(found)]


FORMULAS = every_formula()
each = pytest.mark.parametrize("law", FORMULAS, ids=lambda f: f.__name__)
some = settings(max_examples=25)  # of each formula
POWER = re.compile(r"(s|byte|money|gas)(?:\^(\d+))?")


def test_formulas_are_found():
    assert {"amdahl_speedup", "usl_throughput", "mm1_response", "mg1_power"} <= {f.__name__ for f in FORMULAS}


def powers(unit: str) -> dict[str, int]:
    """Read `byte/s^2` as {byte: 1, s: -2}."""
    total = {"s": 0, "byte": 0, "money": 0, "gas": 0}
    for sign, part in zip(itertools.chain([1], itertools.repeat(-1)), unit.split("/"), strict=False):
        for factor in part.split("*"):
            if factor != "1":
                match = POWER.fullmatch(factor)
                assert match, f"{unit} is no product of powers of s, byte, money and gas"
                total[match[1]] += sign * int(match[2] or 1)
    return total


def test_units_are_read():
    assert powers("1") == {"s": 0, "byte": 0, "money": 0, "gas": 0}
    assert powers("byte*money^2/s^2") == {"s": -2, "byte": 1, "money": 2, "gas": 0}
    with pytest.raises(AssertionError):
        powers("ms")


def inner(quantity: Quantity) -> st.SearchStrategy[float]:
    """Points inside an interval, away from its ends: formulas are compared there, not at poles."""
    low, high = quantity.low, quantity.high
    far = st.floats(-2, 3).map(lambda e: 10.0**e)
    if math.isfinite(low) and math.isfinite(high):
        return st.floats(0.01, 0.99).map(lambda u: low + (high - low) * u)
    if math.isfinite(low):
        return far.map(lambda d: low + d)
    if math.isfinite(high):
        return far.map(lambda d: high - d)
    return st.floats(-1e3, 1e3)


def a_point(law: Formula) -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries({name: inner(law.quantities[name]) for name in law.symbols})


def value_at(law: Formula, point: dict[str, float]) -> float:
    try:
        return law(**point)
    except DomainError as error:
        assume("no finite value" not in str(error))  # a pole between parameters; anything else is a fault
        raise


def rounding(law: Formula, point: dict[str, float]) -> float:
    """Return what a few last bits, lost at each operation, may do to the result: next to a cancellation, much."""
    given = {law.symbols[n]: v for n, v in point.items()}

    def value_and_error(node: sp.Expr) -> tuple[float, float]:
        if not node.args:
            value = float(given.get(node, node))
            return value, 1e-15 * abs(value)
        values, errors = zip(*map(value_and_error, node.args), strict=True)
        names = sp.symbols(f"x:{len(values)}", positive=True)
        here = dict(zip(names, values, strict=True))
        step = node.func(*names, evaluate=False)
        if node.func in (sp.Min, sp.Max):
            value, error = float(node.func(*values)), max(errors)
        else:
            value = float(step.evalf(subs=here))
            error = sum(abs(complex(sp.diff(step, n).evalf(subs=here))) * e for n, e in zip(names, errors, strict=True))
        return value, error + 1e-15 * abs(value)

    return value_and_error(law.expr)[1]


@each
@some
@given(data=st.data())
def test_result_scales_by_its_unit(law, data):
    # seconds × a, bytes × b, money × c, gas × d: powers of two, so that scaling itself rounds nothing
    point = data.draw(a_point(law))
    scale = {u: 2.0 ** data.draw(st.integers(-6, 6), label=u) for u in ("s", "byte", "money", "gas")}

    def factor(name: str) -> float:
        return math.prod(scale[u] ** k for u, k in powers(law.quantities[name].unit).items())

    scaled = {name: value * factor(name) for name, value in point.items()}
    assume(all(law.quantities[name].holds(value) for name, value in scaled.items()))
    expected = value_at(law, point) * factor("return")
    assert value_at(law, scaled) == pytest.approx(
        expected, rel=1e-12, abs=rounding(law, point) * factor("return") + 1e-300
    )


@each
@some
@given(data=st.data())
def test_scalar_array_and_algebra_agree(law, data):
    point = data.draw(a_point(law))
    number = value_at(law, point)
    assert type(number) is float
    many = law(**{name: np.full((2, 1), value) for name, value in point.items()})
    assert many.shape == (2, 1)
    # pow of an array may differ in the last bit from pow of a number, and a difference may then cancel all but that bit
    slack = rounding(law, point) + 1e-300
    assert many == pytest.approx(np.full((2, 1), number), rel=1e-14, abs=slack)
    # sixty digits, not fractions: an exact power of a million has millions of digits
    exact = law(**{name: sp.Float(value, 60) for name, value in point.items()})
    assert number == pytest.approx(float(exact.evalf(30)), rel=1e-12, abs=slack)


@each
@some
@given(data=st.data())
def test_result_is_in_its_range(law, data):
    value, quantity = value_at(law, data.draw(a_point(law))), law.quantities["return"]
    slack = 1e-9 * max(1.0, abs(value))
    assert quantity.low - slack <= value <= quantity.high + slack


@each
def test_a_call_costs_under_50_microseconds(law):
    args = [1.0 if q.holds(1.0) else q.low + 0.5 for q in (law.quantities[n] for n in law.symbols)]
    args = [a if law.quantities[n].holds(a) else 1.5 for a, n in zip(args, law.symbols, strict=True)]
    # not all the same: a difference of two must not vanish
    less = [a - 1e-6 * i for i, a in enumerate(args)]
    args = [b if law.quantities[n].holds(b) else a for a, b, n in zip(args, less, law.symbols, strict=True)]
    law(*args)  # compiled at the first call
    best = math.inf
    for _ in range(7):  # processor time: what others do at the same time does not count
        start = time.process_time()
        for _ in range(100):
            law(*args)
        best = min(best, (time.process_time() - start) / 100)
        if best < 50e-6:
            return
    pytest.fail(f"{law.__name__}: {best * 1e6:.0f} µs")


def outside(quantity: Quantity) -> list[float]:
    """Every way out of an interval, the nearest float first."""
    bad = [math.nan, math.inf, -math.inf]
    if math.isfinite(quantity.low):
        bad += [math.nextafter(quantity.low, -math.inf), quantity.low - 1]
        bad += [quantity.low] if "low" in quantity.open else []
    if math.isfinite(quantity.high):
        bad += [math.nextafter(quantity.high, math.inf), quantity.high + 1]
        bad += [quantity.high] if "high" in quantity.open else []
    return bad


@each
def test_every_parameter_is_checked(law):
    middle = {n: 0.5 * (q.low + q.high) for n, q in law.quantities.items() if math.isfinite(q.low + q.high)}
    for name in law.symbols:
        quantity = law.quantities[name]
        point = {n: middle.get(n, max(law.quantities[n].low, 0) + 1) for n in law.symbols}
        for bad in outside(quantity):
            for given_value in (bad, [point[name], bad]):
                with pytest.raises(DomainError) as error:
                    law(**(point | {name: given_value}))
                message = f"{law.__name__}: {name} must be a number in {quantity}, got {shown(given_value)}"
                assert str(error.value) == message


@each
def test_every_formula_pickles_and_declares_its_result(law):
    assert pickle.loads(pickle.dumps(law)) is law
    assert set(law.quantities) == {*law.symbols, "return"}
    for quantity in law.quantities.values():
        powers(quantity.unit)
    assert len({s.name for s in law.symbols.values()}) == len(law.symbols), "two parameters share a letter"
    assert law.expr.free_symbols <= set(law.symbols.values())


@each
def test_help_names_every_letter_unit_and_range(law):
    rows = dict(line.split(" : ") for line in inspect.getdoc(law).splitlines() if " : " in line)
    for parameter, symbol in law.symbols.items():
        quantity, letter = law.quantities[parameter], pretty_symbol(re.sub(r"\\mathrm|[{}]", "", symbol.name))
        unit = "" if quantity.unit == "1" else f"{quantity.unit}, "
        assert rows[parameter] == f"{letter}, {unit}a number in {quantity}"
    quantity = law.quantities["return"]
    assert f"a number in {quantity}" in inspect.getdoc(law).partition("Returns\n")[2]
