"""Which nodes are connected, how well, and how to connect them better: Definition 5.1 and Algorithm 5.1 of the book.

A *link* joins two nodes in both directions; the *degree* of a node is the number of its links; the *diameter* is the
largest number of links on a shortest way. The *algebraic connectivity* λ₂ is the second smallest eigenvalue of the
Laplacian matrix: it is zero exactly if the graph falls apart, and no new link lowers it.

Sources: Fiedler (1973), Czechoslovak Mathematical Journal 23; Watts and Strogatz (1998), Nature 393; Hoffman and
Singleton (1960), IBM Journal 4; Ghosh and Boyd (2006), IEEE CDC, for the link that raises λ₂ most.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from web3scale import quantities as q
from web3scale.errors import DomainError, shown
from web3scale.formula import formula
from web3scale.quantities import Whole, checked, validated

Ints = npt.NDArray[np.integer[Any]]
Nodes = Annotated[int, Whole(1, 2 * 10**6)]
Links = Annotated[int, Whole(0)]
Tolerance = Annotated[Any, q.Quantity("1", high=1.0, open="high")]


@validated
class Graph:
    """Nodes 0 … n − 1 and the links between them, as arrays; no link twice, none from a node to itself.

    `links` has shape (m, 2). `neighbours[starts[u] : starts[u + 1]]` are the neighbours of node u, in ascending order.

    >>> path = Graph(3, [(0, 1), (2, 1)])
    >>> path.degrees.tolist(), path.of(1).tolist()
    ([1, 2, 1], [0, 2])
    """

    def __init__(self, nodes: Nodes, links: Iterable[Any]) -> None:
        ends = np.array(links if isinstance(links, np.ndarray) else list(links))
        if ends.size == 0:
            ends = np.zeros((0, 2), dtype=np.int64)
        inside = ends.ndim == 2 and ends.shape[1] == 2 and ends.dtype.kind in "iu"
        if not inside or (ends.size and not (ends.min() >= 0 and ends.max() < nodes)):
            raise DomainError(f"Graph: links must be pairs of nodes in 0 ... {nodes - 1}, got shape {ends.shape}")
        ends = np.sort(ends.astype(np.int64), axis=1)
        keys = np.sort(ends[:, 0] * nodes + ends[:, 1])
        if (ends[:, 0] == ends[:, 1]).any() or (keys[1:] == keys[:-1]).any():
            raise DomainError("Graph: links must join two different nodes, and no two nodes twice")
        self.nodes = nodes
        self.links: Ints = np.stack([keys // nodes, keys % nodes], axis=1)
        both = np.concatenate([keys, self.links[:, 1] * nodes + self.links[:, 0]])
        both.sort()
        self.neighbours: Ints = (both % nodes).astype(np.int32)  # half the memory: a search reads it at random
        self.starts: Ints = np.searchsorted(both, np.arange(nodes + 1) * nodes)
        for array in (self.links, self.neighbours, self.starts):
            array.setflags(write=False)

    @property
    def degrees(self) -> Ints:
        """The number of links of each node, shape (n,)."""
        return np.diff(self.starts)

    def of(self, node: int) -> Ints:
        """Return the neighbours of one node."""
        checked("of", "node", node, Annotated[int, Whole(0, self.nodes - 1)])
        return self.neighbours[self.starts[node] : self.starts[node + 1]]

    def __repr__(self) -> str:
        return f"Graph of {self.nodes} nodes and {len(self.links)} links"


# Graphs to start from


@validated
def ring(nodes: Annotated[int, Whole(3, 2 * 10**6)], degree: Annotated[int, Whole(2)] = 2) -> Graph:
    """Connect each node to its `degree` nearest neighbours on a circle, half of them on either side.

    >>> ring(6).of(0).tolist(), ring(6, 4).of(0).tolist()
    ([1, 5], [1, 2, 4, 5])
    """
    if degree % 2 or degree >= nodes:
        raise DomainError(f"ring: degree must be even and below nodes = {nodes}, got {shown(degree)}")
    at = np.arange(nodes)
    return Graph(nodes, np.concatenate([np.stack([at, (at + i) % nodes], axis=1) for i in range(1, degree // 2 + 1)]))


@validated
def small_world(
    nodes: Annotated[int, Whole(3, 10**5)], degree: Annotated[int, Whole(2)], rewiring: q.One[q.Share], *, seed: int
) -> Graph:
    """Take a ring, and give each link with probability p a new far end: the small world of Watts and Strogatz.

    >>> small_world(100, 4, 0.1, seed=1)
    Graph of 100 nodes and 200 links
    """
    rng = np.random.default_rng(seed)
    near = _sets(ring(nodes, degree))
    for u, v in ring(nodes, degree).links[rng.random(nodes * degree // 2) < rewiring].tolist():
        if len(near[u]) == nodes - 1:
            continue  # it knows everybody already
        while (new := int(rng.integers(nodes))) == u or new in near[u]:
            pass
        _cut(near, u, v)
        _join(near, u, new)
    return _graph(near)


@validated
def random_regular(nodes: Nodes, degree: Annotated[int, Whole(1, 1000)], *, seed: int) -> Graph:
    """Draw a graph in which each node has `degree` links: the ends of links are paired at random.

    Pairs that join a node to itself, or two nodes a second time, are drawn again together with others.

    >>> random_regular(100, 8, seed=1).degrees.max()
    np.int64(8)
    """
    if degree >= nodes or nodes * degree % 2:
        raise DomainError(f"random_regular: nodes · degree must be even, and degree below {nodes}, got {shown(degree)}")
    if 2 * degree > nodes:  # few graphs are so full: draw the links that are missing
        return _complement(random_regular(nodes, nodes - 1 - degree, seed=seed) if degree < nodes - 1 else None, nodes)
    rng = np.random.default_rng(seed)
    ends = rng.permutation(np.repeat(np.arange(nodes), degree)).reshape(-1, 2)
    while True:
        keys = ends.min(axis=1) * nodes + ends.max(axis=1)
        order = np.argsort(keys, kind="stable")
        bad = ends[:, 0] == ends[:, 1]
        bad[order[1:]] |= keys[order[1:]] == keys[order[:-1]]
        wrong = int(bad.sum())
        if not wrong:
            return Graph(nodes, ends)
        bad[rng.integers(len(ends), size=4 * wrong)] = True  # good ones, to exchange ends with
        ends[bad] = rng.permutation(ends[bad].ravel()).reshape(-1, 2)


def _complement(graph: Graph | None, nodes: int) -> Graph:
    missing = np.triu(np.ones((nodes, nodes), dtype=bool), 1)
    if graph is not None:
        missing[graph.links[:, 0], graph.links[:, 1]] = False
    return Graph(nodes, np.argwhere(missing))


# Measures


@validated
def hops_from(graph: Graph, source: int) -> Ints:
    """Count the links from a `source` to each node, shape (n,); −1 where no way leads. Level by level, in arrays.

    >>> hops_from(Graph(4, [(0, 1), (1, 2)]), 0).tolist()
    [0, 1, 2, -1]
    """
    checked("hops_from", "source", source, Annotated[int, Whole(0, graph.nodes - 1)])
    found = np.full(graph.nodes, -1, dtype=np.int32)
    place = np.empty(graph.nodes, dtype=np.int32)
    found[source], frontier, hops = 0, np.array([source]), 0
    while frontier.size:
        hops += 1
        reached = _neighbours(graph, frontier)
        reached = reached[found[reached] < 0]
        found[reached] = hops
        order = np.arange(reached.size, dtype=np.int32)
        place[reached] = order  # of a node that is reached twice, one place remains
        frontier = reached[place[reached] == order]
    return found


def _neighbours(graph: Graph, some: Ints) -> Ints:
    """Return the neighbours of `some` nodes, one node's after the other's."""
    first, counts = graph.starts[some], graph.starts[some + 1] - graph.starts[some]
    ends = counts.cumsum()
    found: Ints = graph.neighbours[np.repeat(first - ends + counts, counts) + np.arange(ends[-1] if ends.size else 0)]
    return found


@validated
def is_connected(graph: Graph) -> bool:
    """Whether a way leads from each node to each other.

    >>> is_connected(Graph(3, [(0, 1)]))
    False
    """
    return bool((hops_from(graph, 0) >= 0).all())


@validated
def diameter(graph: Graph) -> int | None:
    """Return the links on the longest of all shortest ways; None if the graph falls apart. One search a node.

    >>> diameter(ring(6)), diameter(Graph(3, [(0, 1)]))
    (3, None)
    """
    if not is_connected(graph):
        return None
    return int(max(hops_from(graph, node).max() for node in range(graph.nodes)))


@validated
def algebraic_connectivity(graph: Graph) -> float:
    """λ₂, the second smallest eigenvalue of the Laplacian matrix, of 2 to 2000 nodes: zero if the graph falls apart.

    >>> round(algebraic_connectivity(ring(6)), 6)  # 2 − 2 cos(2π/6)
    1.0
    """
    value, _ = _fiedler(graph)
    return max(value, 0.0)


@validated
def laplacian(graph: Graph) -> q.Array:
    """Return the matrix with the degrees on its diagonal and −1 for each link, shape (n, n), of 2 to 2000 nodes.

    >>> laplacian(Graph(2, [(0, 1)])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    checked("laplacian", "nodes of graph", graph.nodes, Annotated[int, Whole(2, 2000)])
    matrix = np.diag(graph.degrees.astype(float))
    matrix[graph.links[:, 0], graph.links[:, 1]] = matrix[graph.links[:, 1], graph.links[:, 0]] = -1.0
    return matrix


def _fiedler(graph: Graph) -> tuple[float, q.Array]:
    """Return λ₂ and its eigenvector: adding 1 everywhere lifts the constant vector from 0 to n, and moves no other."""
    from scipy.linalg import eigh

    values, vectors = eigh(laplacian(graph) + 1.0, subset_by_index=[0, 0])
    return float(values[0]), vectors[:, 0]


@formula(nodes="n", degree="d")
def moore_diameter(nodes: q.Count, degree: Annotated[Any, q.Quantity("1", low=3.0)]) -> q.Ratio:
    """Diameter that a graph of `nodes` has at least if no node has more than `degree` links: the Moore bound.

    >>> round(moore_diameter(10, 3), 12)  # met by the Petersen graph
    2.0
    """
    return sp.log(1 + (nodes - 1) * (degree - 2) / degree) / sp.log(degree - 1)


# Algorithm 5.1: fewer links that say nothing new, more that lead far, and no node with too many


@validated
def prune_links(graph: Graph, links: Links, *, least_degree: Annotated[int, Whole(1)] = 2) -> Graph:
    """Remove up to `links` links whose ends have a neighbour in common; no node falls below `least_degree`.

    The ends stay connected through that neighbour, so removal never disconnects. Those with most common neighbours come
    first, and each is judged again on the graph as it is by then.

    >>> prune_links(ring(6, 4), 100)
    Graph of 6 nodes and 6 links
    """
    near = _sets(graph)
    left = links
    for u, v in sorted(graph.links.tolist(), key=lambda link: -len(near[link[0]] & near[link[1]])):
        if left and near[u] & near[v] and min(len(near[u]), len(near[v])) > least_degree:
            _cut(near, u, v)
            left -= 1
    return _graph(near)


@validated
def add_links(graph: Graph, links: Links, *, most_degree: Annotated[int, Whole(1)]) -> Graph:
    """Add up to `links` links, each where it raises λ₂ most by the first-order estimate; 2 to 2000 nodes.

    Let v be the eigenvector of λ₂, of length 1. A link between i and j raises λ₂ by at most (vᵢ − vⱼ)², and at this
    rate while it is light and λ₂ simple (Ghosh and Boyd 2006). Both must have less than `most_degree` links. It ends
    early where no such pair is left. A graph in pieces is joined first: there v differs between the pieces.

    >>> long = add_links(ring(12), 2, most_degree=3)
    >>> algebraic_connectivity(long) > algebraic_connectivity(ring(12))
    True
    """
    for _ in range(links):
        _, vector = _fiedler(graph)
        gain = (vector[:, None] - vector[None, :]) ** 2
        gain[graph.links[:, 0], graph.links[:, 1]] = gain[graph.links[:, 1], graph.links[:, 0]] = -1.0
        full = graph.degrees >= most_degree
        gain[full, :] = gain[:, full] = -1.0
        np.fill_diagonal(gain, -1.0)
        best = np.round(gain, 9)  # of equal ones the first, whatever the processor's last digits are
        u, v = divmod(int(best.argmax()), graph.nodes)
        if best[u, v] < 0:
            break
        graph = Graph(graph.nodes, np.concatenate([graph.links, [[u, v]]]))
    return graph


@validated
def balance_load(graph: Graph, tolerance: q.One[Tolerance]) -> Graph:
    """Move links away from nodes with more than (1 + θ) times the mean degree, until they are down to the mean.

    A node within the band is left alone, so a small change later moves nothing. A link moves at one of its ends, to the
    node with fewest links that the old end still reaches without it: no move disconnects the graph.

    >>> star = Graph(6, [(0, i) for i in range(1, 6)])
    >>> balance_load(star, 0.5).degrees.max()
    np.int64(2)
    """
    near = _sets(graph)
    mean = 2 * len(graph.links) / graph.nodes
    for u in np.argsort(-graph.degrees, kind="stable").tolist():
        if len(near[u]) <= (1 + tolerance) * mean:
            continue
        for x in sorted(near[u], key=lambda x: (-len(near[u] & near[x]), x)):
            if len(near[u]) <= max(mean, 1):
                break
            _cut(near, u, x)
            takers = _reached(near, u) - near[x] - {u, x}
            taker = min(takers, key=lambda w: (len(near[w]), w), default=u)
            _join(near, taker if len(near[taker]) < len(near[u]) else u, x)
    return _graph(near)


def _sets(graph: Graph) -> list[set[int]]:
    bounds = graph.starts.tolist()
    return [set(graph.neighbours[a:b].tolist()) for a, b in pairwise(bounds)]


def _graph(near: list[set[int]]) -> Graph:
    return Graph(len(near), [(u, v) for u, others in enumerate(near) for v in others if u < v])


def _cut(near: list[set[int]], u: int, v: int) -> None:
    near[u].remove(v)
    near[v].remove(u)


def _join(near: list[set[int]], u: int, v: int) -> None:
    near[u].add(v)
    near[v].add(u)


def _reached(near: list[set[int]], source: int) -> set[int]:
    seen, waiting = {source}, [source]
    while waiting:
        new = near[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen
