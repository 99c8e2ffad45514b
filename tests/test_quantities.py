"""Numbers with units and ranges: what is taken for a number, and the one place where arguments are checked."""

import inspect
import math
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from web3scale import quantities
from web3scale.errors import DomainError, shown
from web3scale.quantities import (
    Count,
    Money,
    One,
    PositiveRate,
    Quantity,
    Rate,
    Seconds,
    Share,
    Whole,
    checked,
    finite,
    fits,
    validated,
)


def named(value):
    """The name of a case: the same in every process, so without addresses."""
    return re.sub(r" at 0x\w+", "", repr(value))


NOT_NUMBERS = [
    "0.5",
    b"0.5",
    True,
    np.True_,
    None,
    0.5j,
    np.complex128(0.5),
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    [],
    [[]],
    [[0.1], [0.2, 0.3]],
    [0.5, None],
    [0.5, "0.5"],
    [True, False],
    [True, 0.5],  # NumPy alone would read 1.0
    np.array([True]),
    np.array(["0.5"]),
    np.array(["0.5"], dtype=object),
    np.array([0.5j]),
    np.ma.masked_array([0.5, 0.5], mask=[False, True]),
    [0.5, math.nan],
    [0.5, 0.5j],
    {},
    {0.5},
    object(),
    sp.Symbol,
]


ANY_NUMBER = Annotated[Any, Quantity("1", low=-math.inf)]
Servers = Annotated[int, Whole(1)]


# Intervals


@pytest.mark.parametrize(
    ("quantity", "text", "held", "refused"),
    [
        (Quantity("1"), "[0, inf)", [0, 1e308], [-1e-300, math.inf, math.nan]),
        (Quantity("1", high=1.0), "[0, 1]", [0, 1], [1.0000001, -0.1]),
        (Quantity("1", high=1.0, open="low high"), "(0, 1)", [0.5], [0, 1]),
        (Quantity("1", high=1.0, open="high"), "[0, 1)", [0], [1]),
        (Quantity("s", open="low"), "(0, inf)", [1e-300], [0]),
        (Quantity("1", low=-math.inf), "(-inf, inf)", [-1e308, 0], [-math.inf, math.inf, math.nan]),
    ],
)
def test_quantity(quantity, text, held, refused):
    assert str(quantity) == text
    assert all(quantity.holds(v) for v in held)
    assert not any(quantity.holds(v) for v in refused)
    assert quantity.holds(np.array(held, dtype=float)).all()
    assert not quantity.holds(np.array(refused, dtype=float)).any()


@pytest.mark.parametrize(
    ("whole", "text", "held", "refused"),
    [
        (Whole(), "an integer of at least 0", [0, 10**5000], [-1, 0.0, True - 2, None]),
        (Whole(1, 3), "an integer in 1 ... 3", [1, 3], [0, 4, 2.0, "2"]),
    ],
)
def test_whole(whole, text, held, refused):
    assert str(whole) == text
    assert all(whole.holds(v) for v in held)
    assert not any(whole.holds(v) for v in refused)


def test_aliases_of_one_meaning_are_one():
    kinds = {name: kind for name, kind in vars(quantities).items() if typing.get_origin(kind) is Annotated}
    found = [typing.get_args(kind)[1] for kind in kinds.values()]
    assert len(found) > 20
    assert len(set(found)) == len(found), "two names for one unit and range"


# One argument


@pytest.mark.parametrize("bad", NOT_NUMBERS, ids=named)
def test_what_is_no_number_is_refused(bad):
    for kind in (ANY_NUMBER, One[ANY_NUMBER]):
        with pytest.raises(DomainError, match=r"^here: it must be a number in \(-inf, inf\), got "):
            checked("here", "it", bad, kind)


def test_numbers_become_floats_and_arrays_are_copied():
    for one in (2, 2.0, np.int64(2), np.float32(2), Fraction(2), np.array(2)):
        assert type(checked("here", "it", one, Seconds)) is float
    times = np.array([1.0, 2.0])
    taken = checked("here", "it", times, Seconds)
    assert not np.shares_memory(taken, times)
    assert checked("here", "it", (1, Fraction(1, 2)), Seconds).tolist() == [1.0, 0.5]


