"""A simulated network of replicas, some of them Byzantine.

Until it *heals*, the network delays, loses, repeats and reorders messages, and keeps a *partition* apart; from then on,
the global stabilisation time, every message arrives within the bound on delays. Clients ask every replica, and ask
again when the network heals. A replica's time-out comes when nothing was executed and no view begun for its patience,
which doubles with each view since the last block.

Byzantine replicas have keys of their own and no others. Sections 4.2 and 4.3 of the book; Dwork, Lynch and Stockmeyer
(1988), J. ACM 35: partial synchrony.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Annotated, Any

import numpy as np
from nacl.signing import SigningKey

from web3scale import quantities as q
from web3scale.consensus.votes import Request, Sends, Vote
from web3scale.crypto import public_key
from web3scale.errors import DomainError
from web3scale.message import Signed, signed
from web3scale.quantities import validated

Seed = Annotated[int, q.Whole(0)]
Delay = Callable[[int, int, str], float]  # seconds, of sender, receiver and kind of message


@dataclass(frozen=True)
class Sent:
    """One message on its way; it never arrives if `arrival_s` is None."""

    time_s: float
    arrival_s: float | None
    sender: int
    receiver: int | bytes
    kind: str
    message: Signed[Any]


def kind_of(message: Signed[Any]) -> str:
    """Return the kind of a `message`: of a vote, its phase; else the name of its class.

    >>> kind_of(Signed(Vote("main", "commit", 0, 1, b"block", 0), ()))
    'commit'
    """
    body = message.body
    return body.phase if type(body) is Vote else type(body).__name__


class Network:
    """Replicas and what travels between them. Those that are not `Byzantine` count as honest.

    Until `heals_at`, in seconds, delays are up to ten times the `delay_bound`, a share of the messages is lost, and
    nothing passes between the groups of a `partition`. A share is repeated throughout. `delays` gives each delay
    instead.

    >>> from web3scale.consensus.pbft import Replica
    >>> from web3scale.consensus.votes import Members, sign_request
    >>> from web3scale.crypto import example_key, public_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> members = Members("main", tuple(public_key(key) for key in keys))
    >>> network = Network([Replica(members, key) for key in keys], seed=1)
    >>> network.submit(sign_request(example_key("Eve"), "main", 1, b"pay"))
    >>> network.run()
    True
    >>> dict(network.messages), network.messages.total()
    ({'PrePrepare': 3, 'prepare': 9, 'commit': 12}, 24)
    """

    @validated
    def __init__(
        self,
        replicas: Sequence[Any],
        *,
        seed: Seed,
        delay_bound: q.One[q.PositiveSeconds] = 1.0,
        heals_at: q.One[q.Seconds] = 0.0,
        loss: q.One[q.ShareBelowOne] = 0.0,
        repeat: q.One[q.ShareBelowOne] = 0.0,
        partition: tuple[tuple[int, ...], ...] = (),
        patience: q.One[q.PositiveSeconds] = 20.0,
        delays: Delay | None = None,
    ) -> None:
        self.replicas, self._random = tuple(replicas), np.random.default_rng(seed).random
        self.delay_bound, self.heals_at, self.loss, self.repeat = delay_bound, heals_at, loss, repeat
        self.patience, self._delays = patience, delays
        self._group = {at: number for number, group in enumerate(partition) for at in group}
        self.now = 0.0
        self.sent: list[Sent] = []
        self._events: list[tuple[float, int, int, Any]] = []  # time, tie, replica, message; None: its clock
        self._tie, self._travelling = count(), 0
        self._requests: list[Signed[Request]] = []
        self._seen: dict[int, tuple[int, int]] = {}
        for at in range(len(self.replicas)):
            self._set_clock(at)

    @property
    def honest(self) -> list[Any]:
        """The replicas that keep to their protocol."""
        return [replica for replica in self.replicas if not isinstance(replica, Byzantine)]

    @property
    def messages(self) -> Counter[str]:
        """Messages between different replicas, by kind: lost ones count, repetitions by the network do not."""
        return Counter(sent.kind for sent in self.sent if type(sent.receiver) is int)

    @property
    def agreed(self) -> bool:
        """Whether no two honest replicas have executed different blocks at a height."""
        chains = [replica.blocks for replica in self.honest]
        longest: Sequence[Any] = max(chains, key=len, default=[])
        return all(chain == longest[: len(chain)] for chain in chains)

    def submit(self, request: Signed[Request]) -> None:
        """Send a client's request to every replica."""
        self._requests.append(request)
        self._ask(request)

    @validated
    def run(self, steps: Annotated[int, q.Whole(0, 10**8)] = 10**6) -> bool:
        """Let things happen until the network has healed and nothing is left to do, or for so many steps.

        Whether it became quiet is returned.
        """
        for _ in range(steps):
            is_healed = self.now >= self.heals_at
            if is_healed and not self._travelling and not any(replica.waiting for replica in self.honest):
                return True
            time, _, at, message = heapq.heappop(self._events)
            if time >= self.heals_at > self.now:
                for request in self._requests:
                    self._ask(request, self.heals_at)
            self.now = time
            if message is None:
                self._tick(at)
            else:
                self._travelling -= 1
                self._send(at, self.replicas[at].receive(message))
        return False

    def _set_clock(self, at: int) -> None:
        replica = self.replicas[at]
        self._seen[at] = replica.view, len(replica.blocks)
        patience = self.patience * 2.0 ** min(max(replica.view - replica.settled, 0), 30)
        heapq.heappush(self._events, (self.now + patience, next(self._tie), at, None))

    def _tick(self, at: int) -> None:
        replica = self.replicas[at]
        if self._seen[at] == (replica.view, len(replica.blocks)):
            self._send(at, replica.timeout())
        self._set_clock(at)

    def _ask(self, request: Signed[Request], time: float = 0.0) -> None:
        for at in range(len(self.replicas)):
            self._carry(max(time, self.now), -1, at, "Request", request)

    def _send(self, sender: int, sends: Sends) -> None:
        for receiver, message in sends:
            kind = kind_of(message)
            arrival = self._carry(self.now, sender, receiver, kind, message) if type(receiver) is int else self.now
            self.sent.append(Sent(self.now, arrival, sender, receiver, kind, message))

    def _carry(self, time: float, sender: int, receiver: int, kind: str, message: Signed[Any]) -> float | None:
        """Put a message on its way, once or twice, or lose it; return when it arrives first."""
        early = time < self.heals_at
        apart = sender >= 0 and self._group.get(sender) != self._group.get(receiver)
        if early and (apart or self._random() < self.loss):
            return None
        arrivals = []
        for _ in range(1 + (self.repeat > 0 and self._random() < self.repeat)):
            bound = self.delay_bound * (10 if early else 1)
            delay = self._delays(sender, receiver, kind) if self._delays else self._random() * bound
            arrival = (
                min(time + delay, max(time, self.heals_at) + self.delay_bound) if not self._delays else time + delay
            )
            arrivals.append(arrival)
            heapq.heappush(self._events, (arrival, next(self._tie), receiver, message))
            self._travelling += 1
        return min(arrivals)


