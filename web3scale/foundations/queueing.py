"""Queues: the closed forms that chapter 1 leans on, and a vectorised simulation to hold them against.

Vocabulary: requests *arrive* at rate λ and are *served* at rate μ by each server; *utilisation* ρ is the share of
time that a server is busy; *variability* C² is the variance of the service time over its squared mean (0 for
constant, 1 for exponential service); *offered load* a = λ/μ is the mean number of busy servers, in erlangs.

Sources: Little (1961), Operations Research 9; Lindley (1952), Proc. Cambridge Phil. Soc. 48; Kiefer and Wolfowitz
(1955), Trans. AMS 78; Harchol-Balter (2013), Performance Modeling and Design of Computer Systems.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from web3scale.errors import DomainError
from web3scale.formula import (
    Array,
    PositiveRate,
    Quantity,
    Rate,
    Ratio,
    Seconds,
    ShareBelowOne,
    checked,
    checked_integer,
    checked_scalar,
    finite,
    formula,
)

_RATE = Quantity("1/s", open="low")
_POSITIVE_SECONDS = Quantity("s", open="low")
_LOAD = Quantity("1")
_SECONDS = Quantity("s")
_BELOW_ONE = Quantity("1", high=1.0, open="high")


@formula(throughput="X", response_time="R")
def in_system(throughput: Rate, response_time: Seconds) -> Ratio:
    """Mean number of requests in a system, by Little's law.

    Parameters
    ----------
    throughput : float or array
        Requests completed per second, X.
    response_time : float or array
        Mean seconds a request spends in the system, R.

    Returns
    -------
    float or array
        N = X·R.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Little (1961), Operations Research 9.

    Examples
    --------
    >>> in_system(1000, 0.25)
    250.0
    """
    return throughput * response_time


@formula(utilisation="rho", service_rate="mu")
def mm1_response(utilisation: ShareBelowOne, service_rate: PositiveRate) -> Seconds:
    """Mean response time of one server with random arrivals and exponential service.

    Parameters
    ----------
    utilisation : float or array
        ρ = λ/μ, below 1.
    service_rate : float or array
        μ, requests per second.

    Returns
    -------
    float or array
        1/(μ(1 − ρ)), seconds.

    Raises
    ------
    DomainError
        If an argument is outside its range: at ρ ≥ 1 the queue grows for ever.

    References
    ----------
    Harchol-Balter (2013), chapter 13.

    Examples
    --------
    >>> mm1_response(0.5, 1000)
    0.002
    """
    return 1 / (service_rate * (1 - utilisation))


@formula(utilisation="rho", service_rate="mu", variability="C^2")
def mg1_response(utilisation: ShareBelowOne, service_rate: PositiveRate, variability: Ratio) -> Seconds:
    """Mean response time of one server with random arrivals and any service, by Pollaczek and Khinchine.

    Parameters
    ----------
    utilisation : float or array
        ρ = λ/μ, below 1.
    service_rate : float or array
        μ, requests per second.
    variability : float or array
        C², variance of the service time over its squared mean.

    Returns
    -------
    float or array
        (1/μ)·(1 + ρ(1 + C²)/(2(1 − ρ))), seconds.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Harchol-Balter (2013), chapter 23.

    Examples
    --------
    >>> mg1_response(0.5, 1000, 1)
    0.002
    """
    return (1 + utilisation * (1 + variability) / (2 * (1 - utilisation))) / service_rate


@formula(utilisation="rho", service_rate="mu", variability="C^2")
def mg1_power(
    utilisation: ShareBelowOne, service_rate: PositiveRate, variability: Ratio
) -> Annotated[Any, Quantity("1/s^2")]:
    """Power X/R of one server with random arrivals and any service.

    Parameters
    ----------
    utilisation : float or array
        ρ = λ/μ, below 1.
    service_rate : float or array
        μ, requests per second.
    variability : float or array
        C², variance of the service time over its squared mean.

    Returns
    -------
    float or array
        ρμ/R, requests per second squared.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Kleinrock (1979), ICC.

    Examples
    --------
    >>> mg1_power(0.5, 1000, 1)
    250000.0
    """
    return utilisation * service_rate / mg1_response(utilisation, service_rate, variability)


@formula(variability="C^2")
def mg1_best_utilisation(variability: Ratio) -> ShareBelowOne:
    """Utilisation at which `mg1_power` is greatest.

    Parameters
    ----------
    variability : float or array
        C², variance of the service time over its squared mean.

    Returns
    -------
    float or array
        1/(1 + √((1 + C²)/2)).

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Kleinrock (1979), ICC.

    Examples
    --------
    >>> mg1_best_utilisation(1)
    0.5
    """
    return 1 / (1 + sp.sqrt((1 + variability) / 2))


def _erlang(where: str, offered_load: npt.ArrayLike, servers: int) -> tuple[Any, int]:
    load = checked(where, "offered_load", offered_load, _LOAD)
    return load, checked_integer(where, "servers", servers, low=1)


def erlang_b(offered_load: npt.ArrayLike, servers: int) -> Any:
    """Probability that an arrival finds all servers busy and is turned away.

    Parameters
    ----------
    offered_load : float or array
        a = λ/μ, in erlangs; may exceed the number of servers.
    servers : int
        Number n of servers.

    Returns
    -------
    float or array
        Blocking probability, by the recursion B(0) = 1, B(j) = aB(j−1)/(j + aB(j−1)).

    Raises
    ------
    DomainError
        If the load is negative or no number, or `servers` is not a positive integer.

    References
    ----------
    Harchol-Balter (2013), chapter 14.

    Examples
    --------
    >>> erlang_b(1, 2)
    0.2
    """
    load, number = _erlang("erlang_b", offered_load, servers)
    blocked = np.ones_like(load) if isinstance(load, np.ndarray) else 1.0
    for j in range(1, number + 1):
        blocked = load * blocked / (j + load * blocked)
    return blocked


def erlang_c(offered_load: npt.ArrayLike, servers: int) -> Any:
    """Probability that an arrival has to wait, where all n servers share one queue.

    Parameters
    ----------
    offered_load : float or array
        a = λ/μ, in erlangs, below `servers`.
    servers : int
        Number n of servers.

    Returns
    -------
    float or array
        Probability of waiting, from `erlang_b`: B/(1 − ρ(1 − B)) with ρ = a/n.

    Raises
    ------
    DomainError
        If the load is not in [0, servers), or `servers` is not a positive integer.

    References
    ----------
    Harchol-Balter (2013), chapter 14.

    Examples
    --------
    >>> round(erlang_c(10, 14), 3)
    0.174
    """
    load, number = _erlang("erlang_c", offered_load, servers)
    utilisation = checked("erlang_c", "offered_load / servers", load / number, _BELOW_ONE)
    blocked = erlang_b(load, number)
    return blocked / (1 - utilisation * (1 - blocked))


def mmn_response(utilisation: npt.ArrayLike, service_rate: float, servers: int) -> Any:
    """Mean response time of n servers that share one queue, with random arrivals and exponential service.

    Parameters
    ----------
    utilisation : float or array
        ρ = λ/(nμ), below 1.
    service_rate : float
        μ of one server, requests per second.
    servers : int
        Number n of servers.

    Returns
    -------
    float or array
        1/μ + P_w/(nμ(1 − ρ)), seconds, with P_w of `erlang_c`.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Harchol-Balter (2013), chapter 14.

    Examples
    --------
    >>> mmn_response(0.5, 1000, 1)
    0.002
    """
    number = checked_integer("mmn_response", "servers", servers, low=1)
    busy = checked("mmn_response", "utilisation", utilisation, _BELOW_ONE)
    rate = checked_scalar("mmn_response", "service_rate", service_rate, _RATE)
    with np.errstate(all="ignore"):
        return finite("mmn_response", 1 / rate + erlang_c(busy * number, number) / (number * rate * (1 - busy)))


def lindley(gaps_s: npt.ArrayLike, service_s: npt.ArrayLike) -> Array:
    """Waiting time of every request at one first-come-first-served server, without a loop over requests.

    The wait of request j is the largest of zero and the backlogs that earlier requests left; with cumulative
    sums that largest backlog is one running maximum.

    Parameters
    ----------
    gaps_s : array-like, shape (..., jobs)
        Seconds between the arrival before and this one; the first entry changes nothing.
    service_s : array-like, shape (..., jobs)
        Seconds of service that each request needs.

    Returns
    -------
    array, shape (..., jobs)
        Seconds from arrival to the start of service, exact to the rounding of the time since the first arrival.

    Raises
    ------
    DomainError
        If the data are empty, negative, not finite, or of different shapes.

    References
    ----------
    Lindley (1952), Proc. Cambridge Phil. Soc. 48.

    Examples
    --------
    >>> lindley([0, 1, 1], [3, 3, 3])
    array([0., 2., 4.])
    """
    gaps = np.asarray(checked("lindley", "gaps_s", gaps_s, _SECONDS))
    service = np.asarray(checked("lindley", "service_s", service_s, _SECONDS))
    if gaps.shape != service.shape or gaps.ndim == 0:
        raise DomainError(f"lindley: gaps_s and service_s must have one shape, got {gaps.shape} and {service.shape}")
    with np.errstate(all="ignore"):
        wait: Array = finite("lindley", _lindley(gaps, service))
    return wait


def _lindley(gaps: Array, service: Array) -> Array:
    """Lindley's recursion by running sums; overwrites `gaps`, for at ten million requests memory is what costs time."""
    idle = gaps
    idle[..., 0] = 0  # time starts at the first arrival, so that a late start costs no digits
    np.cumsum(idle, axis=-1, out=idle)
    work = np.cumsum(service, axis=-1)
    # idle[j]: arrival time of j less the work that arrived before it; the wait is how far below its maximum we are
    idle[..., 1:] -= work[..., :-1]
    wait: Array = np.maximum.accumulate(idle, axis=-1, out=work)
    wait -= idle
    return wait


