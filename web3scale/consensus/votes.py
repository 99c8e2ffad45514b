"""Votes: what clients ask for, what replicas say, and when votes are a certificate.

A *replica* is named by its place in the list of keys. A *vote* is for the block at one height, in one *phase* and view
of a protocol. A *certificate* is one vote with the signatures of a quorum: it convinces anybody who knows the keys. A
*request* is signed by its client, so nobody can invent one, and it is executed once. *Sends* pair a message with the
replica that is to receive it.

Sources: Castro and Liskov (1999), OSDI; Yin et al. (2019), PODC.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any, Generic

from nacl.signing import SigningKey

from web3scale.consensus.quorums import max_faults, smallest_quorum
from web3scale.crypto import public_key, tagged_hash
from web3scale.errors import DomainError, shown
from web3scale.message import M, Signed, digest, is_message, message, signed
from web3scale.quantities import fits, validated

MOST_WAITING = 1000  # requests that a replica keeps: more could fill its memory, as anybody may send them


@message
class Request:
    """An operation that a client wants executed."""

    chain: str
    client: bytes  # public key
    number: int  # tells apart two requests with the same operation
    operation: bytes


@validated
def sign_request(client: SigningKey, chain: str, number: int, operation: bytes) -> Signed[Request]:
    """Ask for an operation: `client` signs it.

    >>> from web3scale.crypto import example_key
    >>> sign_request(example_key("Alice"), "main", 1, b"pay Bob").body.number
    1
    """
    return signed(Request(chain, public_key(client), number, operation), client)


@message
class Vote:
    """What replicas say of a block."""

    phase: str
    view: int
    height: int
    block: bytes  # digest of the block; in a checkpoint, of the state


@message
class Statement(Generic[M]):
    """What a replica signs: a message, `body`, on one chain.

    >>> vote = Vote("commit", 6, 1, b"block")
    >>> digest(Statement("main", vote)) == digest(Statement("other", vote))
    False
    """

    chain: str
    body: M


@message
class Said(Generic[M]):
    """A message, `body`, with the replicas that have signed it, and their signatures on its statement."""

    body: M
    replicas: tuple[int, ...]
    signatures: tuple[bytes, ...]


@message
class Members:
    """Who votes on a chain: the public keys of its replicas, in order.

    >>> from web3scale.crypto import example_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> members = Members("main", tuple(public_key(key) for key in keys))
    >>> members.faults, members.quorum, members.leader(6)
    (1, 3, 2)
    >>> votes = [Member(members, key).sign(Vote("commit", 6, 1, b"block")) for key in keys]
    >>> members.holds(certificate(votes[1:]), Vote, 3), members.holds(certificate([*votes[:2], votes[1]]), Vote, 3)
    (True, False)
    """

    chain: str
    keys: tuple[bytes, ...]

    @cached_property
    def faults(self) -> int:
        """Byzantine members that are tolerated."""
        return max_faults(len(self.keys))

    @cached_property
    def quorum(self) -> int:
        """Votes that decide."""
        return smallest_quorum(len(self.keys), self.faults)

    def leader(self, view: int) -> int:
        """The member whose turn it is: they take turns in their order."""
        if not fits(view, int):
            raise DomainError(f"Members.leader: view must be a natural number, got {shown(view)}")
        return view % len(self.keys)

    def holds(self, said: Any, kind: type, number: int = 1) -> bool:
        """Whether a message is of this kind, and signed by so many different members."""
        return is_message(said, Said) and type(said.body) is kind and len(said.replicas) == number and _hold(self, said)

    def _asked(self, requests: Iterable[Signed[Request]]) -> bool:
        """Whether clients have signed all these requests, for this chain."""
        return all(request.body.chain == self.chain and _is_asked(request) for request in requests)


@lru_cache(maxsize=1 << 14)  # replicas in one process receive the same messages: each signature is checked once
def _hold(members: Members, said: Said[Any]) -> bool:
    statement = Signed(Statement(members.chain, said.body), said.signatures)
    known = all(at < len(members.keys) for at in said.replicas)
    return known and statement.holds(Statement, [members.keys[at] for at in said.replicas])


@lru_cache(maxsize=1 << 14)
def _is_asked(request: Signed[Request]) -> bool:
    return request.holds(Request, [request.body.client])


@validated
def certificate(votes: Sequence[Said[Vote]]) -> Said[Vote]:
    """Put the signatures of `votes` that say the same under one of them.

    >>> certificate([Said(Vote("commit", 6, 1, b"block"), (at,), (b"",)) for at in (2, 3)]).replicas
    (2, 3)
    """
    if len({vote.body for vote in votes}) != 1:
        raise DomainError("certificate: votes must say the same")
    replicas = tuple(at for vote in votes for at in vote.replicas)
    return Said(votes[0].body, replicas, tuple(mark for vote in votes for mark in vote.signatures))


class Member:
    """What every replica has, whatever its protocol: its key, its blocks, its state, and the requests that wait.

    >>> from web3scale.crypto import example_key
    >>> ann = Member(Members("main", (public_key(example_key("Ann")),)), example_key("Ann"))
    >>> ann.sign(Vote("commit", 0, 1, b"block")).replicas, ann.blocks
    ((0,), [])
    """

    @validated
    def __init__(self, members: Members, key: SigningKey) -> None:
        if public_key(key) not in members.keys:
            raise DomainError("Member: key must be that of a member")
        self.members, self._key, self.index = members, key, members.keys.index(public_key(key))
        self.blocks: list[Any] = []  # executed, from height 1
        self.state = tagged_hash("web3scale/state", b"")  # digest of all blocks: everything else follows from them
        self.pending: dict[bytes, Signed[Request]] = {}  # asked for and not executed, by digest
        self._done: set[bytes] = set()

    def sign(self, body: M) -> Said[M]:
        """Sign a message."""
        return Said(body, (self.index,), signed(Statement(self.members.chain, body), self._key).signatures)

    def _others(self, message: Any) -> list[tuple[int, Any]]:
        return [(at, message) for at in range(len(self.members.keys)) if at != self.index]

    def _hears(self, message: Any) -> bool:
        """Whether another member has signed a message."""
        whole = is_message(message, Said) and message.replicas != (self.index,)
        return whole and self.members.holds(message, type(message.body))

    def _ask(self, request: Signed[Any]) -> bool:
        """Remember a request that is new and signed, as long as there is room."""
        if type(request.body) is not Request or not self.members._asked([request]) or len(self.pending) >= MOST_WAITING:
            return False
        if (name := digest(request.body)) not in self._done:
            self.pending.setdefault(name, request)
        return name in self.pending

    def _fresh(self, blocks: Iterable[Any]) -> tuple[Signed[Request], ...]:
        """What waits and is in none of these blocks."""
        proposed = {digest(request.body) for block in blocks for request in block.requests}
        return tuple(request for name, request in self.pending.items() if name not in proposed)

    def _execute(self, block: Any) -> None:
        """Execute the next block: of its requests, those that were not executed before."""
        self.blocks.append(block)
        self.state = tagged_hash("web3scale/state", self.state + digest(block))
        for name in map(digest, (request.body for request in block.requests)):
            self.pending.pop(name, None)
            self._done.add(name)
