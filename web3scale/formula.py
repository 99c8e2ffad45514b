"""Formulas: one body, read as algebra and run as arithmetic.

A formula is written once, as a Python function over SymPy expressions. The decorator `formula` calls it once on
symbols, keeps the resulting expression for the book to print, and compiles that same expression to NumPy for every
later call. The number you get is the algebra you see; units and ranges are those of the annotations.

Only elementary closed forms belong here. A sum of many binomials is lambdified to nan long before it is large; such
results are ordinary functions on SciPy.
"""

from collections.abc import Callable
from functools import cached_property, update_wrapper
from math import inf, isfinite, prod
from typing import Annotated, Any, Generic, get_args, get_type_hints

import numpy as np
import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.pretty.pretty_symbology import pretty_symbol

from web3scale.errors import DomainError, shown
from web3scale.quantities import ONE, P, Quantity, checked, plain_signature, unit_and_range, with_sections

MOST_NUMBERS = 10**7  # of a result: two small arrays may broadcast to one that fills the memory


class _Printer(LatexPrinter):  # type: ignore[misc]
    """SymPy's LaTeX with the constant first, and no sum that opens with a minus sign: 1 - p, but n - 1."""

    def _as_ordered_terms(self, expr: sp.Expr, order: str | None = None) -> list[sp.Expr]:
        terms = list(expr.args)
        first = next((term for term in terms if not term.could_extract_minus_sign()), terms[0])
        terms.remove(first)
        return [first, *terms]


class Formula(Generic[P]):
    """A closed form: call it for the number, read `expr` for the algebra over `symbols`, one for each parameter.

    `quantities` are the unit and range of each parameter, and of the result under "return".

    >>> from web3scale.quantities import Rate, Ratio, Seconds
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
        update_wrapper(self, body)  # __module__, __wrapped__: doctest and autodoc follow it
        self.body = body
        self.__signature__ = plain_signature(body)
        names = list(self.__signature__.parameters)
        if unknown := set(letters) - set(names):
            raise TypeError(f"{self.__name__}: no parameter named {sorted(unknown)}")
        self.symbols = {n: sp.Symbol(letters.get(n, n), positive=True) for n in names}
        kinds = get_type_hints(body, include_extras=True)
        self.quantities: dict[str, Quantity] = {name: get_args(kind)[1] for name, kind in kinds.items()}
        self._checks = [(name, kinds[name], self.quantities[name]) for name in names]
        rows = {n: f"{_letter(s)}, {unit_and_range(kinds[n])}" for n, s in self.symbols.items()}
        self.__doc__ = with_sections(body.__doc__ or "", rows, kinds["return"])

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by name, as a function is: workers can receive it

    def __repr__(self) -> str:
        return f"{self.__name__}({', '.join(self.symbols)}) = {self.expr}"

    @property
    def latex(self) -> str:
        """The right-hand side as LaTeX, for the page."""
        return str(_Printer().doprint(self.expr))

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    @cached_property
    def expr(self) -> sp.Expr:
        """The formula as algebra."""
        return self.body(**self.symbols)  # type: ignore[call-arg]

    @cached_property
    def compiled(self) -> Any:
        """The formula as arithmetic, `expr` lambdified."""
        return sp.lambdify(tuple(self.symbols.values()), self.expr, modules="numpy")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Evaluate, with domain checks and NumPy broadcasting; SymPy arguments give an expression."""
        named = kwargs or len(args) != len(self.symbols)
        given: tuple[Any, ...] = self.__signature__.bind(*args, **kwargs).args if named else args
        if any(isinstance(v, sp.Basic) for v in given):
            return self._algebra(given)
        values = [
            float(v) if type(v) in (float, int) and abs(v) < 2**53 and q.holds(v) else checked(self.__name__, n, v, k)
            for (n, k, q), v in zip(self._checks, given, strict=True)
        ]
        scalar = all(isinstance(v, float) for v in values)
        with np.errstate(all="ignore"):
            try:
                if not scalar and prod(np.broadcast_shapes(*map(np.shape, values))) > MOST_NUMBERS:
                    raise ValueError
                result = self.compiled(*values)
                if not scalar:
                    result = np.broadcast_arrays(result, *values)[0].copy()
            except (ZeroDivisionError, OverflowError):
                result = inf
            except ValueError:
                shapes = ", ".join(f"{n} {np.shape(v)}" for (n, *_), v in zip(self._checks, values, strict=True))
                rule = f"shapes must broadcast, to {MOST_NUMBERS} numbers at most"
                raise DomainError(f"{self.__name__}: {rule}, got {shapes}") from None
        if not (isfinite(result) if scalar else np.all(np.isfinite(result))):
            at = ", ".join(f"{n}={shown(v)}" for n, v in zip(self.symbols, given, strict=True))
            raise DomainError(f"{self.__name__}: no finite value at {at}")
        return float(result) if scalar else result

    def _algebra(self, given: tuple[Any, ...]) -> Any:
        """One formula inside another, or exact numbers: those that are numbers are checked all the same."""
        exact = []
        for (name, kind, _), value in zip(self._checks, given, strict=True):
            if not isinstance(value, sp.Expr):  # a truth value of SymPy's, say
                checked(self.__name__, name, value, Annotated[kind, ONE])
            elif value.is_number:
                checked(self.__name__, name, float(value) if value.is_real else None, kind)
            exact.append(sp.sympify(value.item() if isinstance(value, np.ndarray) else value))
        return self.body(*exact)  # type: ignore[call-arg]


def _letter(symbol: sp.Symbol) -> str:
    """The letter of a symbol as plain text shows it: λ, c_open."""
    return str(pretty_symbol(symbol.name.replace(r"\mathrm", "").replace("{", "").replace("}", "")))


def formula(**letters: str) -> Callable[[Callable[P, Any]], Formula[P]]:
    """Make a `Formula` of a function; `letters` are the symbols the book prints.

    >>> from web3scale.quantities import Count, Ratio, Share
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
