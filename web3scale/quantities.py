"""Numbers with units and ranges, and the one place where arguments are checked.

An annotation says once what an argument must be: `PositiveRate` is a number of requests per second above zero, or an
array of such; `One[PositiveRate]` is a single one; `Whole(1, 1000)` inside an annotation is an integer from 1 to 1000;
any other annotation is a type. `validated` holds a function's arguments against its annotations, and writes the
parameter section of its help from them.

Units are products of powers of ``s``, ``byte``, ``money`` and ``gas``; ``1`` is the unit of a pure number.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial, wraps
from math import inf
from numbers import Real as RealNumber
from types import NoneType, UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from web3scale.errors import DomainError, shown

# Floats or arrays of floats in a call, SymPy expressions in a derivation; SymPy carries no types.
Number = Any
Array = npt.NDArray[np.float64]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Quantity:
    """A unit and an interval; `open` names the ends that are excluded: "low", "high" or "low high". Infinite ones are.

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


@dataclass(frozen=True)
class Whole:
    """Integers from `low` to `high`, both included; no upper end if `high` is None.

    >>> str(Whole(1)), str(Whole(0, 99))
    ('an integer of at least 1', 'an integer in 0 ... 99')
    """

    low: int = 0
    high: int | None = None

    def holds(self, value: Any) -> bool:
        """Whether the value is one of them."""
        return isinstance(value, int) and self.low <= value and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        return f"an integer {f'of at least {self.low}' if self.high is None else f'in {self.low} ... {self.high}'}"


Positive = Annotated[int, Whole(1)]
ONE = "one"  # in an annotation: a single number, no array
One = Annotated[T, ONE]

Share = Annotated[Number, Quantity("1", high=1.0)]
ShareBelowOne = Annotated[Number, Quantity("1", high=1.0, open="high")]
PositiveShare = Annotated[Number, Quantity("1", high=1.0, open="low")]
InnerShare = Annotated[Number, Quantity("1", high=1.0, open="low high")]
Minority = Annotated[Number, Quantity("1", high=0.5, open="high")]
Count = Annotated[Number, Quantity("1", low=1.0)]
Degree = Annotated[Number, Quantity("1", low=2.0)]
CountAboveOne = Annotated[Number, Quantity("1", low=1.0, open="low")]
Ratio = Annotated[Number, Quantity("1")]
PositiveRatio = Annotated[Number, Quantity("1", open="low")]
Real = Annotated[Number, Quantity("1", low=-inf)]
Seconds = Annotated[Number, Quantity("s")]
PositiveSeconds = Annotated[Number, Quantity("s", open="low")]
Rate = Annotated[Number, Quantity("1/s")]
PositiveRate = Annotated[Number, Quantity("1/s", open="low")]
PositiveBytes = Annotated[Number, Quantity("byte", open="low")]
PositiveDataRate = Annotated[Number, Quantity("byte/s", open="low")]
PositiveGas = Annotated[Number, Quantity("gas", open="low")]
Money = Annotated[Number, Quantity("money")]
PositiveCostRate = Annotated[Number, Quantity("money/s", open="low")]
Productivity = Annotated[Number, Quantity("1/money")]
Power = Annotated[Number, Quantity("1/s^2")]
SecondsPerByte = Annotated[Number, Quantity("s/byte")]


def checked(where: str, name: str, value: Any, kind: Any) -> Any:
    """Return the argument `name` of `where`, a function, once its `value` is what the annotation `kind` asks for.

    A quantity gives a float or an array of floats, an integer an int. Integers are taken from NumPy too; 2.0 and True
    are none. A plain `int` is a natural number. Whatever else is handed on as it is.

    >>> checked("mm1_response", "service_rate", 2, PositiveRate)
    2.0
    >>> checked("erlang_c", "servers", 2.0, Annotated[int, Whole(1)])
    Traceback (most recent call last):
    web3scale.errors.DomainError: erlang_c: servers must be an integer of at least 1, got 2.0
    """
    if value is not None and get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not NoneType)
    rule, alone = _rule(kind)
    with suppress(Exception):  # what a stranger's object raises when it is looked at says that it is none
        if isinstance(rule, Quantity):
            if type(value) is float and rule.holds(value):  # the common case, kept fast; a subclass may say two things
                return value
            number = _numbers(value)
            if (isinstance(number, float) or (number.size and not alone)) and np.all(rule.holds(number)):
                return number
        elif isinstance(rule, Whole):
            if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and rule.holds(int(value)):
                return int(value)
        elif fits(value, kind):
            return value
    raise DomainError(f"{where}: {name} must be {described(kind)}, got {shown(value)}")


