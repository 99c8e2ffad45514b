"""Formulas: one body, read as algebra and run as arithmetic.

A formula is written once, as a Python function over SymPy expressions. The
decorator `formula` calls it once on symbols, keeps the resulting expression
for the book to print, and compiles that same expression to NumPy for every
later call. The number you get is the algebra you see.

Only elementary closed forms belong here. A sum of many binomials is lambdified
to nan long before it is large; such results are ordinary functions on SciPy.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, update_wrapper
from math import inf, isfinite
from numbers import Real
from typing import Annotated, Any, Generic, ParamSpec, get_args, get_type_hints

import numpy as np
import numpy.typing as npt
import sympy as sp
from sympy.printing.latex import LatexPrinter

from web3scale.errors import DomainError, shown

P = ParamSpec("P")
# Floats or arrays of floats in a call, SymPy expressions in a derivation; SymPy carries no types.
Number = Any
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quantity:
    """A unit, and the interval of values that make sense in it.

    Parameters
    ----------
    unit
        A product of powers of ``s``, ``byte``, ``money`` and ``gas``, such as ``byte/s`` or ``1/s^2``; ``1`` for a
        pure number.
    low, high
        The ends of the interval.
    open
        Which ends are excluded: ``""``, ``"low"``, ``"high"`` or ``"low high"``. An infinite end always is.

    Examples
    --------
    >>> share = Quantity("1", high=1.0)
    >>> str(share), bool(share.holds(0.3)), bool(share.holds(float("nan")))
    ('[0, 1]', True, False)
    """

    unit: str
    low: float = 0.0
    high: float = inf
    open: str = ""

    def holds(self, value: Number) -> Any:
        """Whether each value lies in the interval (NaN and inf never do)."""
        above = self.low < value if "low" in self.open or self.low == -inf else self.low <= value
        below = value < self.high if "high" in self.open or self.high == inf else value <= self.high
        return above & below

    def __str__(self) -> str:
        left = "(" if "low" in self.open or self.low == -inf else "["
        right = ")" if "high" in self.open or self.high == inf else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"


Share = Annotated[Number, Quantity("1", high=1.0)]
ShareBelowOne = Annotated[Number, Quantity("1", high=1.0, open="high")]
Count = Annotated[Number, Quantity("1", low=1.0)]
CountAboveOne = Annotated[Number, Quantity("1", low=1.0, open="low")]
Ratio = Annotated[Number, Quantity("1")]
PositiveRatio = Annotated[Number, Quantity("1", open="low")]
Seconds = Annotated[Number, Quantity("s")]
PositiveSeconds = Annotated[Number, Quantity("s", open="low")]
Rate = Annotated[Number, Quantity("1/s")]
PositiveRate = Annotated[Number, Quantity("1/s", open="low")]


def checked(where: str, name: str, value: Any, quantity: Quantity) -> Any:
    """Return `value` as a float, or as an array of floats, once it lies in `quantity`.

    Parameters
    ----------
    where, name
        The function and its argument, for the message.
    value
        A real number or an array-like of real numbers of any shape, not empty.
    quantity
        The interval in which each must lie.

    Raises
    ------
    DomainError
        If any entry is no real number, is NaN or infinite, or lies outside the interval.

    Examples
    --------
    >>> checked("mm1_response", "service_rate", 2, Quantity("1/s", open="low"))
    2.0
    """
    try:
        if isinstance(value, float) and quantity.holds(value):  # the common case, kept fast
            return float(value)
        number = _numbers(value)
        if number is not None and np.size(number) and np.all(quantity.holds(number)):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise DomainError(f"{where}: {name} must be a number in {quantity}, got {value!r}")


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def _numbers(value: Any) -> Any:
    """A float or a new array of floats; None where an entry is text, a truth value, complex or masked."""
    if _is_real(value):
        return float(value)
    if isinstance(value, (np.ma.MaskedArray, str, bytes)):
        return None
    # a list is looked at entry by entry: NumPy would turn the True in it into 1.0 without a word
    array = value if isinstance(value, np.ndarray) else np.asarray(value, dtype=object)
    if array.dtype.kind == "O":
        if not all(_is_real(entry) for entry in array.flat):
            return None
    elif array.dtype.kind not in "iuf":
        return None
    return float(array) if array.ndim == 0 else array.astype(float)


def checked_scalar(where: str, name: str, value: Any, quantity: Quantity) -> float:
    """Return `value` as a float, once it is one number in `quantity`.

    Raises
    ------
    DomainError
        If it is not, or is an array.

    Examples
    --------
    >>> checked_scalar("simulate_queue", "arrival_rate", 2, Quantity("1/s", open="low"))
    2.0
    """
    number = checked(where, name, value, quantity)
    if not isinstance(number, float):
        raise DomainError(f"{where}: {name} must be a number in {quantity}, got {value!r}")
    return number


def finite(where: str, value: Any) -> Any:
    """Return `value`, once every number in it is finite.

    Raises
    ------
    DomainError
        If one is not: the arguments were in range, but too large or too small to compute with.

    Examples
    --------
    >>> finite("throughput_bound", 3.5)
    3.5
    """
    if not np.all(np.isfinite(value)):
        raise DomainError(f"{where}: the result must be finite, got {value!r}")
    return value


def checked_integer(where: str, name: str, value: Any, low: int) -> int:
    """Return `value` as an int, once it is a whole number of at least `low`.

    Raises
    ------
    DomainError
        If it is not: 2.0 and True are refused too, for a count that is not an integer is a mistake elsewhere.

    Examples
    --------
    >>> checked_integer("erlang_c", "servers", 4, low=1)
    4
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise DomainError(f"{where}: {name} must be an integer of at least {low}, got {shown(value)}")
    return int(value)