SILENT, TWO_FACED, REPLAYING, FORGING = "silent", "two-faced", "replaying", "forging"
PRANKS = 50  # extra messages of one Byzantine replica: its mischief ends, so that a run can become quiet


class Byzantine:
    """A replica that does not keep to its protocol. What it does well or badly is done by honest `faces` inside it.

    A *silent* one sends nothing. A *two-faced* one has two faces with one key, and each talks to one of two `sides`, so
    that it proposes two blocks and votes for both; `plot`, a record shared by several such, tells them which face of
    another spoke. A *replaying* one adds old messages, anybody's; a *forging* one adds changed ones, and signs them
    with its own key whosever they are.

    >>> from web3scale.consensus.pbft import Replica
    >>> from web3scale.consensus.votes import Members
    >>> from web3scale.crypto import example_key, public_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> members = Members("main", tuple(public_key(key) for key in keys))
    >>> network = Network([Byzantine("silent", keys[0], [Replica(members, keys[0])], seed=1)]
    ...     + [Replica(members, key) for key in keys[1:]], seed=1)
    >>> from web3scale.consensus.votes import sign_request
    >>> network.submit(sign_request(example_key("Eve"), "main", 1, b"pay"))
    >>> network.run(), network.agreed, [replica.view for replica in network.honest]
    (True, True, [1, 1, 1])
    """

    @validated
    def __init__(
        self,
        behaviour: str,
        key: SigningKey,
        faces: Sequence[Any],
        *,
        seed: Seed,
        sides: tuple[tuple[int, ...], ...] = (),
        plot: dict[int, tuple[Signed[Any], int]] | None = None,
    ) -> None:
        if behaviour not in (SILENT, TWO_FACED, REPLAYING, FORGING) or len(faces) != 1 + (behaviour == TWO_FACED):
            raise DomainError(f"Byzantine: behaviour must be known, with a face or two, got {behaviour}")
        self.behaviour, self._key, self.faces, self._sides = behaviour, key, tuple(faces), sides
        self._plot = {} if plot is None else plot
        self._rng, self._pranks = np.random.default_rng(seed), 0
        self._heard: list[Signed[Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["faces"][0], name)  # its view and the like

    def receive(self, message: Any) -> Sends:
        """Take a message."""
        if self.behaviour == SILENT:
            self.faces[0].receive(message)
            return []
        if self.behaviour != TWO_FACED:
            return self.faces[0].receive(message) + self._prank(message)
        if type(message.body) is Request:
            own = replace(message.body, client=public_key(self._key), number=0)  # so that the blocks differ
            first, second = self.faces
            return self._as(0, first.receive(message)) + self._as(
                1, second.receive(signed(own, self._key)) + second.receive(message)
            )
        at = self._plot[id(message)][1] if id(message) in self._plot else int(message.body.replica in self._sides[1])
        return self._as(at, self.faces[at].receive(message))

    def timeout(self) -> Sends:
        """Take a time-out."""
        sends = [send for at, face in enumerate(self.faces) for send in self._as(at, face.timeout())]
        return [] if self.behaviour == SILENT else sends

    def _as(self, at: int, sends: Sends) -> Sends:
        """What one face sends, to its side and to fellow plotters only."""
        if self.behaviour != TWO_FACED:
            return sends
        self._plot |= {id(message): (message, at) for _, message in sends}
        other = self._sides[1 - at]
        return [(receiver, message) for receiver, message in sends if receiver not in other]

    def _prank(self, message: Signed[Any]) -> Sends:
        self._heard.append(message)
        if self._pranks >= PRANKS or self._rng.random() < 0.5:
            return []
        self._pranks += 1
        old = self._heard[self._rng.integers(len(self._heard))]
        receiver = int(self._rng.integers(len(self.faces[0].members.keys)))
        if self.behaviour == FORGING:
            names = [name for name, value in vars(old.body).items() if type(value) in (int, bytes)]
            name = names[self._rng.integers(len(names))]
            bad = int(self._rng.integers(5)) if type(getattr(old.body, name)) is int else self._rng.bytes(32)
            body = replace(old.body, **{name: bad})
            old = signed(body, self._key) if self._rng.random() < 0.5 else Signed(body, old.signatures)
        return [(receiver, old)] if receiver != self.faces[0].member.index else []
