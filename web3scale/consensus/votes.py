"""Requests and votes: what clients ask for, what replicas sign, and when votes are a certificate.

A *replica* is named by its place in the list of keys. A *vote* is of one *phase* of a protocol, in one view, for the
block at one height. A *certificate* is a quorum of votes that say the same, by different replicas: it convinces anybody
who knows the keys. A *request* is signed by its client, so nobody can invent one; each is *executed* once. A list of
*sends* pairs messages with receivers: the place of a replica, or the key of a client.

Source: Castro and Liskov (1999), OSDI; Yin et al. (2019), PODC.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nacl.signing import SigningKey

from web3scale.consensus.quorums import max_faults, quorum_size
from web3scale.crypto import public_key, tagged_hash
from web3scale.errors import DomainError
from web3scale.message import M, Signed, digest, message, signed
from web3scale.quantities import validated

Sends = list[tuple[int | bytes, Signed[Any]]]


@message
class Request:
    """An operation that a client wants executed."""

    chain: str
    client: bytes  # public key
    number: int  # tells apart two requests with the same operation
    operation: bytes


@message
class Vote:
    """What one replica says of one block."""

    chain: str
    phase: str
    view: int
    height: int
    block: bytes  # digest of the block; in a checkpoint, of the state
    replica: int


@message
class Reply:
    """One replica's word that a request was executed; f + 1 of them that agree convince its client."""

    chain: str
    request: bytes
    height: int
    state: bytes
    replica: int


Certificate = tuple[Signed[Vote], ...]


@validated
def sign_request(client: SigningKey, chain: str, number: int, operation: bytes) -> Signed[Request]:
    """Ask for an operation: `client` signs it.

    >>> from web3scale.crypto import example_key
    >>> sign_request(example_key("Alice"), "main", 1, b"pay Bob").body.number
    1
    """
    return signed(Request(chain, public_key(client), number, operation), client)


@validated
@dataclass(frozen=True)
class Members:
    """Who votes on a chain: the public keys of its replicas, in order.

    >>> from web3scale.crypto import example_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> members = Members("main", tuple(public_key(key) for key in keys))
    >>> members.faults, members.quorum, members.leader(6)
    (1, 3, 2)
    >>> votes = [signed(Vote("main", "commit", 6, 1, b"block", at), key) for at, key in enumerate(keys)]
    >>> members.certify(tuple(votes[1:]), "commit"), members.certify((*votes[:2], votes[1]), "commit")
    (True, False)
    """

    chain: str
    keys: tuple[bytes, ...]

    @property
    def faults(self) -> int:
        """Byzantine members that are tolerated."""
        return max_faults(len(self.keys))

    @property
    def quorum(self) -> int:
        """Votes that decide."""
        return quorum_size(len(self.keys))

    def leader(self, view: int) -> int:
        """The member whose turn it is: they take turns in their order."""
        return view % len(self.keys)

    def signed(self, message: Signed[M]) -> bool:
        """Whether the member that a message names has signed it, for this chain."""
        body: Any = message.body
        at, chain = getattr(body, "replica", None), getattr(body, "chain", None)
        is_here = type(at) is int and at < len(self.keys) and chain == self.chain
        return is_here and message.holds(type(body), [self.keys[at]])  # type: ignore[index]

    def certify(self, votes: tuple[Signed[Vote], ...], phase: str) -> bool:
        """Whether votes are a certificate: a quorum of different members who say the same, in one phase."""
        return self.agree(votes, phase, self.quorum)

    def agree(self, votes: tuple[Signed[Vote], ...], phase: str, number: int) -> bool:
        """Whether so many votes, of different members, say the same."""
        said = {(v.body.phase, v.body.view, v.body.height, v.body.block) for v in votes}
        distinct = len({v.body.replica for v in votes}) == len(votes) == number
        return distinct and len(said) == 1 and votes[0].body.phase == phase and all(map(self.signed, votes))

    def asked(self, requests: tuple[Signed[Request], ...]) -> bool:
        """Whether clients have signed all the requests, for this chain."""
        return all(r.body.chain == self.chain and r.holds(Request, [r.body.client]) for r in requests)


class Member:
    """What every replica has, whatever its protocol: its key, its blocks, its state, and the requests that wait.

    >>> from web3scale.crypto import example_key
    >>> ann = Member(Members("main", (public_key(example_key("Ann")),)), example_key("Ann"))
    >>> ann.index, ann.ask(sign_request(example_key("Bob"), "main", 1, b"pay")), len(ann.pending)
    (0, [], 1)
    """

    @validated
    def __init__(self, members: Members, key: SigningKey) -> None:
        if public_key(key) not in members.keys:
            raise DomainError("Member: key must be that of a member")
        self.members, self._key, self.index = members, key, members.keys.index(public_key(key))
        self.blocks: list[Any] = []  # executed, from height 1
        self.state = tagged_hash("web3scale/state", b"")  # digest of all blocks: everything else follows from them
        self.pending: dict[bytes, Signed[Request]] = {}  # asked for and not executed, by digest
        self.replies: dict[bytes, Signed[Reply]] = {}  # to what was executed, by digest

    def sign(self, body: Any) -> Signed[Any]:
        """Sign a message."""
        return signed(body, self._key)

    def ask(self, request: Signed[Request]) -> Sends:
        """Remember a request; if it was executed, say so again."""
        name = digest(request.body)
        if name in self.replies:
            return [(request.body.client, self.replies[name])]
        self.pending.setdefault(name, request)
        return []

    def fresh(self, known: Iterable[Any]) -> tuple[Signed[Request], ...]:
        """What waits and is in none of the known blocks."""
        proposed = {digest(request.body) for block in known for request in block.requests}
        return tuple(request for name, request in self.pending.items() if name not in proposed)

    def execute(self, block: Any) -> Sends:
        """Execute the next block: of its requests, those that were not executed before."""
        self.blocks.append(block)
        self.state, sends = tagged_hash("web3scale/state", self.state + digest(block)), []
        for request in block.requests:
            name = digest(request.body)
            self.pending.pop(name, None)
            if name not in self.replies:
                reply = Reply(self.members.chain, name, len(self.blocks), self.state, self.index)
                self.replies[name] = self.sign(reply)
                sends.append((request.body.client, self.replies[name]))
        return sends
