"""How a message spreads: to all neighbours, to a few at random, or through a mesh that mends what it misses.

*Flooding*: a node that hears a message for the first time sends it to all its neighbours. *Push*: it sends it to k
nodes drawn at random. *Mesh*: it sends it to a few neighbours, and tells some others only that it has it; who misses it
asks. A *duplicate* is a copy that reaches a node which has the message already.

Sources: Kermarrec, Massoulié and Ganesh (2003), IEEE TPDS 14; Vyzovitis et al. (2020), arXiv:2007.02754, and libp2p's
specification gossipsub v1.1, for the mesh.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from web3scale import quantities as q
from web3scale.errors import DomainError
from web3scale.network.topology import Graph, Ints, hops_from
from web3scale.quantities import Array, Whole, checked, validated

ReachedShare = Annotated[Any, q.Quantity("1", high=1.0, open="low"), q.ONE]
Delays = Annotated[Any, q.Quantity("s", high=1e9)]
Delay = q.One[Delays]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Spread:
    """Who got a message and when: the nodes `reached`, in the order in which they got it, and their `times`.

    >>> spread = flood(Graph(4, [(0, 1), (1, 2)]), 1)
    >>> spread.reached.tolist(), spread.times.tolist(), spread.share
    ([1, 0, 2], [0.0, 1.0, 1.0], 0.75)
    >>> spread.coverage_time(0.75), spread.coverage_time(1.0)
    (1.0, None)
    """

    nodes: int  # of the graph
    reached: Ints  # the source first
    times: Array  # seconds, in the same order; links, where a link counts as one second
    copies: int  # full messages sent

    @property
    def share(self) -> float:
        """The share of all nodes that got it, the source included."""
        return self.reached.size / self.nodes

    @property
    def duplicates(self) -> int:
        """Copies that reached a node which had it already."""
        return self.copies - self.reached.size + 1

    def coverage_time(self, share: ReachedShare) -> float | None:
        """Return the time at which this share of all nodes has it; None if it never does."""
        checked("coverage_time", "share", share, ReachedShare)
        wanted = max(1, int(np.ceil(share * self.nodes - 1e-9)))
        return float(self.times[wanted - 1]) if wanted <= self.times.size else None


def _spread(times: Array, copies: int) -> Spread:
    """Sort what is known of each node; inf stands for never."""
    order = np.argsort(times, kind="stable")[: int(np.isfinite(times).sum())]
    return Spread(times.size, order, times[order], copies)


@validated
def flood(graph: Graph, source: int) -> Spread:
    """Flood a graph where each link takes one second and sending takes none: times are numbers of links.

    The source sends a copy on each of its links, every other node on all but the one that its first copy came by.

    >>> spread = flood(Graph(4, [(0, 1), (1, 2), (2, 0), (2, 3)]), 0)
    >>> spread.copies, spread.duplicates
    (5, 2)
    """
    hops = hops_from(graph, source)
    has_it = hops >= 0
    copies = int(graph.degrees[has_it].sum() - has_it.sum() + 1)
    return _spread(np.where(has_it, hops, np.inf), copies)


@validated
def timed_flood(graph: Graph, source: int, *, delays: Any, transmit_time: Delay, silent: Any = ()) -> Spread:
    """Flood a graph whose links have `delays`, shape (m,) in the order of its links; copies leave one after the other.

    A node sends to its neighbours in ascending order: the i-th copy has left after i times `transmit_time`, the place
    of the neighbour that it came from stays empty. Nodes in `silent` send nothing.

    >>> path = Graph(3, [(0, 1), (1, 2)])
    >>> timed_flood(path, 0, delays=[0.1, 0.2], transmit_time=0.5).times.round(2).tolist()
    [0.0, 0.6, 1.8]
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    checked("timed_flood", "source", source, Annotated[int, Whole(0, graph.nodes - 1)])
    weights, quiet = _of_links("timed_flood", graph, delays), _nodes("timed_flood", graph, silent)
    senders = np.repeat(np.arange(graph.nodes), graph.degrees)
    place = np.arange(senders.size) - graph.starts[senders] + 1
    weights = weights + place * transmit_time
    kept = ~quiet[senders]
    # a weight of zero would be no link at all to SciPy: it gets the smallest that does not change a sum of seconds
    matrix = csr_array(
        (np.maximum(weights, 1e-300)[kept], (senders[kept], graph.neighbours[kept])), shape=(graph.nodes, graph.nodes)
    )
    times = np.asarray(dijkstra(matrix, indices=source))
    times[times < 1e-250] = 0.0
    sending = np.isfinite(times) & ~quiet
    copies = int(graph.degrees[sending].sum() - sending.sum() + (not quiet[source]))
    return _spread(times, copies)


def _of_links(where: str, graph: Graph, delays: Any) -> Array:
    """The delay of each link, at each of its two ends, in the order of `neighbours`."""
    given = checked(where, "delays", delays, Delays) if np.size(delays) else np.zeros(0)
    if np.shape(given) != (len(graph.links),):
        raise DomainError(f"{where}: delays must be one for each of {len(graph.links)} links, got {np.shape(given)}")
    first, second = graph.links.T
    order = np.lexsort((np.concatenate([second, first]), np.concatenate([first, second])))
    return np.concatenate([given, given])[order]


