"""Call every public callable of the package with one argument after the other replaced by a bad value.

usage: python tests/fuzz.py [module ...]     (all of web3scale where none is named)

Valid calls are not typed here: they are those of the package's own doctests, overheard while these run, and for a
formula a point inside its ranges. What may come out: a result without NaN or infinity, DomainError, Rejected, or a
TypeError that the docstring names. What takes over 3 s of processor time or 500 MB is a fault too.
"""

import copy
import dataclasses
import doctest
import importlib
import inspect
import math
import os
import resource
import signal
import sys
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"

import numpy as np

import web3scale
from web3scale.errors import DomainError, Rejected, shown
from web3scale.formula import Formula
from web3scale.layers.ledger import Transfer
from web3scale.message import Signed, message

PACKAGE = Path(web3scale.__file__).parent
SECONDS, MEMORY = float(os.environ.get("FUZZ_SECONDS", "3")), 500_000_000
# pages hand what they like to Matplotlib; errors, quantities and formula are what the code itself is written with
LEFT_OUT = [f"web3scale.{name}" for name in ("figures", "widgets", "errors", "quantities", "formula")]
PLAIN = {bytes: b"a" * 32, int: 1, str: "main"}
BAD = [
    None,
    True,
    "x",
    b"x",
    object(),
    [],
    [[]],
    {},
    (),
    math.nan,
    math.inf,
    -1,
    0,
    0.5,
    5e-324,
    1e-308,
    1e308,
    10**9,
    2**63,
    10**5000,
    np.int64(3),
    np.float64("nan"),
    np.array([math.nan]),
    ["x"],
    [10**9],
    {b"x": -1},
    lambda *_: 1 / 0,
    object.__new__(Signed),
    Signed(Signed(Transfer("main", b"", (), 0, 1), ()), (b"",)),
]


def modules(names=()):
    """The named modules of the package, or all but those for pages."""
    paths = sorted(PACKAGE.rglob("*.py"))
    found = [".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts) for p in paths]
    found = [n for n in found if not n.endswith("__init__") and n not in LEFT_OUT]
    return [importlib.import_module(n) for n in names or found]


def callables(module):
    """Every public function, formula, class and method that a module defines, as (name, callable, code)."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if isinstance(thing, Formula):
            yield name, thing, None
        elif inspect.isclass(thing):
            if not issubclass(thing, Exception) and not getattr(thing, "_is_protocol", False):
                is_result = dataclasses.is_dataclass(thing) and not hasattr(thing, "__post_init__")  # computes nothing
                yield name, thing, None if is_result else getattr(inspect.unwrap(thing.__init__), "__code__", None)
                for method, function in vars(thing).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{name}.{method}", function, inspect.unwrap(function).__code__
        elif inspect.isfunction(thing) and thing is not message:  # a decorator of classes
            yield name, thing, inspect.unwrap(thing).__code__


def overheard(codes, run):
    """Arguments of the first call of each code while `run` runs, copied before the call can change them."""
    calls = {}

    def listen(frame, event, _):
        code = frame.f_code
        if event == "call" and code in codes and code not in calls:
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            given = {n: frame.f_locals[n] for n in names if n in frame.f_locals}
            own = given.pop("self", None) if codes[code] == "__init__" else None
            del own
            try:
                calls[code] = copy.deepcopy(given)
            except TypeError:  # a generator, say
                return

    sys.setprofile(listen)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


def parameters(code):
    return [n for n in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if n != "self"]


def simple(method, code, calls):
    """Arguments for a method that no doctest calls: any object of its class, and plain values."""
    own = method.__qualname__.split(".")[0]
    selves = [given["self"] for given in calls.values() if type(given.get("self")).__name__ == own]
    kinds = {n: inspect.unwrap(method).__annotations__.get(n) for n in parameters(code)}
    if not selves or not set(kinds.values()) <= set(PLAIN):
        return None
    return {"self": selves[0]} | {n: PLAIN[kind] for n, kind in kinds.items()}


def inside(quantity):
    low = quantity.low if math.isfinite(quantity.low) else 0.0
    return low + min(0.25, (quantity.high - low) / 4) if math.isfinite(quantity.high) else low + 2.0


def run_doctests(found):
    finder, runner = (
        doctest.DocTestFinder(),
        doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE),
    )
    for module in found:
        for test in finder.find(module):
            runner.run(test, out=lambda _: None)


def numbers(result, depth=0):
    """Every float in a result."""
    if isinstance(result, (float, np.floating)):
        yield float(result)
    elif isinstance(result, np.ndarray) and result.dtype.kind == "f":
        yield from result.ravel()[:1000].tolist()
    elif isinstance(result, (tuple, list)) and depth < 3:
        for entry in result[:100]:
            yield from numbers(entry, depth + 1)
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        yield from numbers([getattr(result, f.name) for f in dataclasses.fields(result)], depth + 1)


class TooSlow(BaseException):
    """Over `SECONDS` of processor time."""


def stop(*_):
    raise TooSlow


def try_one(function, arguments):
    """Return what is wrong with a call, or None."""
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        result = function(**arguments)
        if any(not math.isfinite(x) for x in numbers(result)):
            return f"gives {shown(result)}"
    except (DomainError, Rejected) as refusal:
        try:
            str(refusal)
        except Exception:
            return "its message cannot be printed"
    except TooSlow:
        return f"takes over {SECONDS:g} s"
    except TypeError as error:
        return None if "TypeError" in (inspect.getdoc(function) or "") else f"TypeError: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error!s:.80}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return None


def faults_of(name, function, valid):
    faults = []
    if wrong := try_one(function, copy.deepcopy(valid)):
        faults.append(f"{name}: the doctest's own call {wrong}")
    for parameter in valid:
        if parameter == "self":
            continue
        for bad in BAD:
            arguments = {**copy.deepcopy({n: v for n, v in valid.items() if n != parameter}), parameter: bad}
            if wrong := try_one(function, arguments):
                faults.append(f"{name}({parameter}={shown(bad):.40}): {wrong}")
    return faults


def main(names):
    found = modules(names)
    listed = [(f"{m.__name__}.{n}", thing, code) for m in found for n, thing, code in callables(m)]
    codes = {code: "__init__" if inspect.isclass(thing) else "" for _, thing, code in listed if code}
    calls = overheard(codes, lambda: run_doctests(modules(names)))
    signal.signal(signal.SIGVTALRM, stop)
    sys.set_int_max_str_digits(4300)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    faults, silent = [], []
    for name, thing, code in listed:
        if isinstance(thing, Formula):
            valid = {n: inside(thing.quantities[n]) for n in thing.symbols}
        elif code in calls:
            valid = calls[code]
        elif code is None or not parameters(code):
            continue
        elif (valid := simple(thing, code, calls)) is None:
            silent.append(name)
            continue
        faults += faults_of(name, thing, valid)
    print(f"{len(listed)} callables, {len(listed) - len(silent)} tried")
    print("\n".join(["no call overheard: " + ", ".join(silent)] * bool(silent) + faults))
    return 1 if faults or silent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