class _Printer(LatexPrinter):  # type: ignore[misc]
    """SymPy's LaTeX with the constant first, and no sum that opens with a minus sign: 1 - p, but n - 1."""

    def _as_ordered_terms(self, expr: sp.Expr, order: str | None = None) -> list[sp.Expr]:
        terms = list(expr.args)
        first = next((term for term in terms if not term.could_extract_minus_sign()), terms[0])
        terms.remove(first)
        return [first, *terms]


class Formula(Generic[P]):
    """A closed form: call it for the number, read `expr` for the algebra.

    Attributes
    ----------
    expr : sympy.Expr
        The formula over `symbols`; derive from it, print it (`latex` is what a page shows).
    symbols : dict of str to sympy.Symbol
        The printed letter of each parameter.
    quantities : dict of str to Quantity
        Unit and range of each parameter, and of the result under ``"return"``.

    Examples
    --------
    >>> @formula(throughput="X", response_time="R")
    ... def in_system(throughput: Rate, response_time: Seconds) -> Ratio:
    ...     return throughput * response_time
    >>> in_system
    in_system(throughput, response_time) = R*X
    >>> in_system([100, 200], 0.5)
    array([ 50., 100.])
    """

    __name__: str
    __qualname__: str

    def __init__(self, body: Callable[P, Any], letters: dict[str, str]) -> None:
        update_wrapper(self, body)  # __doc__, __module__, __wrapped__: doctest and autodoc follow it
        self.body = body
        names = list(inspect.signature(body).parameters)
        if unknown := set(letters) - set(names):
            raise TypeError(f"{self.__name__}: no parameter named {sorted(unknown)}")
        self.symbols = {n: sp.Symbol(letters.get(n, n), positive=True) for n in names}
        # what help(), `?` and the API reference show: names, without the Annotated noise
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names]
        )

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by name, as a function is: workers can receive it

    def __repr__(self) -> str:
        return f"{self.__name__}({', '.join(self.symbols)}) = {self.expr}"

    @property
    def latex(self) -> str:
        """The right-hand side as LaTeX, for the page."""
        printed: str = _Printer().doprint(self.expr)
        return printed

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """The quantity of each parameter, and of the result under "return"."""
        hints = get_type_hints(self.body, include_extras=True)
        return {name: get_args(hint)[1] for name, hint in hints.items()}

    @cached_property
    def expr(self) -> sp.Expr:
        """The formula as algebra."""
        return self.body(**self.symbols)  # type: ignore[call-arg]

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        """The formula as arithmetic, `expr` lambdified."""
        function: Callable[..., Any] = sp.lambdify(tuple(self.symbols.values()), self.expr, modules="numpy")
        return function

    @cached_property
    def _checks(self) -> tuple[tuple[str, Quantity], ...]:
        return tuple((name, self.quantities[name]) for name in self.symbols)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Evaluate, with domain checks and NumPy broadcasting; SymPy arguments give an expression."""
        given: tuple[Any, ...] = args
        if kwargs or len(args) != len(self.symbols):
            given = self.__signature__.bind(*args, **kwargs).args
        if any(isinstance(v, sp.Basic) for v in given):
            return self._algebra(given)
        values = [checked(self.__name__, n, v, q) for (n, q), v in zip(self._checks, given, strict=True)]
        scalar = all(isinstance(v, float) for v in values)
        with np.errstate(all="ignore"):
            try:
                result = self.compiled(*values)
                if not scalar:
                    result = np.broadcast_arrays(result, *values)[0].copy()
            except (ZeroDivisionError, OverflowError):
                result = inf
            except ValueError:
                shapes = ", ".join(f"{n} {np.shape(v)}" for (n, _), v in zip(self._checks, values, strict=True))
                raise DomainError(f"{self.__name__}: shapes must broadcast, got {shapes}") from None
        if not (isfinite(result) if scalar else np.all(np.isfinite(result))):
            raise DomainError(f"{self.__name__}: no finite value at {dict(zip(self.symbols, given, strict=True))}")
        return float(result) if scalar else result

    def _algebra(self, given: tuple[Any, ...]) -> Any:
        """One formula inside another, or exact numbers: those that are numbers are checked all the same."""
        exact = []
        for (name, quantity), value in zip(self._checks, given, strict=True):
            if not isinstance(value, sp.Expr):  # a truth value of SymPy's, say
                checked_scalar(self.__name__, name, value, quantity)
            elif value.is_number:
                checked(self.__name__, name, float(value) if value.is_real else None, quantity)
            exact.append(sp.sympify(value))
        return self.body(*exact)  # type: ignore[call-arg]


def formula(**letters: str) -> Callable[[Callable[P, Any]], Formula[P]]:
    """Make a `Formula` of a function; `letters` are the symbols the book prints.

    Examples
    --------
    >>> @formula(parallel="p", nodes="n")
    ... def speedup(parallel: Share, nodes: Count) -> Ratio:
    ...     return 1 / (1 - parallel + parallel / nodes)
    >>> speedup(0.5, 4)
    1.6
    >>> speedup(1.2, 4)
    Traceback (most recent call last):
    web3scale.errors.DomainError: speedup: parallel must be a number in [0, 1], got 1.2
    """
    return lambda body: Formula(body, letters)
