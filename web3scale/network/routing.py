"""Which way a message takes: shortest routes with a cache that notices changes, and Kademlia, which needs no map.

A *route* is a list of nodes, each joined to the next by a link, and the sum of the links' weights. Sources: Dijkstra
(1959), Numerische Mathematik 1; Maymounkov and Mazières (2002), IPTPS, for Kademlia.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Annotated, Any

import numpy as np

from web3scale.errors import DomainError, shown
from web3scale.quantities import ONE, Quantity, Whole, checked, validated

Weight = Annotated[Any, Quantity("s"), ONE]
Link = tuple[int, int, float]
Nodes = Annotated[int, Whole(1, 10**6)]
Capacity = Annotated[int, Whole(1, 10**6)]
Bits = Annotated[int, Whole(1, 62)]  # an identifier fits an integer of 64 bits
Bucket = Annotated[int, Whole(1, 1000)]


@dataclass(frozen=True)
class Route:
    """The `nodes` on the way, both ends included, and the `weight` of all its links."""

    nodes: tuple[int, ...]
    weight: float


@validated
class RoutingTable:
    """Links with weights, and the shortest routes over them: Algorithm 5.2 of the book.

    Found routes are kept, at most `capacity` of them, the least recently asked for leaving first. A route is kept under
    its source, its destination and the *version* of the table, which every change of a link raises: so no route of
    another source and none of an older map is ever given out. Two nodes may have several links: the lightest counts.

    >>> table = RoutingTable(4, [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 5.0)])
    >>> table.route(0, 2), table.route(0, 3)
    (Route(nodes=(0, 1, 2), weight=2.0), None)
    >>> table.disconnect(1, 2)
    >>> table.connect(1, 2, 4.5)
    >>> table.route(0, 2), table.version
    (Route(nodes=(0, 2), weight=5.0), 2)
    """

    def __init__(self, nodes: Nodes, links: Iterable[Link] = (), *, capacity: Capacity = 1024) -> None:
        self.nodes, self.capacity, self.version, self.hits = nodes, capacity, 0, 0
        self._near: list[list[tuple[int, float]]] = [[] for _ in range(nodes)]
        self._kept: OrderedDict[tuple[int, int, int], Route | None] = OrderedDict()
        for link in links:
            if not (isinstance(link, tuple) and len(link) == 3):
                raise DomainError(f"RoutingTable: links must be tuples (node, node, weight), got {shown(link)}")
            self._join("RoutingTable", link[0], link[1], checked("RoutingTable", "weight", link[2], Weight))

    def _node(self, where: str, name: str, node: int) -> int:
        found: int = checked(where, name, node, Annotated[int, Whole(0, self.nodes - 1)])
        return found

    def _join(self, where: str, u: int, v: int, weight: float) -> None:
        u, v = self._node(where, "link", u), self._node(where, "link", v)
        self._near[u].append((v, weight))
        if u != v:
            self._near[v].append((u, weight))

    def connect(self, u: int, v: int, weight: Weight) -> None:
        """Add a link in both directions. A weight is a number of at least 0: with others, shortest is not defined."""
        self._join("connect", u, v, weight)
        self.version += 1

    def disconnect(self, u: int, v: int) -> None:
        """Remove all links between two nodes; a DomainError if there is none."""
        u, v = self._node("disconnect", "link", u), self._node("disconnect", "link", v)
        if all(other != v for other, _ in self._near[u]):
            raise DomainError(f"disconnect: nodes must have a link, got {u}, {v}")
        self._near[u] = [link for link in self._near[u] if link[0] != v]
        self._near[v] = [link for link in self._near[v] if link[0] != u]
        self.version += 1

    def route(self, source: int, destination: int) -> Route | None:
        """Return a shortest route, from the cache if it is there; None where no way leads."""
        source, destination = self._node("route", "source", source), self._node("route", "destination", destination)
        key = source, destination, self.version
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            return self._kept[key]
        distances, previous = self._search(source, destination)
        route = None
        if distances[destination] < inf:
            way = [destination]
            while way[-1] != source:
                way.append(previous[way[-1]])
            route = Route(tuple(reversed(way)), distances[destination])
        self._kept[key] = route
        if len(self._kept) > self.capacity:
            self._kept.popitem(last=False)
        return route

    def distances(self, source: int) -> list[float | None]:
        """Return the weight of a shortest route from `source` to each node; None where no way leads."""
        distances, _ = self._search(self._node("distances", "source", source), None)
        return [None if distance == inf else distance for distance in distances]

    def _search(self, source: int, target: int | None) -> tuple[list[float], list[int]]:
        """Dijkstra: the nearest node whose links were not followed yet is next. Stale heap entries are passed over."""
        distances, previous = [inf] * self.nodes, [source] * self.nodes
        distances[source] = 0.0
        waiting = [(0.0, source)]
        near, push, pop = self._near, heappush, heappop
        while waiting:
            distance, node = pop(waiting)
            if node == target:
                break
            if distance > distances[node]:
                continue
            for other, weight in near[node]:
                through = distance + weight
                if through < distances[other]:
                    distances[other] = through
                    previous[other] = node
                    push(waiting, (through, other))
        return distances, previous


@validated
class Kademlia:
    """Nodes with random identifiers of b bits, each of which knows a few others: no node has a map of all.

    The distance of two identifiers is their bitwise exclusive or, read as a number. For each i, a node keeps up to K
    contacts, drawn at random, among those that share its first i bits and not the next: a *bucket*. A request for a key
    moves to the known contact that is closest to the key, until none is closer than the node itself.

    >>> net = Kademlia(1000, identifier_bits=32, bucket_size=1, seed=1)
    >>> way = net.route(net.identifiers[-1], key=12345)
    >>> way[-1] == net.closest(12345), len(way) - 1
    (True, 3)
    """

    def __init__(self, nodes: Nodes, *, identifier_bits: Bits, bucket_size: Bucket, seed: int) -> None:
        if 2 * nodes > 2**identifier_bits:
            raise DomainError(f"Kademlia: nodes must be at most half of 2^{identifier_bits} identifiers, got {nodes}")
        self.bits, self.bucket_size, self.seed = identifier_bits, bucket_size, seed
        rng, found = np.random.default_rng(seed), np.zeros(0, dtype=np.int64)
        while found.size < nodes:
            found = np.unique(np.append(found, rng.integers(2**identifier_bits, size=nodes - found.size)))
        self.identifiers: list[int] = found.tolist()  # in ascending order
        self._contacts: dict[int, list[list[int]]] = {}

    def contacts(self, node: int) -> list[list[int]]:
        """Return what a node knows: a list of contacts for each number of first bits that they share with it."""
        if node not in self._contacts:
            at = bisect_left(self.identifiers, checked("contacts", "node", node, int))
            if self.identifiers[at : at + 1] != [node]:
                raise DomainError(f"contacts: node must be one of identifiers, got {shown(node)}")
            rng = np.random.default_rng([self.seed, node])
            self._contacts[node] = [self._draw(node, bit, rng) for bit in reversed(range(self.bits))]
        return self._contacts[node]

    def _draw(self, node: int, bit: int, rng: np.random.Generator) -> list[int]:
        low = ((node >> bit) ^ 1) << bit  # of those that share the bits above this one, and not this one
        first, end = bisect_left(self.identifiers, low), bisect_left(self.identifiers, low + (1 << bit))
        size = min(self.bucket_size, end - first)
        drawn = rng.choice(end - first, size=size, replace=False).tolist() if size else []
        return [self.identifiers[first + i] for i in drawn]

    def closest(self, key: int, silent: Collection[int] = ()) -> int | None:
        """Return the node closest to a key among all that are not `silent`, which no node could know by itself."""
        self._key("closest", key)
        return min((i for i in self.identifiers if i not in silent), key=lambda i: i ^ key, default=None)

    def route(self, source: int, key: int, silent: Collection[int] = ()) -> list[int]:
        """Return the nodes that a request passes, from `source` to the last, which knows none closer to the key.

        Contacts that are `silent` do not answer and are passed over. Without such, the last is the closest of all.
        """
        self._key("route", key)
        way = [source]
        while True:
            known = [c for bucket in self.contacts(way[-1]) for c in bucket if c not in silent]
            best = min(known, key=lambda c: c ^ key, default=way[-1])
            if best ^ key >= way[-1] ^ key:
                return way
            way.append(best)

    def _key(self, where: str, key: int) -> None:
        checked(where, "key", key, Annotated[int, Whole(0, 2**self.bits - 1)])
