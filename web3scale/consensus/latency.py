"""How long a decision takes between replicas all over the world: thousands of rounds at once, in arrays.

A replica that waits for a quorum waits for the slowest of the fastest q messages: an order statistic of their delays.
So a round of PBFT or of basic HotStuff needs no list of events, only the delay of each message. Delays between regions
are random with measured means, as in SimBlock: a message within a mean of m milliseconds takes (m − 5)/U^(5/m), where U
is uniform in (0, 1]. That is Pareto's distribution, and its mean is m.

Source of the measurements and of the distribution: SimBlock, github.com/dsg-titech/simblock (Apache-2.0); Aoki et al.
(2019), IEEE INFOCOM Workshops.
"""

from typing import Annotated, Any

import numpy as np

from web3scale.consensus.quorums import max_faults, smallest_quorum
from web3scale.errors import DomainError, shown
from web3scale.facts import load_chains
from web3scale.quantities import Array, Quantity, Whole, checked, validated

REGIONS = ("North America", "Europe", "South America", "Asia Pacific", "Japan", "Australia")
SHORTEST = 0.005  # seconds: no message takes less than its mean less this
MOST_DELAYS = 2 * 10**6  # of one kind that are in memory at once
Means = Annotated[Any, Quantity("s", low=SHORTEST, high=1e3, open="low")]
Times = Annotated[Any, Quantity("s", high=1e9)]
Rounds = Annotated[int, Whole(1, 10**5)]
Seed = Annotated[int, Whole(0)]


@validated
def region_delays() -> Array:
    """Mean delay of a message between two regions, in seconds, in the order of `REGIONS`: shape (6, 6).

    >>> delays = region_delays()
    >>> float(delays[0, 1]), float(delays[4, 4])
    (0.124, 0.012)
    """
    told = {fact.quantity: fact.value for fact in load_chains() if fact.chain == "Internet"}
    pairs = [[sorted((row, column)) for column in range(6)] for row in range(6)]
    return np.array([[told[f"delay {REGIONS[low]} / {REGIONS[high]}"] for low, high in row] for row in pairs])


@validated
def draw_delays(means: Means, rounds: Rounds, *, rng: np.random.Generator) -> Array:
    """Draw delays with these mean values, for each round: shape (rounds, …), the dots that of `means`.

    >>> delays = draw_delays([0.012, 0.124], 10_000, rng=np.random.default_rng(1))
    >>> delays.mean(axis=0).round(3)
    array([0.012, 0.124])
    """
    checked("draw_delays", "rounds times means", rounds * np.size(means), Annotated[int, Whole(1, MOST_DELAYS)])
    drawn = rng.standard_exponential((rounds, *np.shape(means)))
    drawn *= SHORTEST / means
    return np.asarray((means - SHORTEST) * np.exp(drawn, out=drawn))


def _quorum_of(arrivals: Any) -> Any:
    """When a quorum of what arrives is there: the q-th smallest, over the second axis."""
    replicas = arrivals.shape[1]
    quorum = smallest_quorum(replicas, max_faults(replicas))
    return np.partition(arrivals, quorum - 1, axis=1)[:, quorum - 1]


def _check_shapes(where: str, **delays: tuple[Any, tuple[int, ...]]) -> None:
    for name, (array, shape) in delays.items():
        if np.shape(array) != shape or 0 in shape:
            raise DomainError(f"{where}: {name} must have shape {shape}, got {shown(np.shape(array))}")


@validated
def pbft_decided(pre_prepare: Times, prepare: Times, commit: Times) -> Array:
    """When each replica decides, in seconds after the proposal by replica 0: shape (rounds, n).

    Pre-prepares have delays of shape (rounds, n); prepares and commits (rounds, senders, receivers), none to oneself.

    >>> every = np.ones((1, 4, 4)) - np.eye(4)
    >>> pbft_decided(every[:, 0], every, every)
    array([[3., 3., 3., 3.]])
    """
    rounds, replicas = (*np.shape(pre_prepare), 0, 0)[:2]
    square = rounds, replicas, replicas
    _check_shapes(
        "pbft_decided", pre_prepare=(pre_prepare, square[:2]), prepare=(prepare, square), commit=(commit, square)
    )
    votes = pre_prepare[:, :, None] + prepare
    votes[:, 0] = pre_prepare  # the primary's vote comes with its proposal
    prepared = np.maximum(pre_prepare, _quorum_of(votes))
    return np.asarray(np.maximum(prepared, _quorum_of(prepared[:, :, None] + commit)))


@validated
def hotstuff_decided(forth: Times, back: Times) -> Array:
    """When each replica decides in a view of basic HotStuff, in seconds after the leader's proposal: shape (rounds, n).

    The leader's four messages have delays of shape (rounds, 4, n), the three votes (rounds, 3, n), none to oneself. No
    message overtakes one that the same replica sent before.

    >>> hotstuff_decided(np.ones((1, 4, 4)), np.ones((1, 3, 4)))
    array([[7., 7., 7., 7.]])
    """
    rounds, replicas = np.shape(forth)[0] if np.ndim(forth) else 0, np.shape(forth)[-1] if np.ndim(forth) else 0
    _check_shapes("hotstuff_decided", forth=(forth, (rounds, 4, replicas)), back=(back, (rounds, 3, replicas)))
    start: Any = 0.0
    for phase in range(3):
        start = _quorum_of(start + forth[:, phase] + back[:, phase])[:, None]
    return np.asarray(start + forth[:, 3])


@validated
def simulate_latency(means: Means, rounds: Rounds, *, hotstuff: bool = False, seed: Seed) -> Array:
    """Draw rounds of PBFT, or of basic HotStuff: when each replica decides, in seconds, shape (rounds, n).

    `means` are the mean delays from each replica to each other, shape (n, n); replica 0 leads.

    >>> place = np.arange(12) % 6  # two replicas in each region, North America leads
    >>> means = region_delays()[np.ix_(place, place)]
    >>> np.median(simulate_latency(means, 1000, seed=1)).round(2)
    np.float64(0.59)
    """
    replicas = (*np.shape(means), 0)[0]
    _check_shapes("simulate_latency", means=(means, (replicas, replicas)))
    rng, own, found = np.random.default_rng(seed), np.eye(replicas, dtype=bool), []
    size = max(1, 250_000 // replicas**2)  # of a part that the processor's cache holds
    for start in range(0, rounds, size):
        count = min(size, rounds - start)
        if hotstuff:
            forth = draw_delays(np.tile(means[0], (4, 1)), count, rng=rng)
            back = draw_delays(np.tile(means[:, 0], (3, 1)), count, rng=rng)
            forth[:, :, 0] = back[:, :, 0] = 0
            found.append(hotstuff_decided(forth, back))
        else:
            first, prepare, commit = (draw_delays(each, count, rng=rng) for each in (means[0], means, means))
            first[:, 0] = prepare[:, own] = commit[:, own] = 0
            found.append(pbft_decided(first, prepare, commit))
    return np.concatenate(found)