def _shared_queue(gaps: Array, service: Array, servers: int) -> Array:
    """Kiefer and Wolfowitz: the sorted backlogs of the servers, stepped for all runs at once."""
    runs, jobs = gaps.shape
    backlog = np.zeros((runs, servers))
    wait = np.empty((jobs, runs))
    for j, (gap, need) in enumerate(zip(gaps.T, service.T, strict=True)):
        backlog -= gap[:, None]
        np.maximum(backlog, 0.0, out=backlog)
        wait[j] = backlog[:, 0]
        backlog[:, 0] += need
        backlog.sort(axis=1)
    return wait.T


@dataclass(frozen=True, eq=False)
class QueueRun:
    """What `simulate_queue` saw, warm-up removed.

    Attributes
    ----------
    wait_s, service_s : arrays, shape (runs, jobs)
        Seconds of waiting and of service of each request, in order of arrival.
    arrival_rate : float
        Rate λ at which the requests were sent, per second.

    Examples
    --------
    >>> run = simulate_queue(1.0, 2.0, jobs=3, runs=2, rng=np.random.default_rng(1))
    >>> run.response_s.shape, run.mean_response_s.shape
    ((2, 3), (2,))
    """

    wait_s: Array
    service_s: Array
    arrival_rate: float

    @property
    def response_s(self) -> Array:
        """Seconds from arrival to completion, shape (runs, jobs)."""
        return self.wait_s + self.service_s

    @property
    def mean_response_s(self) -> Array:
        """Mean response time in each run, shape (runs,). The runs are independent, fit for a standard error."""
        mean: Array = self.wait_s.mean(axis=1) + self.service_s.mean(axis=1)
        return mean


