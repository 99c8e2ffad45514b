"""A simulated network of replicas, some of them Byzantine.

Until it *heals*, the network delays, loses, repeats and reorders messages, and can keep its two *sides* apart; from
then on, the global stabilisation time, every message arrives within the bound on delays. Clients ask every replica, and
ask again when the network heals. A replica's time-out comes when nothing was executed and no view begun for its
patience, which doubles with each view since the last block.

A Byzantine replica has its own key and no other. A *silent* one sends nothing. A *replaying* one sends old messages of
anybody besides its own. An *equivocating* one is a pair of twins, two honest replicas with one key: each talks to one
side, so that together they propose two blocks and vote for both. Twins know each other: those of two such replicas
conspire. Sections 4.2 and 4.3 of the book.

Sources: Dwork, Lynch and Stockmeyer (1988), J. ACM 35: partial synchrony; Bano et al. (2021), OPODIS: twins.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any

import numpy as np

from web3scale import quantities as q
from web3scale.consensus import hotstuff, pbft
from web3scale.consensus.votes import Request
from web3scale.message import Signed
from web3scale.quantities import validated

Seed = Annotated[int, q.Whole(0)]
Places = tuple[int, ...]
CLIENT = -1  # the sender of requests


@dataclass(frozen=True)
class Sent:
    """One message on its way between replicas; it never arrives if `arrival_s` is None.

    >>> Sent(1.0, None, 0, 2, "prepare", "message").arrival_s is None
    True
    """

    time_s: float
    arrival_s: float | None
    sender: int
    receiver: int
    kind: str
    message: Any


@dataclass
class _Station:
    """A replica in its place: of twins, there are two."""

    place: int
    side: int
    replica: pbft.Replica | hotstuff.Replica
    heard: list[Any] = field(default_factory=list)  # by a replaying one
    progress: tuple[int, int] = (0, 0)  # view and blocks when its clock was set


def kind_of(message: Any) -> str:
    """Return the kind of a `message`: of a vote, its phase; of a block with votes, what these make it.

    >>> from web3scale.consensus.votes import Said, Vote
    >>> kind_of(Said(Vote("commit", 0, 1, b"block"), (0,), ()))
    'commit'
    """
    if isinstance(message, pbft.Backed):
        return "pre-prepare" if message.votes.body.phase == pbft.PREPARE else "decision"
    body = getattr(message, "body", message)
    names = {"ViewChange": "view-change", "NewView": "new-view", "Proposal": "proposal", "Certified": "certificate"}
    return getattr(body, "phase", names.get(type(body).__name__, "message"))


@validated
class Network:
    """Replicas, and what travels between them.

    Until `heals_at`, in seconds, delays are up to ten times the `delay_bound`, a share of the messages is lost, and if
    the network is `parted` nothing passes between its two sides: the places of `second_side`, and all others. A share
    is repeated throughout. `delays` gives each delay instead, in seconds, of sender, receiver and kind of message.

    >>> from web3scale.consensus.votes import Members, sign_request
    >>> from web3scale.crypto import example_key, public_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> members = Members("main", tuple(public_key(key) for key in keys))
    >>> network = Network([pbft.Replica(members, key) for key in keys], silent=(3,), seed=1)
    >>> network.submit(sign_request(example_key("Eve"), "main", 1, b"pay"))
    >>> network.run(), network.agreed
    (True, True)
    >>> dict(network.messages), [len(replica.blocks) for replica in network.honest]
    ({'pre-prepare': 3, 'prepare': 6, 'commit': 9}, [1, 1, 1])
    """

    def __init__(
        self,
        replicas: Sequence[pbft.Replica | hotstuff.Replica],
        *,
        seed: Seed,
        silent: Places = (),
        replaying: Places = (),
        equivocating: Places = (),
        second_side: Places = (),
        parted: bool = False,
        heals_at: q.One[q.Seconds] = 0.0,
        delay_bound: q.One[q.PositiveSeconds] = 1.0,
        loss: q.One[q.ShareBelowOne] = 0.0,
        repeat: q.One[q.ShareBelowOne] = 0.0,
        patience: q.One[q.PositiveSeconds] = 20.0,
        delays: Callable[[int, int, str], float] | None = None,
    ) -> None:
        self._random, self._delays, self.patience = np.random.default_rng(seed).random, delays, patience
        self.silent, self.replaying, self.equivocating = silent, replaying, equivocating
        self.parted, self.heals_at, self.delay_bound, self.loss, self.repeat = (
            parted,
            heals_at,
            delay_bound,
            loss,
            repeat,
        )
        self._stations = []
        for place, replica in enumerate(replicas):
            self._stations.append(_Station(place, 0 if place in equivocating else int(place in second_side), replica))
            if place in equivocating:
                self._stations.append(_Station(place, 1, deepcopy(replica)))
        self.now = 0.0
        self.sent: list[Sent] = []
        self.executed: list[tuple[float, int, int]] = []  # when, by which honest replica, at which height
        self._requests: list[Signed[Request]] = []
        self._events: list[tuple[float, int, _Station, Any]] = []  # time, tie, receiver, message; None: its clock
        self._tie, self._travelling = count(), 0
        for station in self._stations:
            self._set_clock(station)

    @property
    def honest(self) -> list[pbft.Replica | hotstuff.Replica]:
        """The replicas that keep to their protocol."""
        bad = {*self.silent, *self.replaying, *self.equivocating}
        return [station.replica for station in self._stations if station.place not in bad]

    @property
    def messages(self) -> Counter[str]:
        """Messages between replicas, by kind: lost ones count, repetitions by the network do not."""
        return Counter(sent.kind for sent in self.sent)

    @property
    def agreed(self) -> bool:
        """Whether no two honest replicas have executed different blocks at a height."""
        chains: list[list[Any]] = [list(replica.blocks) for replica in self.honest]
        longest = max(chains, key=len, default=[])
        return all(chain == longest[: len(chain)] for chain in chains)

    def submit(self, request: Signed[Request], side: int | None = None) -> None:
        """Send a client's request to every replica; at first to those of one side only, if it is named."""
        self._requests.append(request)
        for station in self._stations:
            if side in (None, station.side):
                self._carry(CLIENT, station, "request", request)

    def run(self, steps: Annotated[int, q.Whole(0, 10**8)] = 10**6) -> bool:
        """Let things happen until the network has healed and nothing is left to do, or for so many steps.

        Whether it became quiet is returned.
        """
        for _ in range(steps):
            is_healed = self.now >= self.heals_at
            if is_healed and not self._travelling and not any(replica.pending for replica in self.honest):
                return True
            if not self._events:
                return False
            time, _, station, message = heapq.heappop(self._events)
            is_healing, self.now = time >= self.heals_at > self.now, time
            if is_healing:
                for request in self._requests:
                    for each in self._stations:
                        self._carry(CLIENT, each, "request", request)
            if message is None:
                self._tick(station)
            else:
                self._travelling -= 1
                self._hear(station, message)
        return False

    def _set_clock(self, station: _Station) -> None:
        replica = station.replica
        station.progress = replica.view, len(replica.blocks)
        patience = self.patience * 2.0 ** min(max(replica.view - replica.settled, 0), 30)
        heapq.heappush(self._events, (self.now + patience, next(self._tie), station, None))

    def _tick(self, station: _Station) -> None:
        if station.progress == (station.replica.view, len(station.replica.blocks)):
            self._send(station, station.replica.timeout())
        self._set_clock(station)

    def _hear(self, station: _Station, message: Any) -> None:
        before, place = len(station.replica.blocks), station.place
        sends = station.replica.receive(message)
        self.executed += [(self.now, place, at) for at in range(before + 1, len(station.replica.blocks) + 1)]
        self._send(station, sends)
        if place in self.replaying and self._random() < 0.5 and len(station.heard) < 100:  # its mischief ends
            station.heard.append(message)
            old = station.heard[int(self._random() * len(station.heard))]
            self._send(station, [(int(self._random() * (self._stations[-1].place + 1)), old)])

    def _send(self, sender: _Station, sends: list[tuple[int, Any]]) -> None:
        if sender.place in self.silent:
            return
        for place, message in sends:
            kind = kind_of(message)
            for station in self._stations:
                has_twins = {sender.place, place} & {*self.equivocating}
                if station.place == place != sender.place and not (has_twins and station.side != sender.side):
                    apart = self.parted and station.side != sender.side
                    arrival = self._carry(sender.place, station, kind, message, apart)
                    self.sent.append(Sent(self.now, arrival, sender.place, place, kind, message))

    def _carry(self, sender: int, station: _Station, kind: str, message: Any, apart: bool = False) -> float | None:
        """Put a message on its way, once or twice, or lose it; return when it arrives first."""
        early = self.now < self.heals_at
        if early and (apart or self._random() < self.loss):
            return None
        arrivals = []
        for _ in range(1 + (self._random() < self.repeat)):
            if self._delays:
                delay = self._delays(sender, station.place, kind)
            else:
                latest = max(self.now, self.heals_at) + self.delay_bound - self.now
                delay = min(self._random() * self.delay_bound * (10 if early else 1), latest)
            arrivals.append(self.now + delay)
            heapq.heappush(self._events, (self.now + delay, next(self._tie), station, message))
            self._travelling += 1
        return min(arrivals)
