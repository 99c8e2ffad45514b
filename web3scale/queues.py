"""Queues: the closed forms that the book leans on, and a vectorised simulation to hold them against. Primer A.

Vocabulary: requests *arrive* at rate λ and are *served* at rate μ by each server; *utilisation* ρ is the share of
time that a server is busy, below 1, for else the queue grows for ever; *variability* C² is the variance of the service
time over its squared mean (0 for constant, 1 for exponential service); *offered load* a = λ/μ is the mean number of
busy servers, in erlangs.

Sources: Little (1961), Operations Research 9; Lindley (1952), Proc. Cambridge Phil. Soc. 48; Kiefer and Wolfowitz
(1955), Trans. AMS 78; Kleinrock (1979), ICC; Harchol-Balter (2013), Performance Modeling and Design of Computer
Systems.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import sympy as sp
from numpy.random import Generator

from web3scale import quantities as q
from web3scale.errors import DomainError
from web3scale.formula import formula
from web3scale.quantities import checked, finite, validated

# What a simulation may cost, so that none takes more than a few seconds or half a gigabyte.
MOST_JOBS = 10**7
MOST_STEPS = 4 * 10**7
MOST_SERVERS = 10**5
Servers = Annotated[int, q.Whole(1, MOST_SERVERS)]
Jobs = Annotated[int, q.Whole(1, MOST_JOBS)]
Time = q.One[q.Seconds]


@formula(throughput="X", response_time="R")
def in_system(throughput: q.Rate, response_time: q.Seconds) -> q.Ratio:
    """Mean number of requests in a system, N = XR: Little's law.

    >>> in_system(1000, 0.25)
    250.0
    """
    return throughput * response_time


@formula(utilisation="rho", service_rate="mu")
def mm1_response(utilisation: q.ShareBelowOne, service_rate: q.PositiveRate) -> q.Seconds:
    """Mean response time of one server with random arrivals and exponential service (Harchol-Balter, chapter 13).

    >>> mm1_response(0.5, 1000)
    0.002
    """
    return 1 / (service_rate * (1 - utilisation))


@formula(utilisation="rho", service_rate="mu", variability="C^2")
def mg1_response(utilisation: q.ShareBelowOne, service_rate: q.PositiveRate, variability: q.Ratio) -> q.Seconds:
    """Mean response time of one server with random arrivals and any service: Pollaczek and Khinchine (chapter 23).

    >>> mg1_response(0.5, 1000, 1)
    0.002
    """
    return (1 + utilisation * (1 + variability) / (2 * (1 - utilisation))) / service_rate


@formula(utilisation="rho", service_rate="mu", variability="C^2")
def mg1_power(utilisation: q.ShareBelowOne, service_rate: q.PositiveRate, variability: q.Ratio) -> q.Power:
    """Power X/R of one server with random arrivals and any service (Kleinrock 1979).

    >>> mg1_power(0.5, 1000, 1)
    250000.0
    """
    return utilisation * service_rate / mg1_response(utilisation, service_rate, variability)


@formula(variability="C^2")
def mg1_best_utilisation(variability: q.Ratio) -> q.ShareBelowOne:
    """Utilisation at which `mg1_power` is greatest (Kleinrock 1979).

    >>> mg1_best_utilisation(1)
    0.5
    """
    return 1 / (1 + sp.sqrt((1 + variability) / 2))


@validated
def erlang_b(offered_load: q.Ratio, servers: Servers) -> q.Share:
    """Probability that an arrival finds all servers busy and is turned away (chapter 14).

    By the recursion B(0) = 1, B(j) = aB(j−1)/(j + aB(j−1)). The load a may exceed the number of servers.

    >>> erlang_b(1, 2)
    0.2
    """
    checked("erlang_b", "loads times servers", np.size(offered_load) * servers, Annotated[int, q.Whole(0, MOST_JOBS)])
    blocked: q.Number = 1.0
    for j in range(1, servers + 1):
        blocked = offered_load * blocked / (j + offered_load * blocked)
    return blocked


@validated
def erlang_c(offered_load: q.Ratio, servers: Servers) -> q.Share:
    """Probability that an arrival has to wait, where all servers share one queue (chapter 14).

    From `erlang_b`: B/(1 − ρ(1 − B)) with ρ = a/n, below 1.

    >>> round(erlang_c(10, 14), 3)
    0.174
    """
    utilisation = checked("erlang_c", "offered_load / servers", offered_load / servers, q.ShareBelowOne)
    blocked = erlang_b(offered_load, servers)
    return blocked / (1 - utilisation * (1 - blocked))


@validated
def mmn_response(utilisation: q.ShareBelowOne, service_rate: q.One[q.PositiveRate], servers: Servers) -> q.Seconds:
    """Mean response time of servers that share one queue, with random arrivals and exponential service (chapter 14).

    It is 1/μ + P_w/(nμ(1 − ρ)), with P_w of `erlang_c`.

    >>> mmn_response(0.5, 1000, 1)
    0.002
    """
    waiting = erlang_c(utilisation * servers, servers)
    with np.errstate(all="ignore"):
        queueing = np.divide(waiting, servers * service_rate * (1 - utilisation))
        return finite("mmn_response", 1 / service_rate + queueing)


def _lindley(gaps: q.Array, service: q.Array) -> q.Array:
    """Waiting time of every request at one first-come-first-served server, without a loop over requests.

    `gaps` are the seconds between the arrival before and this one (the first changes nothing), `service` the seconds of
    service that each request needs, both of shape (..., jobs), as the result. The wait of request j is the largest of
    zero and the backlogs that earlier requests left; with cumulative sums that largest backlog is one running maximum.
    It is exact to the rounding of the time since the first arrival (Lindley 1952). It overwrites `gaps`, for at ten
    million requests memory is what costs time.
    """
    gaps[..., 0] = 0  # time starts at the first arrival, so that a late start costs no digits
    idle, work = np.cumsum(gaps, axis=-1, out=gaps), np.cumsum(service, axis=-1)
    # idle[j]: arrival time of j less the work that arrived before it; the wait is how far below its maximum we are
    idle[..., 1:] -= work[..., :-1]
    wait: q.Array = np.maximum.accumulate(idle, axis=-1, out=work)
    wait -= idle
    return wait


def _shared_queue(gaps: q.Array, service: q.Array, servers: int) -> q.Array:
    """Kiefer and Wolfowitz: the sorted backlogs of the servers, stepped for all runs at once."""
    runs, jobs = gaps.shape
    backlog = np.zeros((runs, servers))
    wait = np.empty((jobs, runs))
    for j, (gap, need) in enumerate(zip(gaps.T, service.T, strict=True)):
        np.maximum(backlog - gap[:, None], 0.0, out=backlog)
        wait[j] = backlog[:, 0]
        backlog[:, 0] += need
        backlog.sort(axis=1)
    return wait.T


@dataclass(frozen=True, eq=False)
class QueueRun:
    """What `simulate_queue` saw, warm-up removed: a row for each run, its requests in order of arrival.

    >>> run = simulate_queue(1.0, 2.0, jobs=3, runs=2, rng=np.random.default_rng(1))
    >>> run.response_s.shape, run.mean_response_s.shape
    ((2, 3), (2,))
    """

    wait_s: q.Array  # seconds of waiting, shape (runs, jobs)
    service_s: q.Array  # seconds of service, shape (runs, jobs)
    arrival_rate: float  # rate λ at which the requests were sent, per second

    @property
    def response_s(self) -> q.Array:
        """Seconds from arrival to completion, shape (runs, jobs)."""
        return self.wait_s + self.service_s

    @property
    def mean_response_s(self) -> q.Array:
        """Mean response time in each run, shape (runs,). The runs are independent, fit for a standard error."""
        return np.asarray(self.wait_s.mean(axis=1) + self.service_s.mean(axis=1))


@validated
def simulate_queue(
    arrival_rate: q.One[q.PositiveRate],
    service_rate: q.One[q.PositiveRate],
    *,
    jobs: Jobs,
    rng: Generator,
    servers: Servers = 1,
    variability: q.One[q.Ratio] = 1.0,
    runs: Jobs = 1,
    warmup: Annotated[int, q.Whole(0, MOST_JOBS)] = 0,
) -> QueueRun:
    """Simulate servers behind one queue with random (Poisson) arrivals, fewer than they can serve: λ < nμ.

    Each of the independent `runs` keeps `jobs` requests and drops the first `warmup`: a queue starts empty, and what
    it shows first is not its steady state. Service is constant, exponential or, at other values of `variability`,
    gamma-distributed. One server is a vectorised Lindley recursion (ten million jobs in about a second); several step
    the Kiefer–Wolfowitz vector, all runs at once.

    >>> run = simulate_queue(500, 1000, jobs=200_000, rng=np.random.default_rng(1))
    >>> round(1000 * float(run.mean_response_s[0]), 1)  # theory: 2 ms
    2.0
    """
    where, shape = "simulate_queue", (runs, jobs + warmup)
    checked(where, "runs times jobs and warmup", runs * shape[1], Annotated[int, q.Whole(0, MOST_JOBS)])
    if servers > 1:  # a step for each job, as dear as 200 servers of one run
        checked(
            where,
            "servers, jobs and runs together",
            shape[1] * (runs * servers + 200),
            Annotated[int, q.Whole(0, MOST_STEPS)],
        )
    if arrival_rate >= servers * service_rate:
        raise DomainError(f"{where}: arrival_rate must be below servers * service_rate, got {arrival_rate:g}")
    with np.errstate(all="ignore"):
        gaps = rng.standard_exponential(shape)
        gaps /= arrival_rate
        if variability in (0, 1):
            service = rng.standard_exponential(shape) if variability else np.ones(shape)
        else:
            service = rng.gamma(1 / variability, variability, shape)
        service /= service_rate
        wait = _lindley(gaps, service) if servers == 1 else _shared_queue(gaps, service, servers)
        run = QueueRun(wait[:, warmup:], service[:, warmup:], arrival_rate)
        finite(where, run.mean_response_s)
    return run


@validated
def simulate_closed(
    demands: q.PositiveSeconds, customers: Servers, think_time: Time, *, completions: Jobs, runs: Jobs, rng: Generator
) -> q.Rate:
    """Simulate customers who think, then visit each station in turn, over and over; all times exponential.

    `demands` are the mean seconds of service, one entry for each station; `think_time` is the mean that a customer
    spends outside. Each run counts about that many `completions`, after five requests a customer and a tenth of
    `completions` as warm-up. Returns the throughput of each run, shape (runs,) (Harchol-Balter, chapter 6).

    >>> x = simulate_closed([0.2], 1, 0.8, completions=400, runs=50, rng=np.random.default_rng(1))
    >>> round(float(x.mean()), 1)  # one customer: 1/(0.2 + 0.8)
    1.0
    """
    where = "simulate_closed"
    seconds = np.atleast_1d(np.asarray(demands))
    if seconds.ndim != 1:
        raise DomainError(f"{where}: demands must be a list, got shape {seconds.shape}")
    # A customer is at home (column 0) or at a station; the next event of every run is drawn at once.
    times = seconds if think_time == 0 else np.concatenate([[think_time], seconds])
    stations = times.size
    dropped = (5 * customers + completions // 10) * stations
    steps = dropped + completions * stations
    checked(where, "events of all runs", steps * (runs * stations + 1000), Annotated[int, q.Whole(0, MOST_STEPS)])
    alone = (np.arange(stations) == 0) & (think_time > 0)
    here = np.zeros((runs, stations), dtype=np.int64)
    here[:, 0] = customers
    every = np.arange(runs)
    clock, done = np.zeros(runs), np.zeros(runs)
    with np.errstate(all="ignore"):
        rates = 1 / times
        for step in range(steps):
            active = np.where(alone, here, here > 0) * rates
            total = active.sum(axis=1)
            pick = (np.cumsum(active, axis=1) > (rng.random(runs) * total)[:, None]).argmax(axis=1)
            if step >= dropped:
                # the mean of the exponential holding time, not a draw of it: same answer, less noise
                clock += 1 / total
                done += pick == stations - 1
            here[every, pick] -= 1
            here[every, (pick + 1) % stations] += 1
        return finite(where, done / finite(where, clock))
