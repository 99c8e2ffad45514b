"""Disputes: a game that finds the one wrong step of a batch, and a referee that executes this step alone.

A *proposer* posts a batch and the state root after it; a *challenger* disputes the root; the *referee* is the contract
on layer 1 that decides. A *step* is one record of the batch, executed; the state roots before and after every step are
the *trace*. A *witness* is what the referee needs to execute a step: the record and the accounts that it touches, with
their paths to the roots. Proposition 3.4 of the book. Source: Kalodner et al. (2018), USENIX Security.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Protocol, TypeVar

from web3scale.crypto import MerkleTree, leaf_hash, root_from_proof, verify_inclusion
from web3scale.errors import DomainError, Rejected, require, shown
from web3scale.layers.batches import Record, read_record
from web3scale.layers.ledger import AccountProof, Ledger, account_leaf, verify_account
from web3scale.message import message
from web3scale.quantities import fits, validated

T = TypeVar("T")
State = tuple[bytes, int, int]  # an account with its balance and its nonce


@message
class Claim:
    """What the contract on layer 1 knows of a batch. Only `after` is the proposer's; the rest is layer 1's own.

    >>> before = Ledger("rollup", {}).root
    >>> replay(Ledger("rollup", {}), [b"one"]).claim == Claim("rollup", leaf_hash(b"one"), 1, 1, before, before)
    True
    """

    chain: str
    batch_root: bytes  # Merkle root of the records
    steps: int  # number of records, and of accounts: a Merkle root does not say how many leaves it has
    accounts: int
    before: bytes  # the last state root that is settled
    after: bytes  # the state root that is claimed


@message
class Witness:
    """All that the referee needs to execute one step.

    >>> Witness(b"12345", (bytes(32),), ()).size_bytes
    37
    """

    record: bytes  # the transfer as it stands in the batch
    record_path: tuple[bytes, ...]  # its inclusion proof in the batch
    # what it touches, by ascending index, each as before the step; the path of each is in the tree in which those
    # before it have changed already
    accounts: tuple[AccountProof, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes that the referee reads."""
        digests = len(self.record_path) + sum(len(proof.path) for proof in self.accounts)
        return len(self.record) + 32 * digests + sum(len(proof.leaf) for proof in self.accounts)


@dataclass(frozen=True)
class Verdict:
    """How a dispute ended."""

    winner: str  # "proposer" or "challenger"
    reason: str  # what decided it
    step: int | None  # the step that was executed, counted from 0; None if it did not come to that
    rounds: int  # midpoints that were stated and answered
    size_bytes: int  # what layer 1 had to read


class Proposer(Protocol):
    """Who defends a claim: its program answers the referee, as `Trace` does; None is silence."""

    def root(self, step: int) -> bytes | None:
        """State the root after so many steps."""

    def witness(self, step: int) -> Witness | None:
        """Show what is needed to execute a step."""


class Challenger(Protocol):
    """Who disputes a claim: its program answers the referee, as `Trace` does; None is silence."""

    def agrees(self, step: int, root: bytes) -> bool | None:
        """Say whether this is the root after so many steps."""

    def witness(self, step: int) -> Witness | None:
        """Show what is needed to execute a step."""


# Executing


def _read(record: bytes, accounts: int) -> Record | None:
    """A record taken apart; None if it is none: then its step changes nothing, and touches no account."""
    try:
        return read_record(record, accounts)
    except Rejected:
        return None


def _copy(chain: str, states: Sequence[State]) -> Ledger:
    """Make a ledger of a few accounts, or of all."""
    return Ledger(chain, {name: balance for name, balance, _ in states}, {name: nonce for name, _, nonce in states})