@pytest.mark.parametrize("bad", [[0.5], [0.5, 0.6], np.array([0.5]), 2, "0.5", None])
def test_a_scalar_is_one_number(bad):
    with pytest.raises(DomainError) as error:
        checked("here", "it", bad, One[Share])
    assert str(error.value) == f"here: it must be a number in [0, 1], got {bad!r}"
    assert checked("here", "it", np.array(0.5), One[Share]) == 0.5


@pytest.mark.parametrize("bad", [2.0, True, np.True_, "3", None, 0, -1, math.nan, np.float64(2), Fraction(2), [2]])
def test_counts_are_integers(bad):
    with pytest.raises(DomainError) as error:
        checked("here", "servers", bad, Servers)
    assert str(error.value) == f"here: servers must be an integer of at least 1, got {bad!r}"


def test_counts_of_numpy_are_integers_too():
    assert type(checked("here", "servers", np.uint8(3), Annotated[int, Whole(3)])) is int
    assert type(checked("here", "blocks", np.int64(0), int)) is int
    with pytest.raises(DomainError, match=r"^here: servers must be an integer in 1 ... 3, got (np.uint8\()?4"):
        checked("here", "servers", np.uint8(4), Annotated[int, Whole(1, 3)])


def test_a_plain_integer_is_a_natural_number():
    for bad in (-1, True, 1.0, np.int64(-1), "1", None):
        with pytest.raises(DomainError, match=r"^here: height must be an integer of at least 0, got "):
            checked("here", "height", bad, int)
    assert checked("here", "height", 10**30, int) == 10**30


@pytest.mark.parametrize("bad", [10**5000, [10**5000], type("Odd", (), {"__repr__": lambda self: 1 / 0})()], ids="abc")
@pytest.mark.parametrize("kind", [Share, One[Share], Annotated[int, Whole(0, 9)], str])
def test_what_cannot_be_printed_is_refused_all_the_same(bad, kind):
    with pytest.raises(DomainError, match=r"^here: it must be a.* too long to print$"):
        checked("here", "it", bad, kind)


@pytest.mark.parametrize("bad", [math.nan, math.inf, np.array([1.0, math.inf]), np.array([[math.nan], [1.0]])])
def test_results_must_be_finite_everywhere(bad):
    with pytest.raises(DomainError, match=r"^here: the result must be finite, got "):
        finite("here", bad)
    assert finite("here", 3.5) == 3.5


# Types


@dataclass(frozen=True)
class Point:
    """A record of two numbers."""

    x: int
    y: int


class Sub(int):
    """An integer that could say anything of itself."""


def halfway() -> Point:
    """Return what no constructor has seen."""
    return object.__new__(Point)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0, int),
        ("", str),
        (b"x", bytes),
        (True, bool),
        (0.5, float),
        (None, type(None)),
        (None, int | None),
        (3, int | None),
        ((), tuple[int, ...]),
        ((1, 2, 3), tuple[int, ...]),
        ((1, b"x"), tuple[int, bytes]),
        (((1, 2), (3, 4)), tuple[tuple[int, int], ...]),
        ([1, 2], Sequence[int]),
        ((1, 2), Sequence[int]),
        ({1: b"x"}, Mapping[int, bytes]),
        ({1, 2}, set[int]),
        (Point(1, 2), Point),
        (Point(1, 2), object),
        (3, Annotated[int, Whole(1, 3)]),
        ((1, 2), tuple[Annotated[int, Whole(1)], ...]),
        ("anything", Any),
        (len, Callable[..., int]),
        (iter([1]), Iterable[int]),
    ],
    ids=named,
)
def test_fits(value, kind):
    assert fits(value, kind) is True


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (-1, int),
        (True, int),
        (1.0, int),
        (np.int64(1), int),
        (Sub(1), int),
        (1, bool),
        (1, float),
        (b"x", str),
        (bytearray(b"x"), bytes),
        (0, type(None)),
        (-1, int | None),
        ("x", int | None),
        ([1], tuple[int, ...]),
        ((1, -1), tuple[int, ...]),
        ((1,), tuple[int, int]),
        ((1, 2, 3), tuple[int, int]),
        ((), tuple[int, int]),
        ((1, b"x"), tuple[bytes, int]),
        ("ab", Sequence[str]),
        (b"ab", Sequence[int]),
        ("ab", Iterable[str]),
        ([1, "2"], Sequence[int]),
        (3, Sequence[int]),
        ({1: "x"}, Mapping[int, bytes]),
        ({"1": b"x"}, Mapping[int, bytes]),
        ([(1, b"x")], Mapping[int, bytes]),
        ({1, -1}, set[int]),
        (halfway(), Point),
        ((1, 2), Point),
        (4, Annotated[int, Whole(1, 3)]),
        ((0, 2), tuple[Annotated[int, Whole(1)], ...]),
        (3, Callable[..., int]),
    ],
    ids=lambda x: "odd" if isinstance(x, Point) else named(x),
)
def test_does_not_fit(value, kind):
    assert fits(value, kind) is False