def finite(where: str, value: Any) -> Any:
    """Return a result, `value`, of `where`, once all of it is finite: no argument was too large or too small for it.

    >>> finite("throughput_bound", np.float64(3.5))
    3.5
    """
    if not np.all(np.isfinite(value)):
        raise DomainError(f"{where}: the result must be finite, got {shown(value)}")
    return float(value) if np.ndim(value) == 0 else value


@cache
def _rule(kind: Any) -> tuple[Quantity | Whole | None, bool]:
    """What an annotation says of numbers, and whether it wants a single one."""
    found = Whole() if kind is int else next((r for r in get_args(kind)[1:] if isinstance(r, (Quantity, Whole))), None)
    return found, ONE in get_args(kind)


def described(kind: Any) -> str:
    """Say in words what an annotation `kind` asks for.

    >>> described(PositiveRate), described(int), described(str), described(Iterable[str])
    ('a number in (0, inf)', 'an integer of at least 0', 'a str', 'an Iterable[str]')
    """
    if rule := _rule(kind)[0]:
        return f"a number in {rule}" if isinstance(rule, Quantity) else str(rule)
    if isinstance(kind, TypeVar):
        return "a message"
    name = kind.__name__ if isinstance(kind, type) and not get_args(kind) else re.sub(r"\w+\.", "", str(kind))
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def _is_real(value: Any) -> bool:
    return isinstance(value, RealNumber) and not isinstance(value, (bool, np.bool_))


def _numbers(value: Any) -> Any:
    """A float or a new array of floats; a TypeError where an entry is text, a truth value, complex or masked."""
    if _is_real(value):
        return float(value)
    # a list is looked at entry by entry: NumPy would turn the True in it into 1.0 without a word
    array = value if isinstance(value, np.ndarray) else np.asarray(value, dtype=object)
    real = all(map(_is_real, array.flat)) if array.dtype.kind == "O" else array.dtype.kind in "iuf"
    if not real or isinstance(value, np.ma.MaskedArray):
        raise TypeError
    return float(array) if array.ndim == 0 else np.array(array, dtype=float)


def fits(value: object, kind: Any) -> bool:
    """Whether a `value` is of the annotated `kind`, entry by entry.

    Plain values are exactly of their type, and an `int` is a natural number. A record has all its fields.

    >>> fits((1, b"x"), tuple[int, bytes]), fits((True, b"x"), tuple[int, bytes]), fits([1], Sequence[int])
    (True, False, True)
    """
    if type(kind) is type or (origin := get_origin(kind)) is None:
        return _is_a(value, kind)
    parts = get_args(kind)
    if origin is Annotated:
        return fits(value, parts[0]) and all(rule.holds(value) for rule in parts[1:] if isinstance(rule, Whole))
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is tuple:
        kinds = parts[:1] * len(value) if parts[-1] is ... and type(value) is tuple else parts
        return type(value) is tuple and len(value) == len(kinds) and all(map(fits, value, kinds))
    if not isinstance(value, origin) or (isinstance(value, (str, bytes)) and issubclass(origin, Iterable)):
        return False
    if issubclass(origin, Mapping):
        return all(fits(key, parts[0]) and fits(entry, parts[1]) for key, entry in value.items())
    if issubclass(origin, (Sequence, set, frozenset)):
        return all(fits(entry, parts[0]) for entry in value)
    if hasattr(origin, "__dataclass_fields__"):  # Signed[Transfer]
        return _is_a(value, origin) and fits(value.body, parts[0])
    return True  # a callable, or an iterable that looking at would use up