@dataclass(frozen=True)
class Trace:
    """Every step of a batch, executed by `replay`: what an honest node knows. It plays both sides of a dispute."""

    chain: str
    records: tuple[bytes, ...]  # the transfers as they stand in the batch
    roots: tuple[bytes, ...]  # the state root before the first step and after each
    accounts: tuple[bytes, ...]  # by index
    _batch: MerkleTree = field(repr=False)
    # of each account, whenever it changed: after how many steps, and its balance and nonce from then on
    _history: list[list[tuple[int, int, int]]] = field(repr=False)

    @property
    def claim(self) -> Claim:
        """The honest claim."""
        sizes = len(self.records), len(self.accounts)
        return Claim(self.chain, self._batch.root, *sizes, self.roots[0], self.roots[-1])

    def root(self, step: int) -> bytes:
        """State the root after so many steps."""
        return self.roots[step]

    def agrees(self, step: int, root: bytes) -> bool:
        """Say whether this is the root after so many steps."""
        return root == self.roots[step]

    def witness(self, step: int) -> Witness:
        """Show what is needed to execute a step."""
        record = _read(self.records[step], len(self.accounts))
        proofs: list[AccountProof] = []
        if record:
            states = [self._state(index, step) for index in range(len(self.accounts))]
            tree = MerkleTree(account_leaf(*state) for state in states)
            for index in record.touched:
                proofs.append(AccountProof(*states[index], index, len(states), tree.inclusion_proof(index)))
                tree.update({index: account_leaf(*self._state(index, step + 1))})
        return Witness(self.records[step], self._batch.inclusion_proof(step), tuple(proofs))

    def _state(self, index: int, steps: int) -> State:
        """An account after so many steps."""
        history = self._history[index]
        _, balance, nonce = history[bisect_right(history, steps, key=itemgetter(0)) - 1]
        return self.accounts[index], balance, nonce


@validated
def replay(ledger: Ledger, records: Sequence[bytes]) -> Trace:
    """Execute a batch after the state of a `ledger`, which stays as it is, and keep the root after every step.

    The `records` are from `encode_record`; anything else is a step that changes nothing.

    >>> from web3scale.crypto import example_key, public_key
    >>> from web3scale.layers.batches import encode_record
    >>> from web3scale.layers.ledger import FEES, sign_transfer
    >>> alice, bob = example_key("Alice"), public_key(example_key("Bob"))
    >>> paid = [sign_transfer(alice, "rollup", {bob: 2}, fee=0, nonce=n) for n in (1, 2, 3)]
    >>> records = [encode_record(transfer, [FEES, public_key(alice), bob]) for transfer in paid]
    >>> trace = replay(Ledger("rollup", {public_key(alice): 5, bob: 0}), records)
    >>> len(set(trace.roots))  # the third is not covered: the root stays
    3
    """
    if not records or ledger._held:  # a rollup holds nothing: its referee would not know
        raise DomainError(f"replay: there must be records and no account held, got {len(records)}, {len(ledger._held)}")
    opening = [ledger._state(index) for index in range(len(ledger))]
    names = tuple(name for name, *_ in opening)
    history = [[(0, balance, nonce)] for _, balance, nonce in opening]
    now = _copy(ledger.chain, opening)
    roots = [now.root]
    for steps, written in enumerate(records, 1):
        if record := _read(written, len(names)):
            transfer = record.transfer(names.__getitem__, now.chain)
            if not now._refusal_of_form(transfer):
                now._apply(transfer.body)  # and no block, which would keep every transfer in memory
            for index in record.touched:
                _, balance, nonce = now._state(index)
                if (balance, nonce) != history[index][-1][1:]:
                    history[index].append((steps, balance, nonce))
        roots.append(now.root)
    return Trace(ledger.chain, tuple(records), tuple(roots), names, MerkleTree(records), history)


def _whole(witness: object) -> Witness:
    """A stranger's witness made again, and so checked again: all its parts are exactly of their types."""
    if not (fits(witness, Witness) and fits(witness.accounts, tuple[AccountProof, ...])):  # type: ignore[attr-defined]
        raise DomainError(f"execute_step: witness must be a Witness, and whole, got a {type(witness).__name__}")
    return replace(witness, accounts=tuple(map(replace, witness.accounts)))  # type: ignore