def simulate_queue(
    arrival_rate: float,
    service_rate: float,
    *,
    jobs: int,
    rng: np.random.Generator,
    servers: int = 1,
    variability: float = 1.0,
    runs: int = 1,
    warmup: int = 0,
) -> QueueRun:
    """Simulate n servers behind one queue with random (Poisson) arrivals.

    One server is a vectorised Lindley recursion (ten million jobs in about a second); several servers step the
    Kiefer–Wolfowitz vector, all runs at once.

    Parameters
    ----------
    arrival_rate, service_rate : float
        λ, and μ of one server, requests per second; λ < servers·μ.
    jobs, runs, warmup : int
        Requests kept in each run, independent runs, requests dropped at the start of each run (a queue starts
        empty, and what it shows first is not its steady state).
    rng : numpy.random.Generator
        Where the randomness comes from.
    servers : int
        Number n of servers.
    variability : float
        C² of the service time: 0 constant, 1 exponential, otherwise gamma-distributed.

    Returns
    -------
    QueueRun
        Waiting and service times, shape (runs, jobs).

    Raises
    ------
    DomainError
        If an argument is outside its range, or the load is λ ≥ servers·μ.

    References
    ----------
    Lindley (1952), Proc. Cambridge Phil. Soc. 48; Kiefer and Wolfowitz (1955), Trans. AMS 78.

    Examples
    --------
    >>> run = simulate_queue(500, 1000, jobs=200_000, rng=np.random.default_rng(1))
    >>> round(1000 * float(run.mean_response_s[0]), 1)  # theory: 2 ms
    2.0
    """
    where = "simulate_queue"
    arriving = checked_scalar(where, "arrival_rate", arrival_rate, _RATE)
    serving = checked_scalar(where, "service_rate", service_rate, _RATE)
    spread = checked_scalar(where, "variability", variability, _LOAD)
    number = checked_integer(where, "servers", servers, low=1)
    count = checked_integer(where, "jobs", jobs, low=1)
    skipped = checked_integer(where, "warmup", warmup, low=0)
    shape = (checked_integer(where, "runs", runs, low=1), count + skipped)
    generator = _generator(where, rng)
    if arriving >= number * serving:
        limit = f"below servers * service_rate = {number * serving:g}"
        raise DomainError(f"{where}: arrival_rate must be {limit}, got {arriving:g}")
    gaps = generator.standard_exponential(shape)
    gaps /= arriving
    service = _service_times(shape, serving, spread, generator)
    wait = _lindley(gaps, service) if number == 1 else _shared_queue(gaps, service, number)
    return QueueRun(wait[:, skipped:], service[:, skipped:], arriving)