@given(st.recursive(st.integers() | st.booleans() | st.binary() | st.text(), lambda x: st.lists(x).map(tuple)))
def test_a_value_fits_its_own_type_only(value):
    plain = [kind for kind in (int, bool, bytes, str, tuple) if fits(value, kind)]
    assert plain == ([] if type(value) is int and value < 0 else [type(value)])


# Whole functions


@validated
def served(rate: PositiveRate, seconds: One[Seconds], times: int = 1, *, name: str = "x") -> Rate:
    """Requests served.

    >>> served(1, 2.0)
    2.0
    """
    return rate * seconds * times


class Clerk:
    """Has one method that is checked."""

    @validated
    def serve(self, rate: PositiveRate) -> Rate:
        """Return the rate."""
        return rate


def test_arguments_are_converted_once_and_defaults_kept():
    assert served(np.int64(3), 2) == 6.0
    assert type(served(np.int64(3), 2)) is float
    assert served([1, 2], seconds=2, times=np.int8(3), name="y").tolist() == [6.0, 12.0]
    assert Clerk().serve(2) == 2.0


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((0, 1), {}, r"served: rate must be a number in \(0, inf\), got 0"),
        ((1, [1]), {}, r"served: seconds must be a number in \[0, inf\), got \[1\]"),
        ((1, 1, 1.0), {}, "served: times must be an integer of at least 0, got 1.0"),
        ((1, 1), {"name": b"x"}, "served: name must be a str, got b'x'"),
    ],
)
def test_each_argument_is_held_against_its_annotation(args, kwargs, message):
    with pytest.raises(DomainError, match=f"^{message}$"):
        served(*args, **kwargs)


def test_a_method_is_named_with_its_class():
    with pytest.raises(DomainError, match=r"^Clerk.serve: rate must be a number in \(0, inf\), got -1$"):
        Clerk().serve(-1)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3, 4), {}), ((1, 2), {"nmae": "x"}), ((1,), {"rate": 1})]
)
def test_other_arguments_are_a_type_error_as_for_any_function(args, kwargs):
    with pytest.raises(TypeError):
        served(*args, **kwargs)


def test_the_body_never_runs_on_a_refused_argument():
    ran = []

    @validated
    def note(rate: Share) -> None:
        ran.append(rate)

    with pytest.raises(DomainError, match=r"^note: rate must be"):
        note(2)
    assert not ran
    note(1)
    assert ran == [1.0]


def test_help_is_written_from_the_annotations():
    text = inspect.getdoc(served)
    assert text.startswith("Requests served.\n\nParameters\n----------\nrate : 1/s, a number in (0, inf)\n")
    assert "seconds : s, a number in [0, inf)\ntimes : an integer of at least 0\nname : a str\n" in text
    assert "Returns\n-------\n1/s, a number in [0, inf)\n" in text
    assert text.endswith("Examples\n--------\n>>> served(1, 2.0)\n2.0")
    assert served.__name__ == "served"
    assert str(inspect.signature(served)).startswith("(rate")


@pytest.mark.parametrize("kind", [Count, Money, Servers, str])
def test_a_message_shows_the_value_as_errors_do(kind):
    with pytest.raises(DomainError) as error:
        checked("here", "it", b"12345", kind)
    assert str(error.value).endswith(f", got {shown(b'12345')}")


class TwoFaced(float):
    """A float that compares as one number and is another."""

    def __float__(self):
        return -1.0


class Flatterer(float):
    """A float that is in every range."""

    def __ge__(self, other):
        return True

    __le__ = __gt__ = __lt__ = __ge__


@pytest.mark.parametrize("liar", [TwoFaced(2.0), Flatterer(-1.0)], ids=["two-faced", "flatterer"])
def test_a_number_is_looked_at_once(liar):
    with pytest.raises(DomainError):
        checked("mm1_response", "service_rate", liar, PositiveRate)
