"""The Universal Scalability Law fitted to measurements. Section 1.3 of the book.

Sources: Gunther (2007), Guerrilla Capacity Planning; Gunther and Möding, R package usl.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import sympy as sp

from web3scale.errors import DomainError, shown
from web3scale.foundations.laws import usl_throughput
from web3scale.quantities import Array, Count, InnerShare, One, PositiveRate, finite, validated

NAMES = ("gain", "contention", "coherency")


@cache
def _usl_gradient() -> Any:
    """Derivatives of `usl_throughput` in γ, σ, κ: the same expression, so fit and formula cannot differ."""
    symbols = usl_throughput.symbols
    slopes = [sp.diff(usl_throughput.expr, symbols[name]) for name in NAMES]
    return sp.lambdify(tuple(symbols.values()), slopes, modules="numpy")


def _gradient(nodes: Array, parameters: Array) -> Array:
    return np.column_stack([np.broadcast_to(g, nodes.shape) for g in _usl_gradient()(nodes, *parameters)])


@validated
@dataclass(frozen=True, eq=False)
class UslFit:
    """What `fit_usl` found: three parameters, how sure it is of each, and what is left over.

    >>> fit = fit_usl([1, 2, 4, 8], [10, 19, 36, 64])
    >>> fit.freedom, fit.at_bound, fit.interval().shape
    (1, (), (3, 2))
    >>> len(fit.predict([10, 20]))
    2
    """

    gain: float  # γ, requests per second
    contention: float  # σ
    coherency: float  # κ
    covariance: Array  # of (γ, σ, κ), shape (3, 3); zero in the row and column of a parameter at its bound
    residual: float  # residual standard error, requests per second
    freedom: int  # measurements less the parameters that are not at a bound
    at_bound: tuple[str, ...]  # parameters on the edge of their range: the data cannot tell them from it

    @property
    def standard_errors(self) -> Array:
        """Standard errors of γ, σ and κ, shape (3,); nan for a parameter at its bound, which has none."""
        bound = [name in self.at_bound for name in NAMES]
        return np.where(bound, np.nan, np.sqrt(np.diag(self.covariance)))

    @property
    def _parameters(self) -> Array:
        return np.array([self.gain, self.contention, self.coherency])

    def interval(self, level: One[InnerShare] = 0.95) -> Array:
        """Confidence intervals of γ, σ and κ, shape (3, 2), by Student's t with `freedom` degrees."""
        half = self._quantile(level) * self.standard_errors
        return np.column_stack([self._parameters - half, self._parameters + half])

    @np.errstate(all="ignore")
    def predict(self, nodes: Count, level: One[InnerShare] = 0.95) -> tuple[Array, Array]:
        """Fitted throughput at `nodes`, a number or a list, and the half-width of the confidence band of its mean.

        The band is that of the delta method: it knows the noise of the measurements, not whether the law is true. It
        takes a parameter in `at_bound` as known, so far beyond the data it can be narrow and wrong.
        """
        number = np.atleast_1d(np.asarray(nodes))
        if number.ndim != 1:
            raise DomainError(f"UslFit.predict: nodes must be a number or a list, got shape {number.shape}")
        slope = _gradient(number, self._parameters)
        spread = np.sqrt(np.einsum("ij,jk,ik->i", slope, self.covariance, slope))
        half = finite("UslFit.predict", self._quantile(level) * spread)
        return np.asarray(usl_throughput(number, *self._parameters)), half

    def _quantile(self, level: float) -> float:
        from scipy.special import stdtrit  # only a fit needs it

        return float(finite("UslFit", stdtrit(self.freedom, (1 + level) / 2)))


@validated
@np.errstate(all="ignore")
def fit_usl(nodes: Count, throughput: PositiveRate) -> UslFit:
    """Fit the Universal Scalability Law to measurements by least squares, with 0 ≤ σ ≤ 1 and κ ≥ 0.

    `nodes` and `throughput` are lists of one length: four measurements or more, at three different sizes or more. A
    parameter that ends on a bound is named in `at_bound`; the others are then judged as if it had been known.

    >>> fit = fit_usl([1, 2, 4, 6, 8, 10], [1, 1.8868, 3.0769, 3.5294, 3.5398, 3.3557])
    >>> round(fit.gain, 3), round(fit.contention, 3), round(fit.coherency, 3)
    (1.0, 0.02, 0.02)
    """
    from scipy.optimize import least_squares  # 0.8 s to import: only a fit needs it

    n, x = np.asarray(nodes), np.asarray(throughput)
    if n.ndim != 1 or n.shape != x.shape:
        raise DomainError(f"fit_usl: nodes and throughput must be lists of one length, got {n.shape} and {x.shape}")
    if not 4 <= n.size <= 10**5 or np.unique(n).size < 3:
        raise DomainError(f"fit_usl: nodes must be 4 ... 10^5, of at least 3 different sizes, got {shown(n.tolist())}")
    scale = float(np.max(x))
    y = x / scale
    finite("fit_usl", (n - 1) ** 2 * n / y)  # sizes and rates not too far apart for floats
    # n/X is a quadratic in n - 1: its straight least squares is where the true one starts
    start = np.polynomial.polynomial.polyfit(n - 1, n / y, 2, full=True)[0]  # full: without a warning
    gain = 1 / start[0] if start[0] > 0 else float(np.max(y / n))
    coherency = max(start[2] * gain, 0.0)
    contention = min(max(start[1] * gain - coherency, 0.0), 1.0)
    # one unit of each variable moves the fit about as far: without it κ, often 10⁻⁴, is lost beside γ
    unit = np.array([gain, 1 / n.max(), 1 / n.max() ** 2])
    low, high = np.zeros(3), np.array([np.inf, 1.0, np.inf]) / unit
    solution = least_squares(
        lambda z: usl_throughput.compiled(n, *(z * unit)) - y,
        np.clip(np.array([gain, contention, coherency]) / unit, low + 1e-9, high - 1e-9),
        jac=lambda z: _gradient(n, z * unit) * unit,
        bounds=(low, high),
        max_nfev=1000,
        **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-14),
    )
    free = (solution.x > 1e-6) & (solution.x < high - 1e-6)
    z = np.where(free, solution.x, np.where(solution.x > 0.5, high, 0.0))
    freedom = int(n.size - np.sum(free))
    variance = float(np.sum(solution.fun**2)) / freedom
    slope = (_gradient(n, z * unit) * unit)[:, free]
    covariance = np.zeros((3, 3))
    covariance[np.ix_(free, free)] = variance * np.linalg.pinv(slope.T @ slope)
    units = unit * np.array([scale, 1.0, 1.0])
    gain, contention, coherency = map(float, z * units)
    covariance = finite("fit_usl", covariance * np.outer(units, units))  # finite only where the three are
    at_bound = tuple(name for name, inside in zip(NAMES, free, strict=True) if not inside)
    return UslFit(gain, contention, coherency, covariance, float(np.sqrt(variance)) * scale, freedom, at_bound)


def load_specsdm91() -> tuple[Array, ...]:
    """Published SPEC SDM91 measurements of a 16-processor server: simulated users, and scripts completed per hour.

    Data set `specsdm91` of the R package usl.

    >>> load, throughput = load_specsdm91()
    >>> load[:3], throughput[:3]
    (array([ 1., 18., 36.]), array([  64.9,  995.9, 1652.4]))
    """
    text = files("web3scale.foundations").joinpath("specsdm91.csv").read_text(encoding="utf-8")
    return tuple(np.loadtxt(text.splitlines(), delimiter=",", comments="#", skiprows=4, unpack=True))