_PLAIN = (int, float, bool, str, bytes, tuple)


def _is_a(value: object, kind: Any) -> bool:
    if kind in _PLAIN:
        return type(value) is kind and (kind is not int or value >= 0)  # type: ignore[operator]
    if isinstance(kind, TypeVar):  # of a generic record: another record, whole
        return hasattr(type(value), "__dataclass_fields__") and _is_a(value, type(value))
    if kind is Any or not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return True  # Any, or whoever answers: its answers are looked at instead
    names = getattr(kind, "__dataclass_fields__", None)
    if names is not None:  # a record: no subclass that says otherwise, and nothing missing
        return type(value) is kind and all(hasattr(value, name) for name in names)
    return isinstance(value, kind)


hints = cache(partial(get_type_hints, include_extras=True))


def validated(thing: T) -> T:
    """Hold every argument of a function against its annotation before the body runs; write its help from them.

    If the `thing` is a class, do so with its `__init__` and all its public methods.

    >>> @validated
    ... def halves(rate: PositiveRate, times: int) -> Rate:
    ...     return rate / 2**times
    >>> halves(np.int64(8), 2)
    2.0
    >>> halves(-1, 2)
    Traceback (most recent call last):
    web3scale.errors.DomainError: halves: rate must be a number in (0, inf), got -1
    """
    if not inspect.isclass(thing):
        return _validated(thing)  # type: ignore[arg-type, return-value]
    for name, method in list(vars(thing).items()):
        own = name == "__init__" and not hasattr(thing, "__dataclass_fields__")  # a record's is not written by hand
        if inspect.isfunction(method) and (own or not name.startswith("_")):
            setattr(thing, name, _validated(method))
    return thing


def _validated(function: Callable[P, T]) -> Callable[P, T]:
    signature = inspect.signature(function)
    where = function.__qualname__.split("<locals>.")[-1].removesuffix(".__init__")

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        given = signature.bind(*args, **kwargs)
        kinds = hints(function)
        for name, value in given.arguments.items():
            if name != "self":
                given.arguments[name] = checked(where, name, value, kinds[name])
        return function(*given.args, **given.kwargs)

    call.__validated__ = True  # type: ignore[attr-defined]
    call.__signature__ = plain_signature(function)  # type: ignore[attr-defined]
    if function.__doc__ and "self" not in signature.parameters:
        kinds = hints(function)
        rows = {name: unit_and_range(kinds[name]) for name in signature.parameters}
        call.__doc__ = with_sections(function.__doc__, rows, kinds["return"])
    return call


def plain_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return what help() shows of a `function`: the names, without the Annotated noise.

    >>> plain_signature(finite)
    <Signature (where, value)>
    """
    parameters = inspect.signature(function).parameters.values()
    return inspect.Signature([p.replace(annotation=p.empty) for p in parameters])


def unit_and_range(kind: Any) -> str:
    """Say what an annotation `kind` asks for, unit included, as the help of a function shows it.

    >>> unit_and_range(PositiveSeconds), unit_and_range(Annotated[int, Whole(1)])
    ('s, a number in (0, inf)', 'an integer of at least 1')
    """
    rule = _rule(kind)[0]
    return f"{rule.unit}, {described(kind)}" if isinstance(rule, Quantity) and rule.unit != "1" else described(kind)


def with_sections(text: str, rows: Mapping[str, str], result: Any) -> str:
    """Return a docstring's `text` with a parameter section, of the given `rows`, and the `result`'s, in numpydoc.

    >>> with_sections("Meaning.", {"rate": "1/s"}, None).splitlines()
    ['Meaning.', '', 'Parameters', '----------', 'rate : 1/s']
    """
    meaning, prompt, example = inspect.cleandoc(text).partition(">>> ")
    written = ["Parameters", "----------", *(f"{name} : {row}" for name, row in rows.items()), ""] if rows else []
    if result not in (None, NoneType):
        written += ["Returns", "-------", unit_and_range(result), ""]
    written += ["Examples", "--------"] if prompt else []
    return "\n".join([meaning.rstrip(), "", *written]) + ("\n" if prompt else "") + prompt + example
