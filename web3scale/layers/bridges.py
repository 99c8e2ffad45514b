"""Sidechains and bridges: money locked on one chain stands behind money in circulation on another. Chapter 3.

A *bridge* has an account on both chains, and no key signs for either: the *escrow* on the main chain holds what is
locked, the *reserve* on the sidechain all that is not in circulation. A *crossing* is a payment into one of the two: a
*deposit* into the escrow or a *withdrawal* into the reserve. A *signer* *attests* a crossing once as many blocks as the
*finality depth* stand on top. A *proof*, a crossing with enough attestations, pays the same amount out of the other
account. So *minting* pays from the reserve and *burning* into it: money only moves, and no chain's sum ever changes.

Definition 3.3 and Algorithm 3.3. Sources: Zamyatin et al. (2021), Financial Cryptography; Rootstock (2018), genesis.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import sympy as sp
from nacl.signing import SigningKey

from web3scale import quantities as q
from web3scale.crypto import public_key, sign, verify_signature
from web3scale.errors import require
from web3scale.formula import formula
from web3scale.layers.ledger import Ledger, Receipt, contract_account
from web3scale.message import digest, message
from web3scale.quantities import checked, finite, validated

DEPOSIT, WITHDRAWAL = "deposit", "withdrawal"
Throughput = q.PositiveRate
Signers = Annotated[int, q.Whole(1, 10**9)]  # beyond, the tail of a binomial is not computed to all digits
Keys = Annotated[int, q.Whole(1, 10**4)]  # the sum over hands takes time in the square of it


@message
class Crossing:
    """One passage of money from a chain to another; what signers sign is its `digest`."""

    direction: str  # DEPOSIT or WITHDRAWAL
    source: str  # the chain on which the money was paid into the bridge's account
    target: str  # the chain on which it is to be paid out
    amount: int  # base units
    recipient: bytes  # who receives on the target chain: the key that paid on the source chain
    nonce: int  # its number among the crossings of its direction, from 1


@message
class Attestation:
    """One signer's word for a crossing: a public key, and the signature that should be its on the crossing's digest.

    >>> key = SigningKey(bytes(32))
    >>> sign_crossing(key, Crossing(DEPOSIT, "main", "side", 5, bytes(32), 1)).signer == public_key(key)
    True
    """

    signer: bytes
    signature: bytes


@message
class Proof:
    """A crossing, and the attestations that are shown for it."""

    crossing: Crossing
    attestations: tuple[Attestation, ...]


@validated
def sign_crossing(key: SigningKey, crossing: Crossing) -> Attestation:
    """Sign a crossing without looking at any chain: what a faulty signer does. An honest one calls `Bridge.attest`.

    >>> len(sign_crossing(SigningKey(bytes(32)), Crossing(DEPOSIT, "main", "side", 5, bytes(32), 1)).signature)
    64
    """
    return Attestation(public_key(key), sign(key, digest(crossing)))


@validated
def default_threshold(signers: q.Positive) -> int:
    """Signatures that a bridge asks for unless told otherwise: ⌊2n/3⌋ + 1 of n. Proposition 3.5 of the book.

    >>> [default_threshold(n) for n in (1, 4, 9, 19)]
    [1, 3, 7, 13]
    """
    return 2 * signers // 3 + 1


@dataclass
class _Way:
    """One direction of a bridge, which has an account on the `source` chain and another on the `target` chain."""

    direction: str
    source: Ledger
    into: bytes  # the account that a crossing is paid into
    target: Ledger
    out_of: bytes  # the account that it is paid out of
    read: int = 0  # blocks of the source chain that were looked at
    found: dict[Crossing, int] = field(default_factory=dict)  # each crossing in them, and the height of its block
    used: set[int] = field(default_factory=set)  # the nonces that were paid out

    def takes(self, receipt: Receipt) -> bool:
        return receipt.accepted and self.into in dict(receipt.transfer.body.payments)

    def crossings(self) -> dict[Crossing, int]:
        """Look at the new blocks: every accepted payment into the account is a crossing, however it came there."""
        chains = self.source.chain, self.target.chain
        for block in self.source.blocks[self.read :]:
            for order in (receipt.transfer.body for receipt in block.receipts if self.takes(receipt)):
                amount, nonce = dict(order.payments)[self.into], len(self.found) + 1
                self.found[Crossing(self.direction, *chains, amount, order.sender, nonce)] = block.height
        self.read = self.source.height
        return self.found


@validated
class Bridge:
    """A main chain, a sidechain whose money all comes from there, and the signers between them.

    The bridge makes the sidechain, `side`, with as much money as there is on the main chain, all of it in the reserve.
    Of the signers, `faulty` may do anything; a proof needs `threshold` of them, by default `default_threshold`.

    >>> from web3scale.layers.ledger import sign_transfer
    >>> alice, *signers = [SigningKey(bytes([i] * 32)) for i in range(5)]
    >>> main = Ledger("main", {public_key(alice): 10})
    >>> bridge = Bridge(main, "side", [public_key(s) for s in signers], faulty=1, finality_depth=0)
    >>> _ = main.apply(sign_transfer(alice, "main", {bridge.escrow: 7}, fee=0, nonce=1))
    >>> undone = bridge.reorganise_main(1)
    >>> _ = main.apply(sign_transfer(alice, "main", {bridge.escrow: 7}, fee=0, nonce=2))
    >>> prove = lambda crossing: Proof(crossing, tuple(bridge.attest(s, crossing) for s in signers[:3]))
    >>> bridge.mint(prove(*bridge.deposits))
    >>> _ = bridge.side.apply(sign_transfer(alice, "side", {bridge.reserve: 2}, fee=0, nonce=1))
    >>> bridge.release(prove(*bridge.withdrawals))
    >>> bridge.locked, bridge.minted, main.total, bridge.side.total
    (5, 5, 10, 10)
    """

    def __init__(
        self,
        main: Ledger,
        side_chain: str,
        signers: Sequence[bytes],
        *,
        faulty: int,
        finality_depth: int,
        threshold: int | None = None,
    ) -> None:
        count = len(signers)
        are_keys = 0 < count == len(set(signers)) and all(len(signer) == 32 for signer in signers)
        require(are_keys, "Bridge: signers must be one or more keys, all different", signers=count)
        wanted = default_threshold(count) if threshold is None else threshold
        require(faulty < wanted <= count - faulty, "Bridge: t must lie in f + 1 ... n - f", n=count, f=faulty, t=wanted)
        require(side_chain not in main._family, "Bridge: no two chains may have one name", side_chain=side_chain)
        self.signers, self.faulty, self.finality_depth, self.threshold = tuple(signers), faulty, finality_depth, wanted
        self.main, self.escrow = main, main._contract(f"bridge to {side_chain}")
        self.side = Ledger(side_chain, {contract_account(side_chain, "bridge"): main.total})
        self.reserve = self.side._contract("bridge")
        main._family.add(side_chain)
        self.side._family, self.side._keeps = main._family, main._keeps  # whoever can have money there can have it here
        self._there = _Way(DEPOSIT, main, self.escrow, self.side, self.reserve)
        self._back = _Way(WITHDRAWAL, self.side, self.reserve, main, self.escrow)

    @property
    def locked(self) -> int:
        """What the escrow holds, base units."""
        return self.main.balance(self.escrow)

    @property
    def minted(self) -> int:
        """What circulates on the sidechain, in whatever account: all but the reserve, base units."""
        return self.side.total - self.side.balance(self.reserve)

    @property
    def deposits(self) -> dict[Crossing, int]:
        """The deposits in the main chain, in order, each with the height of its block."""
        return dict(self._there.crossings())

    @property
    def withdrawals(self) -> dict[Crossing, int]:
        """The withdrawals in the sidechain, in order, each with the height of its block."""
        return dict(self._back.crossings())

    def attest(self, key: SigningKey, crossing: Crossing) -> Attestation:
        """Sign a crossing as an honest signer does: only if its chain holds it, with enough blocks on top."""
        require(public_key(key) in self.signers, "attest: key must be a signer's", signer=public_key(key))
        way = self._there if crossing.direction == DEPOSIT else self._back
        height = way.crossings().get(crossing, 0)
        require(height > 0, "attest: crossing must be in the chain", source=crossing.source, nonce=crossing.nonce)
        depth = way.source.height - height
        require(depth >= self.finality_depth, "attest: blocks on top must reach the finality depth", depth=depth)
        return sign_crossing(key, crossing)

    def mint(self, proof: Proof) -> None:
        """Pay from the reserve for a deposit that is proved, once."""
        self._pay(self._there, proof)

    def release(self, proof: Proof) -> None:
        """Pay from the escrow for a withdrawal that is proved, once."""
        self._pay(self._back, proof)

    def _pay(self, way: _Way, proof: Proof) -> None:
        """Check all that the target chain can check, since it cannot see the source chain; then pay."""
        crossing, signers = proof.crossing, [word.signer for word in proof.attestations]
        amount, nonce, chains = crossing.amount, crossing.nonce, (crossing.source, crossing.target)
        require(crossing.direction == way.direction, "proof: direction must be the step's", given=crossing.direction)
        require(chains == (way.source.chain, way.target.chain), "proof: chains must be the bridge's", chains=chains)
        require(amount * nonce > 0, "proof: amount and nonce must be positive", amount=amount, nonce=nonce)
        require(nonce not in way.used, "proof: nonce must be new", nonce=nonce)
        for word in proof.attestations:
            require(word.signer in self.signers, "proof: signers must be the bridge's", signer=word.signer)
            require(signers.count(word.signer) == 1, "proof: signers must differ", signer=word.signer)
            valid = verify_signature(word.signer, digest(crossing), word.signature)
            require(valid, "proof: signatures must be the signers' on this crossing", signer=word.signer)
        require(len(signers) >= self.threshold, "proof: signers must reach the threshold", signers=len(signers))
        held = way.target.balance(way.out_of)
        require(held >= amount, "proof: the bridge's account must cover the amount", balance=held, amount=amount)
        if crossing.recipient not in way.target:
            way.target.open(crossing.recipient)
        way.target._move(way.out_of, crossing.recipient, amount)
        way.used.add(nonce)

    def reorganise_main(self, depth: q.Positive) -> tuple[Crossing, ...]:
        """Replace the last `depth` blocks of the main chain by blocks without deposits; return the deposits undone.

        Their senders have the amounts back, but not fees and nonces; the rest of the blocks stays as it was. It is
        refused if one of these deposits pays somebody else as well: that could not be taken back. Nature does it, no
        party.
        """
        way, blocks, late = self._there, self.main.blocks, self.main.blocks[-depth:]
        undone = tuple(crossing for crossing, height in self.deposits.items() if height > self.main.height - depth)
        owed = sum(crossing.amount for crossing in undone)
        require(self.locked >= owed, "reorganise: the escrow must cover the deposits", balance=self.locked, amount=owed)
        payees = [len(r.transfer.body.payments) for block in late for r in block.receipts if way.takes(r)]
        require(max(payees, default=1) == 1, "reorganise: a deposit must pay nobody else", payees=payees)
        for crossing in undone:
            self.main._move(self.escrow, crossing.recipient, crossing.amount)
            del way.found[crossing]
        blocks[-depth:] = [replace(b, receipts=tuple(r for r in b.receipts if not way.takes(r))) for b in late]
        return undone


@formula(side_throughput="X_side", bridge_throughput="X_bridge", main_throughput="X_main", crossing="q")
def sidechain_throughput(
    side_throughput: Throughput, bridge_throughput: Throughput, main_throughput: Throughput, crossing: q.PositiveShare
) -> Throughput:
    """Throughput of a sidechain of whose transactions a share above 0 crosses the bridge. Definition 3.3 of the book.

    >>> sidechain_throughput(1000, 20, 15, [0.01, 0.05, 1])
    array([1000., 300., 15.])
    """
    return sp.Min(side_throughput, bridge_throughput / crossing, main_throughput / crossing)


@formula(threshold_share="alpha", compromise="varepsilon")
def decay_rate(threshold_share: q.InnerShare, compromise: q.InnerShare) -> q.Real:
    """Relative entropy D of two shares: for α ≥ ε, `bridge_failure` is at most exp(−nD) (Chernoff 1952). Prop. 3.6.

    To about 10⁻¹⁶ in absolute terms: where the shares are all but equal, the last digits may lie below zero.

    >>> round(decay_rate(2 / 3, 0.05), 3)
    1.378
    """
    share, rest = threshold_share, 1 - threshold_share
    return share * sp.log(share / compromise) + rest * sp.log(rest / (1 - compromise))


@validated
def bridge_failure(signers: Signers, threshold: q.Positive, compromise: q.Share) -> q.Share:
    """Probability that enough signers are compromised to forge a proof, each independently: P[Bin(n, ε) ≥ t].

    >>> round(bridge_failure(9, 5, 0.1), 7)
    0.0008909
    """
    from scipy.stats import binom

    checked("bridge_failure", "threshold", threshold, Annotated[int, q.Whole(1, signers)])
    return finite("bridge_failure", binom.sf(threshold - 1, signers, compromise))


@validated
def bridge_stall(signers: Signers, threshold: q.Positive, compromise: q.Share) -> q.Share:
    """Probability that fewer than t of n are left to sign, if the compromised ones are silent: P[Bin(n, ε) > n − t].

    >>> round(bridge_stall(9, 5, 0.1), 7)
    0.0008909
    """
    checked("bridge_stall", "threshold", threshold, Annotated[int, q.Whole(1, signers)])
    return bridge_failure(signers, signers - threshold + 1, compromise)


@validated
def shared_failure(custody: Collection[int], threshold: q.Positive, compromise: q.One[q.Share]) -> q.One[q.Share]:
    """Probability that enough keys are compromised, of hands with `custody` keys each: whoever has a hand has them all.

    >>> round(shared_failure([4, 1, 1, 1, 1, 1], 5, 0.1), 4), round(shared_failure([1] * 9, 5, 0.1), 4)
    (0.041, 0.0009)
    """
    keys = [checked("shared_failure", "custody", held, q.Positive) for held in custody]
    count = checked("shared_failure", "the sum of custody", sum(keys), Keys)
    checked("shared_failure", "threshold", threshold, Annotated[int, q.Whole(1, count)])
    chance = np.eye(1, count + 1)[0]  # chance[j]: exactly j keys compromised among the hands seen so far
    for held in keys:
        chance = (1 - compromise) * chance + compromise * np.concatenate([np.zeros(held), chance[:-held]])
    return float(chance[threshold:].sum())