@validated
def execute_step(claim: Claim, step: int, before: bytes, witness: Witness) -> bytes:
    """Execute one step of a batch without the state: from a root, a record and a few accounts to the next root.

    Each account's path is checked with the old leaf and followed again with the new one. So the second path leads to
    the root in which the first leaf has changed, and so on: the last root is the one after the step. Nothing in a
    `witness` is trusted; one that does not lead to the batch of the `claim` and to the root `before` is `Rejected`.

    >>> trace = replay(Ledger("rollup", {}), [b"nonsense"])  # nonsense is a step that changes nothing
    >>> execute_step(trace.claim, 0, trace.roots[0], trace.witness(0)) == trace.roots[1]
    True
    """
    given = _whole(witness)
    at_step = verify_inclusion(claim.batch_root, given.record, step, claim.steps, given.record_path)
    require(at_step, "witness: record must stand at this step of the batch", step=step)
    record = _read(given.record, claim.accounts)
    places = [(index, claim.accounts) for index in record.touched] if record else []
    found = [(proof.index, proof.size) for proof in given.accounts]
    require(found == places, "witness: accounts must be those that the record touches", shown=found, touched=places)
    if not record:
        return before
    ledger = _copy(claim.chain, [(proof.account, proof.balance, proof.nonce) for proof in given.accounts])
    names = {proof.index: proof.account for proof in given.accounts}
    ledger.apply(record.transfer(names.__getitem__, claim.chain))  # by the ledger's own rules
    for proof in given.accounts:
        leaf = account_leaf(proof.account, ledger.balance(proof.account), ledger.nonce(proof.account))
        changed = root_from_proof(leaf_hash(leaf), proof.index, proof.size, proof.path)
        if changed is None or not verify_account(before, proof):
            raise Rejected("witness: account must be under the root", index=proof.index)
        before = changed
    return before


# The game


def _root(answer: object) -> bytes | None:
    return answer if type(answer) is bytes and len(answer) == 32 else None


def _yes_or_no(answer: object) -> bool | None:
    return answer if type(answer) is bool else None


def _ask(party: object, question: str, look: Callable[[object], T | None], *values: object) -> T | None:
    """Ask a party and look at its answer: whatever its program raises, or makes the look raise, is silence."""
    try:
        return look(getattr(party, question)(*values))
    except BaseException:  # SystemExit too, and even an interrupt from the keyboard: no stranger ends the referee
        return None


@validated
def dispute(claim: Claim, proposer: Proposer, challenger: Challenger) -> Verdict:
    """Decide between a proposer and a challenger by executing one step. Proposition 3.4 of the book.

    All steps up to `low` are agreed on, the root after `high` is not. The proposer states the root halfway between;
    the challenger's answer moves one end there. One step remains, and the referee executes it. Nothing a party says is
    trusted; a silent party loses, and if nobody shows a witness the claim stands: who disputes must prove.

    >>> trace = replay(Ledger("rollup", {}), [b"nonsense"])
    >>> proposer: Proposer = trace
    >>> challenger: Challenger = trace
    >>> dispute(trace.claim, proposer, challenger).winner
    'proposer'
    >>> dispute(replace(trace.claim, after=bytes(32)), proposer, challenger).winner
    'challenger'
    """
    low, high = 0, claim.steps
    if not 1 <= high < 1 << 64:  # as many as a Merkle proof can count
        raise DomainError(f"dispute: steps must be in 1 ... 2^64 - 1, got {shown(high)}")
    before, after = claim.before, claim.after
    rounds = size = 0
    while high - low > 1:
        middle = (low + high) // 2
        stated = _ask(proposer, "root", _root, middle)
        if stated is None:
            return Verdict("challenger", "the proposer is silent", None, rounds, size)
        answer = _ask(challenger, "agrees", _yes_or_no, middle, stated)
        if answer is None:
            return Verdict("proposer", "the challenger is silent", None, rounds, size + 32)
        rounds, size = rounds + 1, size + 33  # a root and a yes or no
        if answer:
            low, before = middle, stated
        else:
            high, after = middle, stated
    for party in (challenger, proposer):
        witness = _ask(party, "witness", _whole, low)
        if witness is None:
            continue
        size += witness.size_bytes
        try:
            holds = execute_step(claim, low, before, witness) == after
        except (DomainError, Rejected):
            continue  # it proves nothing, for neither side
        reason = f"executing the step {'confirms' if holds else 'refutes'} the claim"
        return Verdict("proposer" if holds else "challenger", reason, low, rounds, size)
    return Verdict("proposer", "nobody shows a witness", None, rounds, size)
