"""Certificates: a committee signs what its shard has done, and no other shard has to trust whoever brings the news.

In chapter 3 the shards take a coordinator's word. Here anybody may carry a transfer. A shard acts on what another one
has done only if it is shown a *certificate*: that *decision*, signed by a *quorum* of the other shard's committee of
this epoch, and checked before anything is executed. A decision says that the home of a transfer has *locked*,
*committed* or *aborted* it, or that another shard has *prepared*, *refused*, *paid* or *dropped* it.

A shard remembers what it has said, and is for or against a transfer once and for all. So a message that comes twice, or
too late, pays nothing twice; and what was aborted has to be signed anew, with another fee, say. As in chapter 3, a
transfer waits for a shard that does not answer.

Of the n members of a committee, f < n/3 may do anything. Two quorums have at least 2q − n ≥ f + 1 members in common: so
many have signed both of two certificates that contradict each other. Sources: Al-Bassam et al. (2018), NDSS
(Chainspace); Sonnino et al. (2020), IEEE EuroS&P (replays across shards).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from nacl.signing import SigningKey

from web3scale.consensus.committees import Seats, draw_message, elect
from web3scale.consensus.votes import Members, Said, Statement
from web3scale.crypto import public_key
from web3scale.errors import Rejected, refusal_of, require
from web3scale.layers.crossshard import Shard, ShardedLedger
from web3scale.layers.ledger import Transfer
from web3scale.message import Signed, digest, message, signed
from web3scale.quantities import validated

LOCKED, COMMITTED, ABORTED = "locked", "committed", "aborted"  # what the home of a transfer says
PREPARED, REFUSED, PAID, DROPPED = "prepared", "refused", "paid", "dropped"  # what the other shards say
_SIDE = {COMMITTED: 1, PREPARED: 1, PAID: 1, ABORTED: -1, REFUSED: -1}  # for the transfer or against it


@validated
@message
class Decision:
    """What one shard has done with one transfer; the members of its committee sign it, on their chain."""

    shard: int
    epoch: int
    transfer: bytes  # digest of the transfer with its signature
    verdict: str

    def contradicts(self, other: "Decision") -> bool:
        """Whether a shard is for a transfer here and against it there, in the same epoch."""
        opposed = _SIDE.get(self.verdict, 0) * _SIDE.get(other.verdict, 0) < 0
        return opposed and replace(other, verdict=self.verdict) == self


@validated
def certify(committee: Members, decision: Decision, keys: Sequence[SigningKey]) -> Said[Decision]:
    """Sign a decision with the first keys that make a quorum; an honest member signs `CertifiedLedger.decision` only.

    Keys that are none of the committee's sign nothing.

    >>> from web3scale.crypto import example_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> committee = Members("main", tuple(public_key(key) for key in keys))
    >>> said = certify(committee, Decision(0, 1, bytes(32), PREPARED), keys)
    >>> said.replicas, committee.holds(said, Decision, committee.quorum)
    ((0, 1, 2), True)
    """
    held = {public_key(key): key for key in keys}
    places = [place for place, public in enumerate(committee.keys) if public in held][: committee.quorum]
    statement = Statement(committee.chain, decision)
    marks = [signed(statement, held[committee.keys[place]]).signatures[0] for place in places]
    return Said(decision, tuple(places), tuple(marks))


@validated
def double_signers(committee: Members, first: Said[Decision], second: Said[Decision]) -> frozenset[bytes]:
    """Return the keys of the members who signed both of two certificates that contradict each other.

    Nobody, if they do not, or if one of them is not signed by those whom it names.

    >>> from web3scale.crypto import example_key
    >>> ann, ben, cem, dan = keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> committee = Members("main", tuple(public_key(key) for key in keys))
    >>> for_it, against = (Decision(0, 1, bytes(32), verdict) for verdict in (COMMITTED, ABORTED))
    >>> said = certify(committee, for_it, [ann, ben, cem]), certify(committee, against, [ben, cem, dan])
    >>> double_signers(committee, *said) == {public_key(ben), public_key(cem)}
    True
    """
    both = first, second
    if not all(committee.holds(said, Decision, len(said.replicas)) for said in both):
        return frozenset()
    if not first.body.contradicts(second.body):
        return frozenset()
    return frozenset(committee.keys[place] for place in {*first.replicas} & {*second.replicas})


@validated
class CertifiedLedger:
    """The shards of a `ledger`, which believe certificates instead of coordinators: a stranger may carry a transfer.

    Each epoch draws a committee of so many seats for each shard from the registered `validators`, by a seed and their
    proofs for the `draw_message` of use "committee". The chain that keeps the register calls `rotate`, with every proof
    that came in time: whoever could leave some out would choose the committees. The ledger must have nothing under way
    and be carried by nobody else.

    >>> from web3scale.consensus.vrf import prove
    >>> from web3scale.crypto import example_key
    >>> from web3scale.layers.ledger import sign_transfer
    >>> alice, bob = example_key("Alice"), public_key(example_key("Bob"))
    >>> keys = {public_key(key): key for key in (example_key(f"validator {i}") for i in range(60))}
    >>> draw = draw_message("main", "committee", 1, bytes(32))
    >>> shards = ShardedLedger("main", 4, {public_key(alice): 10, bob: 0})
    >>> ledger = CertifiedLedger(shards, list(keys), 4, bytes(32), {k: prove(keys[k], draw) for k in keys})
    >>> list(ledger.steps(sign_transfer(alice, "main", {bob: 7}, fee=1, nonce=1), keys))
    ['locked at 0', 'prepared at 3', 'committed at 0', 'paid at 3']
    >>> shards.balance(bob), shards.in_flight, shards.total
    (7, 0, 10)
    """

    def __init__(
        self,
        ledger: ShardedLedger,
        validators: Collection[bytes],
        committee_size: Seats,
        seed: bytes,
        proofs: Mapping[bytes, bytes],
    ) -> None:
        idle = not any(shard.locked or shard.prepared or shard.decided for shard in ledger.shards)
        require(idle, "CertifiedLedger: no transfer may be under way")
        self.ledger, self.chain = ledger, ledger.shards[0].ledger.chain
        self.validators, self.committee_size, self.epoch = frozenset(validators), committee_size, 0
        self._said: list[dict[bytes, str]] = [{} for _ in ledger.shards]
        self.rotate(seed, proofs)
        for shard in ledger.shards:
            shard._fence(shard.epoch + 1)  # coordinators of chapter 3 that sleep may not wake

    def rotate(self, seed: bytes, proofs: Mapping[bytes, bytes]) -> None:
        """Begin the next epoch with new committees; certificates of the one before are worth nothing from now on."""
        known = self.validators.issuperset(proofs)
        require(known, "rotate: proofs must be of validators registered before the seed was known")
        draw = draw_message(self.chain, "committee", self.epoch + 1, seed)
        drawn = elect(draw, proofs, self.committee_size, len(self.ledger.shards))
        self.epoch += 1
        self.committees = tuple(Members(self.chain, members) for members in drawn)

    def decision(self, at: int, transfer: Signed[Transfer]) -> Decision:
        """What an honest member of a shard's committee signs of a transfer: where the shard stands now."""
        require(at < len(self._said), "decision: shard must exist", shard=at)
        if (verdict := self._said[at].get(digest(transfer))) is None:
            raise Rejected("decision: shard must have seen the transfer", shard=at)
        return Decision(at, self.epoch, digest(transfer), verdict)

    def lock(self, transfer: Signed[Transfer]) -> None:
        """Hold the sender's account at home: its signature is enough."""
        home, others = self._places(transfer)
        require(bool(others), "lock: transfer must touch another shard")
        self._expect(home, transfer, None)
        self._write(home, LOCKED, Shard._lock, transfer, self.ledger.touched(transfer.body)[home])

    def prepare(self, at: int, transfer: Signed[Transfer], locked: Said[Decision]) -> str:
        """Promise to pay the recipients of another shard, or refuse to, and say which: home has locked the sender."""
        home, _ = self._places(transfer, at)
        self._expect(at, transfer, None)
        self._check(transfer, LOCKED, [home], [locked])
        payments = self.ledger.touched(transfer.body)[at]
        if refusal_of(self._write, at, PREPARED, Shard._prepare, transfer, payments):
            self._said[at][digest(transfer)] = REFUSED
        return self._said[at][digest(transfer)]

    def decide(self, transfer: Signed[Transfer], prepared: Sequence[Said[Decision]]) -> None:
        """Charge the sender at home: all others have promised, in the order in which the transfer touches them."""
        home, others = self._places(transfer)
        self._expect(home, transfer, LOCKED)
        self._check(transfer, PREPARED, others, prepared)
        self._write(home, COMMITTED, Shard._decide, transfer, self.ledger.touched(transfer.body)[home])

    def abort(self, at: int, transfer: Signed[Transfer], refused: Said[Decision]) -> None:
        """Release the sender at home: one of the others has refused."""
        home, _ = self._places(transfer, at)
        self._expect(home, transfer, LOCKED)
        self._check(transfer, REFUSED, [at], [refused])
        self._write(home, ABORTED, Shard._abort, transfer)

    def follow(self, at: int, transfer: Signed[Transfer], decided: Said[Decision]) -> None:
        """Pay the recipients of another shard, or drop the promise: home has committed or aborted."""
        home, _ = self._places(transfer, at)
        self._expect(at, transfer, PREPARED)
        verdict = COMMITTED if decided.body.verdict == COMMITTED else ABORTED
        self._check(transfer, verdict, [home], [decided])
        said, step = (PAID, Shard._commit) if verdict == COMMITTED else (DROPPED, Shard._abort)
        self._write(at, said, step, transfer)

    def steps(self, transfer: Signed[Transfer], keys: Mapping[bytes, SigningKey]) -> Iterator[str]:
        """Carry a transfer as anybody can, with what the members whose `keys` are given sign; yield after each step."""
        home, others = self._places(transfer)

        def shown(at: int) -> Said[Decision]:
            return certify(self.committees[at], self.decision(at, transfer), list(keys.values()))

        self.lock(transfer)
        yield f"{LOCKED} at {home}"
        for at in others:
            yield f"{self.prepare(at, transfer, shown(home))} at {at}"
        refusing = [at for at in others if self.decision(at, transfer).verdict == REFUSED]
        if refusing:
            self.abort(refusing[0], transfer, shown(refusing[0]))
        else:
            self.decide(transfer, [shown(at) for at in others])
        yield f"{ABORTED if refusing else COMMITTED} at {home}"
        for at in others:
            if at not in refusing:
                self.follow(at, transfer, shown(home))
                yield f"{DROPPED if refusing else PAID} at {at}"

    def _places(self, transfer: Signed[Transfer], at: int | None = None) -> tuple[int, list[int]]:
        home, *others = self.ledger.touched(transfer.body)
        require(at is None or at in others, "transfer: it must pay on that shard, away from home", shard=at)
        return home, others

    def _expect(self, at: int, transfer: Signed[Transfer], verdict: str | None) -> None:
        said = self._said[at].get(digest(transfer))
        require(said == verdict, "transfer: it must be due for this step", shard=at, said=said, due=verdict)

    def _check(
        self, transfer: Signed[Transfer], verdict: str, places: list[int], certificates: Sequence[Said[Decision]]
    ) -> None:
        """Check that there is one certificate of each place, which says this and nothing else."""
        given = len(certificates)
        require(given == len(places), "certificate: there must be one of each shard", given=given)
        for at, certificate in zip(places, certificates, strict=True):
            wanted, committee = Decision(at, self.epoch, digest(transfer), verdict), self.committees[at]
            for name, value in vars(wanted).items():
                got = vars(certificate.body)[name]
                require(got == value, f"certificate: {name} must be the one in question", wanted=value, **{name: got})
            votes = len(certificate.replicas)
            require(
                votes == committee.quorum, "certificate: voters must be a quorum", votes=votes, needed=committee.quorum
            )
            holds = committee.holds(certificate, Decision, votes)
            require(holds, "certificate: each voter must be a member, and sign exactly this, once")

    def _write(self, at: int, verdict: str, step: Callable[..., None], *arguments: object) -> None:
        """Let a shard take a step, and remember it."""
        step(self.ledger.shards[at], self.ledger.shards[at].epoch, *arguments)
        self._said[at][digest(arguments[0])] = verdict
