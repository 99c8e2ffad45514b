"""Measures and laws of scalability: the definitions and models of chapter 1.

Vocabulary: *throughput* X (completed requests per second), *response time* R (seconds from arrival to
completion), *nodes* n (processors, servers or load generators: the size of a configuration), *parallel* p (the
share of a one-processor run that can be spread), *contention* σ and *coherency* κ (the two costs of the
Universal Scalability Law), *demand* D (seconds of one station that a request needs).

Sources: Kleinrock (1979), ICC; Jogalekar and Woodside (2000), IEEE TPDS 11; Grama, Gupta and Kumar (1993), IEEE
Parallel & Distributed Technology 1; Denning and Buzen (1978), ACM Computing Surveys 10; Amdahl (1967), AFIPS;
Gustafson (1988), CACM 31; Karp and Flatt (1990), CACM 33; Gunther (2007), Guerrilla Capacity Planning.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from web3scale.errors import DomainError
from web3scale.formula import (
    Array,
    Count,
    CountAboveOne,
    Formula,
    PositiveRate,
    PositiveRatio,
    PositiveSeconds,
    Quantity,
    Rate,
    Ratio,
    Seconds,
    Share,
    ShareBelowOne,
    checked,
    checked_integer,
    checked_scalar,
    finite,
    formula,
)

Power = Annotated[Any, Quantity("1/s^2")]
CostRate = Annotated[Any, Quantity("money/s", open="low")]
Productivity = Annotated[Any, Quantity("1/money")]

_DEMAND = Quantity("s")
_NODES = Quantity("1", low=1.0)
_RATE = Quantity("1/s", open="low")


# Section 1.1: what scalability measures


@formula(throughput="X", response_time="R")
def power(throughput: Rate, response_time: PositiveSeconds) -> Power:
    """Power of a system at one operating point. Definition 1.1 of the book.

    Parameters
    ----------
    throughput : float or array
        Completed requests per second, X.
    response_time : float or array
        Mean seconds from arrival to completion, R.

    Returns
    -------
    float or array
        X/R, in requests per second squared.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Kleinrock (1979), ICC.

    Examples
    --------
    >>> power(800, 0.005)
    160000.0
    """
    return throughput / response_time


@formula(response_time="R", target_time="tau")
def response_value(response_time: Seconds, target_time: PositiveSeconds) -> Share:
    """Value of one response: 1 when instant, one half when it takes the target time.

    Parameters
    ----------
    response_time : float or array
        Mean response time R, seconds.
    target_time : float or array
        Target τ, seconds.

    Returns
    -------
    float or array
        1/(1 + R/τ), between 0 and 1.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Jogalekar and Woodside (2000), IEEE TPDS 11.

    Examples
    --------
    >>> response_value(0.5, 0.5)
    0.5
    """
    return 1 / (1 + response_time / target_time)


@formula(throughput="X", value="v", cost_rate="c")
def productivity(throughput: Rate, value: Share, cost_rate: CostRate) -> Productivity:
    """Value delivered per unit of cost; the ratio of two productivities is the scalability ψ.

    Parameters
    ----------
    throughput : float or array
        Completed requests per second, X.
    value : float or array
        Value of one response, a share (see `response_value`).
    cost_rate : float or array
        Cost of the configuration per second, in any currency.

    Returns
    -------
    float or array
        X·v/c, valued responses per unit of currency.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Jogalekar and Woodside (2000), IEEE TPDS 11.

    Examples
    --------
    >>> productivity(1000, 0.5, 2.0)
    250.0
    """
    return throughput * value / cost_rate


# Section 1.2: efficiency and bottlenecks


@formula(work="W", overhead="T_o")
def efficiency(work: PositiveSeconds, overhead: Seconds) -> Share:
    """Share of the resources' time that is useful. Definition 1.3 of the book.

    Parameters
    ----------
    work : float or array
        Useful work W, in seconds of one processor.
    overhead : float or array
        Everything else that the processors spend time on, T_o, in the same seconds.

    Returns
    -------
    float or array
        W/(W + T_o), which is speed-up divided by the number of processors.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Grama, Gupta and Kumar (1993), IEEE Parallel & Distributed Technology 1.

    Examples
    --------
    >>> efficiency(8, 2)
    0.8
    """
    return work / (work + overhead)


@formula(efficiency="eta", overhead="T_o")
def isoefficient_work(efficiency: ShareBelowOne, overhead: Seconds) -> Seconds:
    """Work that holds the efficiency at a given level against an overhead.

    Parameters
    ----------
    efficiency : float or array
        The level to hold, η, below 1.
    overhead : float or array
        Overhead T_o at the size in question, seconds.

    Returns
    -------
    float or array
        W = K·T_o with K = η/(1 − η), seconds of one processor.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Grama, Gupta and Kumar (1993), IEEE Parallel & Distributed Technology 1.

    Examples
    --------
    >>> isoefficient_work(0.5, 10)
    10.0
    """
    return efficiency / (1 - efficiency) * overhead


def elasticity(quantity: sp.Expr | Formula[...], resource: sp.Symbol) -> sp.Expr:
    """Per cent that a quantity gains for each per cent of a resource. Definition 1.4 of the book.

    Parameters
    ----------
    quantity : sympy.Expr or Formula
        A positive quantity such as a throughput.
    resource : sympy.Symbol
        The resource r.

    Returns
    -------
    sympy.Expr
        (r/Q)·∂Q/∂r, a pure number: it does not change with the units of Q and r.

    Raises
    ------
    DomainError
        If `quantity` is no SymPy expression or Formula, `resource` is no Symbol, or only has the name of one in it.

    Examples
    --------
    >>> x, r = sp.symbols("x r", positive=True)
    >>> elasticity(x * sp.sqrt(r), r)
    1/2
    """
    expression = quantity.expr if isinstance(quantity, Formula) else quantity
    if not isinstance(expression, sp.Expr):
        raise DomainError(f"elasticity: quantity must be a SymPy expression or a Formula, got {quantity!r}")
    if not isinstance(resource, sp.Symbol):
        raise DomainError(f"elasticity: resource must be a SymPy symbol, got {resource!r}")
    if any(s.name == resource.name and s != resource for s in expression.free_symbols):
        # one letter, two symbols: without positive=True it is another one, and its derivative would be zero
        raise DomainError(f"elasticity: resource must be the same symbol as in {expression}, got another {resource!r}")
    return sp.simplify(resource * sp.diff(expression, resource) / expression)


def _demands(where: str, demands: npt.ArrayLike) -> Array:
    values = np.atleast_1d(np.asarray(checked(where, "demands", demands, _DEMAND)))
    if values.ndim != 1 or not values.sum() > 0:
        raise DomainError(f"{where}: demands must be a list with a positive entry, got {demands!r}")
    return values


def throughput_bound(demands: npt.ArrayLike, customers: npt.ArrayLike, think_time: float = 0.0) -> Any:
    """Upper bound on the throughput of a closed system: min(1/D_max, N/(ΣD + Z)).

    Parameters
    ----------
    demands : array-like, shape (stations,)
        Service demand D_i = V_i·s_i of each station, seconds per request.
    customers : float or array
        Number N of customers that circulate.
    think_time : float
        Seconds Z that a customer spends outside between two requests.

    Returns
    -------
    float or array, shape of `customers`
        Requests per second.

    Raises
    ------
    DomainError
        If there is no positive demand, or an argument is outside its range.

    References
    ----------
    Denning and Buzen (1978), ACM Computing Surveys 10.

    Examples
    --------
    >>> throughput_bound([0.2, 0.1, 0.1], [1, 4], think_time=0.6)
    array([1., 4.])
    """
    seconds = _demands("throughput_bound", demands)
    thinking = checked_scalar("throughput_bound", "think_time", think_time, _DEMAND)
    number = checked("throughput_bound", "customers", customers, Quantity("1"))
    with np.errstate(all="ignore"):
        bound = finite("throughput_bound", np.minimum(1 / seconds.max(), number / (seconds.sum() + thinking)))
    return float(bound) if np.ndim(bound) == 0 else bound


def saturation_customers(demands: npt.ArrayLike, think_time: float = 0.0) -> float:
    """Number of customers N* = (ΣD + Z)/D_max at which the two bounds of `throughput_bound` meet.

    Parameters
    ----------
    demands : array-like, shape (stations,)
        Service demand of each station, seconds per request.
    think_time : float
        Seconds that a customer spends outside between two requests.

    Returns
    -------
    float
        N*, not rounded.

    Raises
    ------
    DomainError
        If there is no positive demand, or an argument is outside its range.

    References
    ----------
    Denning and Buzen (1978), ACM Computing Surveys 10.

    Examples
    --------
    >>> saturation_customers([0.2, 0.1, 0.1], think_time=0.6)
    5.0
    """
    seconds = _demands("saturation_customers", demands)
    thinking = checked_scalar("saturation_customers", "think_time", think_time, _DEMAND)
    with np.errstate(all="ignore"):
        return float(finite("saturation_customers", (seconds.sum() + thinking) / seconds.max()))


# Section 1.3: laws of speed-up


@formula(parallel="p", nodes="n")
def amdahl_speedup(parallel: Share, nodes: Count) -> Ratio:
    """Speed-up of a fixed task on more nodes. Model 1.1 of the book.

    Parameters
    ----------
    parallel : float or array
        Share p of the *one-node* run that can be spread.
    nodes : float or array
        Number n of nodes, at least 1.

    Returns
    -------
    float or array
        1/((1 − p) + p/n).

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Amdahl (1967), AFIPS.

    Examples
    --------
    >>> amdahl_speedup(0.95, 20)
    10.256410256410252
    """
    return 1 / ((1 - parallel) + parallel / nodes)


@formula(parallel="p")
def amdahl_limit(parallel: ShareBelowOne) -> Ratio:
    """Speed-up that no number of nodes exceeds.

    Parameters
    ----------
    parallel : float or array
        Share p of the one-node run that can be spread, below 1.

    Returns
    -------
    float or array
        1/(1 − p).

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Amdahl (1967), AFIPS.

    Examples
    --------
    >>> amdahl_limit(0.75)
    4.0
    """
    return 1 / (1 - parallel)


@formula(parallel="p")
def amdahl_half_nodes(parallel: ShareBelowOne) -> Ratio:
    """Nodes at which `amdahl_speedup` reaches half its limit.

    Parameters
    ----------
    parallel : float or array
        Share p of the one-node run that can be spread, below 1.

    Returns
    -------
    float or array
        p/(1 − p); below 1, where p < 1/2, one node is past half the limit already.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> amdahl_half_nodes(0.75)
    3.0
    """
    return parallel / (1 - parallel)


@formula(speedup="A", nodes="n")
def karp_flatt(speedup: PositiveRatio, nodes: CountAboveOne) -> Annotated[Any, Quantity("1", low=-np.inf)]:
    """Serial share that Amdahl's law reads out of a measured speed-up.

    Parameters
    ----------
    speedup : float or array
        Measured speed-up A.
    nodes : float or array
        Number n of nodes it was measured at, above 1.

    Returns
    -------
    float or array
        (1/A − 1/n)/(1 − 1/n); negative where the speed-up is more than n.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Karp and Flatt (1990), CACM 33.

    Examples
    --------
    >>> karp_flatt(4, 4)
    0.0
    """
    return (1 / speedup - 1 / nodes) / (1 - 1 / nodes)


@formula(scaled_parallel="p_G", nodes="n")
def gustafson_speedup(scaled_parallel: Share, nodes: Count) -> Ratio:
    """Speed-up of a task that grows with the number of nodes. Model 1.2 of the book.

    Parameters
    ----------
    scaled_parallel : float or array
        Share p_G of the *n-node* run that is spread: not Amdahl's p.
    nodes : float or array
        Number n of nodes, at least 1.

    Returns
    -------
    float or array
        (1 − p_G) + p_G·n.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Gustafson (1988), CACM 31.

    Examples
    --------
    >>> gustafson_speedup(0.5, 9)
    5.0
    """
    return (1 - scaled_parallel) + scaled_parallel * nodes


@formula(scaled_parallel="p_G", nodes="n")
def amdahl_parallel(scaled_parallel: Share, nodes: Count) -> Share:
    """Amdahl's parallel share of a run whose share by Gustafson's count is known.

    Parameters
    ----------
    scaled_parallel : float or array
        Share p_G of the n-node run.
    nodes : float or array
        Number n of nodes, at least 1.

    Returns
    -------
    float or array
        n·p_G/((1 − p_G) + n·p_G), the share p of the one-node run of the same task.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> amdahl_parallel(0.5, 9)
    0.9
    """
    return nodes * scaled_parallel / ((1 - scaled_parallel) + nodes * scaled_parallel)


@formula(nodes="n", gain="gamma", contention="sigma", coherency="kappa")
def usl_throughput(nodes: Count, gain: PositiveRate, contention: Share, coherency: Ratio) -> Rate:
    """Throughput by the Universal Scalability Law. Model 1.3 of the book.

    Parameters
    ----------
    nodes : float or array
        Size n of the configuration, at least 1: nodes, or load generators.
    gain : float or array
        Throughput γ of one node, requests per second.
    contention : float or array
        σ, the cost of waiting for what is shared, at most 1.
    coherency : float or array
        κ, the cost of keeping every pair of nodes in agreement.

    Returns
    -------
    float or array
        γn/(1 + σ(n − 1) + κn(n − 1)).

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Gunther (2007), Guerrilla Capacity Planning.

    Examples
    --------
    >>> usl_throughput(10, 1.0, 0.02, 0.02)
    3.3557046979865772
    """
    return gain * nodes / (1 + contention * (nodes - 1) + coherency * nodes * (nodes - 1))


@formula(contention="sigma", coherency="kappa")
def usl_peak(contention: Share, coherency: PositiveRatio) -> Ratio:
    """Size at which `usl_throughput` is greatest.

    Parameters
    ----------
    contention : float or array
        σ, at most 1.
    coherency : float or array
        κ, above 0: without it there is no peak.

    Returns
    -------
    float or array
        √((1 − σ)/κ); where that is below 1, one node is best.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Gunther (2007), Guerrilla Capacity Planning.

    Examples
    --------
    >>> usl_peak(0.0, 0.0001)
    100.0
    """
    return sp.sqrt((1 - contention) / coherency)


@cache
def _usl_gradient() -> Any:
    """Derivatives of `usl_throughput` in γ, σ, κ: the same expression, so fit and formula cannot differ."""
    symbols = usl_throughput.symbols
    parameters = [symbols[name] for name in ("gain", "contention", "coherency")]
    return sp.lambdify(tuple(symbols.values()), [sp.diff(usl_throughput.expr, p) for p in parameters], modules="numpy")


def _gradient(nodes: Array, parameters: Array) -> Array:
    return np.column_stack([np.broadcast_to(g, nodes.shape) for g in _usl_gradient()(nodes, *parameters)])


@dataclass(frozen=True, eq=False)
class UslFit:
    """What `fit_usl` found: three parameters, how sure it is of each, and what is left over.

    Attributes
    ----------
    gain, contention, coherency : float
        γ (requests per second), σ and κ.
    covariance : array, shape (3, 3)
        Covariance of (γ, σ, κ), zero in the row and column of a parameter at its bound.
    residual : float
        Residual standard error, requests per second.
    freedom : int
        Number of measurements less the number of parameters that are not at a bound.
    at_bound : tuple of str
        Parameters that ended on the edge of their range: the data show no sign of that cost.

    Examples
    --------
    >>> fit = fit_usl([1, 2, 4, 8], [10, 19, 36, 64])
    >>> fit.freedom, fit.at_bound, fit.interval().shape
    (1, (), (3, 2))
    """

    gain: float
    contention: float
    coherency: float
    covariance: Array
    residual: float
    freedom: int
    at_bound: tuple[str, ...]

    @property
    def standard_errors(self) -> Array:
        """Standard errors of γ, σ and κ, shape (3,); nan for a parameter at its bound, which has none."""
        bound = [name in self.at_bound for name in ("gain", "contention", "coherency")]
        return np.where(bound, np.nan, np.sqrt(np.diag(self.covariance)))

    @property
    def _parameters(self) -> Array:
        return np.array([self.gain, self.contention, self.coherency])

    def interval(self, level: float = 0.95) -> Array:
        """Confidence intervals of γ, σ and κ, shape (3, 2), by Student's t with `freedom` degrees.

        Raises
        ------
        DomainError
            If `level` is not between 0 and 1.
        """
        half = self._quantile("interval", level) * self.standard_errors
        return np.column_stack([self._parameters - half, self._parameters + half])

    def predict(self, nodes: npt.ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
        """Fitted throughput at `nodes`, and the half-width of the confidence band of its mean (delta method).

        The band knows the noise of the measurements. It does not know whether the law is true.

        Raises
        ------
        DomainError
            If `nodes` is not positive or `level` is not between 0 and 1.
        """
        number = np.atleast_1d(np.asarray(checked("UslFit.predict", "nodes", nodes, _NODES)))
        if number.ndim != 1:
            raise DomainError(f"UslFit.predict: nodes must be a number or a list, got shape {number.shape}")
        slope = _gradient(number, self._parameters)
        spread = np.sqrt(np.einsum("ij,jk,ik->i", slope, self.covariance, slope))
        return (
            np.asarray(usl_throughput(number, self.gain, self.contention, self.coherency)),
            self._quantile("predict", level) * spread,
        )

    def _quantile(self, where: str, level: float) -> float:
        from scipy.special import stdtrit  # only a fit needs it

        inside = checked_scalar(f"UslFit.{where}", "level", level, Quantity("1", high=1.0, open="low high"))
        return float(stdtrit(self.freedom, (1 + inside) / 2))


def fit_usl(nodes: npt.ArrayLike, throughput: npt.ArrayLike) -> UslFit:
    """Fit the Universal Scalability Law to measurements by least squares.

    Parameters
    ----------
    nodes : array-like, shape (measurements,)
        Size of the configuration at each measurement: nodes or load generators. At least four measurements, at
        three different sizes or more.
    throughput : array-like, shape (measurements,)
        Measured throughput, requests per second.

    Returns
    -------
    UslFit
        Parameters with 0 ≤ σ ≤ 1 and κ ≥ 0, and their standard errors. A parameter that ends on a bound is
        named in `at_bound`; the others are then judged as if it had been known.

    Raises
    ------
    DomainError
        If the data are empty, of different lengths, not positive, or too few.

    References
    ----------
    Gunther (2007), Guerrilla Capacity Planning.

    Examples
    --------
    >>> fit = fit_usl([1, 2, 4, 6, 8, 10], [1, 1.8868, 3.0769, 3.5294, 3.5398, 3.3557])
    >>> round(fit.gain, 3), round(fit.contention, 3), round(fit.coherency, 3)
    (1.0, 0.02, 0.02)
    """
    from scipy.optimize import least_squares  # 0.8 s to import: only a fit needs it

    n = np.asarray(checked("fit_usl", "nodes", nodes, _NODES))
    x = np.asarray(checked("fit_usl", "throughput", throughput, _RATE))
    if n.ndim != 1 or n.shape != x.shape:
        raise DomainError(f"fit_usl: nodes and throughput must be lists of one length, got {n.shape} and {x.shape}")
    checked_integer("fit_usl", "number of measurements", n.size, low=4)
    checked_integer("fit_usl", "number of different sizes", np.unique(n).size, low=3)
    scale = float(np.max(x))
    y = x / scale
    # n/X is a quadratic in n - 1: its straight least squares is where the true one starts
    start = np.polynomial.polynomial.polyfit(n - 1, n / y, 2)
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
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=10_000,
    )
    free = (solution.x > 1e-6) & (solution.x < high - 1e-6)
    z = np.where(free, solution.x, np.where(solution.x > 0.5, high, 0.0))
    freedom = int(n.size - np.sum(free))
    variance = float(np.sum(solution.fun**2)) / freedom
    slope = (_gradient(n, z * unit) * unit)[:, free]
    covariance = np.zeros((3, 3))
    covariance[np.ix_(free, free)] = variance * np.linalg.pinv(slope.T @ slope)
    units = unit * np.array([scale, 1.0, 1.0])
    with np.errstate(all="ignore"):
        parameters = finite("fit_usl", z * units)
        covariance = finite("fit_usl", covariance * np.outer(units, units))
    names = ("gain", "contention", "coherency")
    return UslFit(
        gain=float(parameters[0]),
        contention=float(parameters[1]),
        coherency=float(parameters[2]),
        covariance=covariance,
        residual=float(np.sqrt(variance)) * scale,
        freedom=freedom,
        at_bound=tuple(name for name, inside in zip(names, free, strict=True) if not inside),
    )


def load_specsdm91() -> tuple[Array, Array]:
    """Published SPEC SDM91 measurements of a 16-processor server: data set `specsdm91` of the R package usl.

    Returns
    -------
    load, throughput : arrays, shape (7,)
        Simulated users, and scripts completed per hour.

    References
    ----------
    Gunther (2007), Guerrilla Capacity Planning; Gunther and Möding, R package usl.

    Examples
    --------
    >>> load, throughput = load_specsdm91()
    >>> load[:3], throughput[:3]
    (array([ 1., 18., 36.]), array([  64.9,  995.9, 1652.4]))
    """
    text = files("web3scale.foundations").joinpath("specsdm91.csv").read_text(encoding="utf-8")
    load, throughput = np.loadtxt(text.splitlines(), delimiter=",", comments="#", skiprows=4, unpack=True)
    return load, throughput