def _generator(where: str, rng: Any) -> np.random.Generator:
    if not isinstance(rng, np.random.Generator):
        raise DomainError(f"{where}: rng must be a numpy.random.Generator, got {rng!r}")
    return rng


def _service_times(shape: tuple[int, int], rate: float, variability: float, rng: np.random.Generator) -> Array:
    if variability == 0:
        return np.full(shape, 1 / rate)
    service = rng.standard_exponential(shape) if variability == 1 else rng.gamma(1 / variability, variability, shape)
    service /= rate
    return service


def simulate_closed(
    demands: npt.ArrayLike, customers: int, think_time: float, *, completions: int, runs: int, rng: np.random.Generator
) -> Array:
    """Simulate customers who think, then visit each station in turn, over and over; all times exponential.

    Parameters
    ----------
    demands : array-like, shape (stations,)
        Mean seconds of service at each station, all positive.
    customers : int
        Number N of customers that circulate.
    think_time : float
        Mean seconds a customer spends outside between two requests.
    completions, runs : int
        Requests to count in each run, about, and independent runs. Before counting starts, five requests a customer
        and a tenth of `completions` are dropped as warm-up.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    array, shape (runs,)
        Throughput of each run, requests per second.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Harchol-Balter (2013), chapter 6.

    Examples
    --------
    >>> x = simulate_closed([0.2], 1, 0.8, completions=400, runs=50, rng=np.random.default_rng(1))
    >>> round(float(x.mean()), 1)  # one customer: 1/(0.2 + 0.8)
    1.0
    """
    where = "simulate_closed"
    seconds = np.atleast_1d(np.asarray(checked(where, "demands", demands, _POSITIVE_SECONDS)))
    thinking = checked_scalar(where, "think_time", think_time, _SECONDS)
    number = checked_integer(where, "customers", customers, low=1)
    done = checked_integer(where, "completions", completions, low=1)
    many = checked_integer(where, "runs", runs, low=1)
    generator = _generator(where, rng)
    if seconds.ndim != 1:
        raise DomainError(f"{where}: demands must be a list, got shape {seconds.shape}")
    # A customer is at home (column 0) or at a station; the next event of every run is drawn at once.
    stations = seconds.size if thinking == 0 else seconds.size + 1
    rates = 1 / seconds if thinking == 0 else np.concatenate([[1 / thinking], 1 / seconds])
    alone = np.zeros(stations, dtype=bool) if thinking == 0 else np.arange(stations) == 0
    here = np.zeros((many, stations), dtype=np.int64)
    here[:, 0] = number
    every = np.arange(many)
    dropped = (5 * number + done // 10) * stations
    steps = dropped + done * stations
    clock = np.zeros(many)
    finished = np.zeros(many)
    for step in range(steps):
        active = np.where(alone, here, here > 0) * rates
        total = active.sum(axis=1)
        pick = (np.cumsum(active, axis=1) > (generator.random(many) * total)[:, None]).argmax(axis=1)
        if step >= dropped:
            # the mean of the exponential holding time, not a draw of it: same answer, less noise
            clock += 1 / total
            finished += pick == stations - 1
        here[every, pick] -= 1
        here[every, (pick + 1) % stations] += 1
    throughput: Array = finished / clock
    return throughput