def _nodes(where: str, graph: Graph, some: Any) -> Mask:
    """Which nodes are named in a list of nodes."""
    mask = np.zeros(graph.nodes, dtype=bool)
    for node in np.ravel(some).tolist():
        mask[checked(where, "silent", node, Annotated[int, Whole(0, graph.nodes - 1)])] = True
    return mask


@validated
def push(nodes: Annotated[int, Whole(2, 2 * 10**6)], fan_out: Annotated[int, Whole(1, 100)], *, seed: int) -> Spread:
    """Let each node that hears the message send it once, one second later, to `fan_out` others drawn at random.

    With a fan-out of ln n + c, all nodes are reached with probability exp(−e^−c) for large n (Kermarrec et al. 2003).

    >>> spread = push(10_000, 3, seed=1)
    >>> round(spread.share, 3)  # theory: the share z with z = 1 − e^(−3z), 0.941
    0.941
    """
    rng = np.random.default_rng(seed)
    times = np.full(nodes, np.inf)
    times[0], new, round_, copies = 0.0, np.array([0]), 0, 0
    while new.size:
        round_ += 1
        drawn = rng.integers(nodes - 1, size=(new.size, fan_out))
        to = (drawn + (drawn >= new[:, None])).ravel()  # anybody but oneself; now and then one twice
        copies += to.size
        new = np.unique(to[np.isinf(times[to])])
        times[new] = round_
    return _spread(times, copies)


@dataclass(frozen=True)
class MeshRule:
    """How a node of a mesh behaves; the values are those of the consensus layer of Ethereum.

    Who has the message announces it at each of its `windows` next heartbeats to `lazy` neighbours outside of the mesh,
    drawn anew. Who misses it then asks for it.
    """

    heartbeat: float = 0.7  # seconds
    lazy: int = 6  # neighbours
    windows: int = 3  # heartbeats


@validated
def mesh_spread(
    overlay: Graph,
    mesh: Graph,
    source: int,
    *,
    delay: Delay,
    transmit_time: Delay,
    silent: Any = (),
    rule: MeshRule = MeshRule(),
    seed: int,
) -> Spread:
    """Spread a message through a `mesh`, a graph of some of the links of the `overlay`, and announce it on the others.

    Every link takes `delay` seconds. Copies leave a node one after the other, `transmit_time` seconds each; an
    announcement and a request are short, and take the delay alone. Nodes in `silent` take part but forward and announce
    nothing, as censors would.

    >>> overlay = Graph(4, [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)])
    >>> mesh = Graph(4, [(0, 1), (0, 2)])  # node 3 is in no mesh: it hears by an announcement
    >>> mesh_spread(overlay, mesh, 0, delay=0.1, transmit_time=0, seed=1).share
    1.0
    """
    checked("mesh_spread", "source", source, Annotated[int, Whole(0, overlay.nodes - 1)])
    if mesh.nodes != overlay.nodes:
        raise DomainError(f"mesh_spread: mesh must have the nodes of overlay, {overlay.nodes}, got {mesh.nodes}")
    rng = np.random.default_rng(seed)
    quiet = _nodes("mesh_spread", overlay, silent)
    phase = rng.random(overlay.nodes) * rule.heartbeat
    others = [np.setdiff1d(overlay.of(u), mesh.of(u)) for u in range(overlay.nodes)]
    times = np.full(overlay.nodes, np.inf)
    asked, free = np.zeros(overlay.nodes, dtype=bool), np.zeros(overlay.nodes)  # free: when an uplink is
    waiting: list[tuple[float, int, str, int, int]] = [(0.0, 0, "copy", source, source)]
    copies, count = 0, 0

    def later(time: float, kind: str, sender: int, receiver: int) -> None:
        nonlocal count
        count += 1
        heappush(waiting, (time, count, kind, sender, receiver))

    def send(time: float, sender: int, receiver: int) -> None:
        nonlocal copies
        copies += 1
        free[sender] = max(free[sender], time) + transmit_time
        later(float(free[sender]) + delay, "copy", sender, receiver)

    while waiting:
        time, _, kind, sender, node = heappop(waiting)
        if kind == "copy" and np.isinf(times[node]):
            times[node] = time
            if not quiet[node]:
                for other in mesh.of(node).tolist():
                    if other != sender:
                        send(time, node, other)
                first = time + (phase[node] - time) % rule.heartbeat
                for window in range(rule.windows):
                    for other in rng.permutation(others[node])[: rule.lazy].tolist():
                        later(float(first) + window * rule.heartbeat + delay, "have", node, other)
        elif kind == "have" and np.isinf(times[node]) and not asked[node]:
            asked[node] = True
            later(time + delay, "want", node, sender)
        elif kind == "want":
            send(time, node, sender)
    return _spread(times, copies)
