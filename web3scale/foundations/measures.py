"""Efficiency, elasticity and bottlenecks. Section 1.2 of the book.

*work* W: useful seconds of one processor; *overhead* T_o: all other seconds that the processors spend; *demand* D:
seconds of one station that a request needs, over all its visits; *customers* N: they circulate in a closed system;
*think time* Z: seconds that a customer spends outside between two requests.

Sources: Grama, Gupta and Kumar (1993), IEEE Parallel & Distributed Technology 1; Denning and Buzen (1978), ACM
Computing Surveys 10.
"""

from typing import Any

import numpy as np
import sympy as sp

from web3scale import quantities as q
from web3scale.errors import DomainError, shown
from web3scale.formula import Formula, formula
from web3scale.quantities import finite, validated


@formula(work="W", overhead="T_o")
def efficiency(work: q.PositiveSeconds, overhead: q.Seconds) -> q.Share:
    """Share of the resources' time that is useful: speed-up over processors (Grama 1993). Definition 1.3 of the book.

    >>> efficiency(8, 2)
    0.8
    """
    return work / (work + overhead)


@formula(efficiency="eta", overhead="T_o")
def isoefficient_work(efficiency: q.ShareBelowOne, overhead: q.Seconds) -> q.Seconds:
    """Work that holds the efficiency at a given level against an overhead (Grama 1993).

    >>> isoefficient_work(0.5, 10)
    10.0
    """
    return efficiency / (1 - efficiency) * overhead


@validated
def elasticity(quantity: sp.Expr | Formula[...], resource: sp.Symbol) -> sp.Expr:
    """Per cent that a quantity gains for each per cent of a resource. Definition 1.4 of the book.

    It is (r/Q)·∂Q/∂r of a positive `quantity`, and does not change with the units of Q and r.

    >>> x, r = sp.symbols("x r", positive=True)
    >>> elasticity(x * sp.sqrt(r), r)
    1/2
    """
    expression = quantity.expr if isinstance(quantity, Formula) else quantity
    if any(s.name == resource.name and s != resource for s in expression.free_symbols):
        # one letter, two symbols: without positive=True it is another one, and its derivative would be zero
        raise DomainError(f"elasticity: resource must be the same symbol as in {expression}, got another {resource!r}")
    if expression.is_positive is False or expression.has(sp.nan):
        raise DomainError(f"elasticity: quantity must be positive, got {shown(expression)}")
    return sp.simplify(resource * sp.diff(expression, resource) / expression)


def _stations(where: str, demands: Any) -> q.Array:
    seconds = np.atleast_1d(demands)
    if seconds.ndim != 1 or not seconds.sum() > 0:
        raise DomainError(f"{where}: demands must be a list with a positive entry, got {shown(demands)}")
    return seconds


@validated
def throughput_bound(demands: q.Seconds, customers: q.Ratio, think_time: q.One[q.Seconds] = 0.0) -> q.Rate:
    """Upper bound on the throughput of a closed system: min(1/D_max, N/(ΣD + Z)) (Denning and Buzen 1978).

    `demands` has one entry for each station; the result has the shape of `customers`.

    >>> throughput_bound([0.2, 0.1, 0.1], [1, 4], think_time=0.6)
    array([1., 4.])
    """
    with np.errstate(all="ignore"):
        seconds = _stations("throughput_bound", demands)
        lone = finite("throughput_bound", seconds.sum() + think_time)
        return finite("throughput_bound", np.minimum(1 / seconds.max(), customers / lone))


@validated
def saturation_customers(demands: q.Seconds, think_time: q.One[q.Seconds] = 0.0) -> q.Ratio:
    """Number of customers N* = (ΣD + Z)/D_max, not rounded, at which the two bounds of `throughput_bound` meet.

    >>> saturation_customers([0.2, 0.1, 0.1], think_time=0.6)
    5.0
    """
    with np.errstate(all="ignore"):
        seconds = _stations("saturation_customers", demands)
        return finite("saturation_customers", (seconds.sum() + think_time) / seconds.max())
