"""A ledger cut into shards, and transfers that take effect on all the shards they touch or on none. Chapter 3.

Vocabulary: a *shard* keeps some of the accounts; a transfer is *cross-shard* if it touches accounts of two or more; the
*home* of a transfer is the shard of its sender, and the one that decides; a *visit* is one message to one shard, with
the work that follows it. A local transfer makes one visit; a cross-shard transfer makes two to each shard it touches,
one to lock or prepare and one to commit or abort.

Sources: Gray (1978), two-phase commit; Kokoris-Kogias et al. (2018), OmniLedger, IEEE S&P (Atomix).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from web3scale.crypto import tagged_hash
from web3scale.errors import DomainError, Rejected
from web3scale.formula import Array, Count, PositiveRate, Quantity, Rate, Share, checked_integer, formula
from web3scale.layers.ledger import FEES, Ledger, Receipt, Transfer, check_form, check_payments

Visits = Annotated[Any, Quantity("1", low=1.0)]


class AccountLocked(Rejected):
    """Another transfer of the same sender is between its two phases."""


class Superseded(Rejected):
    """The coordinator slept through a recovery, which has settled its transfer already."""


class Interrupted(Rejected):
    """A crash came before the decision, and a recovery has aborted the transfer."""


@formula(shards="k", accounts="m")
def cross_shard_share(shards: Count, accounts: Count) -> Share:
    """Share of transactions that touch more than one shard, if accounts are spread evenly at random.

    Parameters
    ----------
    shards : float or array
        Number k of shards.
    accounts : float or array
        Accounts m that one transaction touches.

    Returns
    -------
    float or array
        1 − k^(1−m).

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> cross_shard_share(16, 2)
    0.9375
    """
    return 1 - shards ** (1 - accounts)


@formula(shards="k", accounts="m")
def shards_touched(shards: Count, accounts: Count) -> Count:
    """Mean number of distinct shards that a transaction touches, if accounts are spread evenly at random.

    Parameters
    ----------
    shards : float or array
        Number k of shards.
    accounts : float or array
        Accounts m that one transaction touches.

    Returns
    -------
    float or array
        k(1 − (1 − 1/k)^m), to about k·10⁻¹⁶ of its value.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> shards_touched(2, 2)
    1.5
    """
    return shards * (1 - (1 - 1 / shards) ** accounts)


@formula(shards="k", accounts="m", visits="v")
def shard_work(shards: Count, accounts: Count, visits: Visits) -> Count:
    """Mean number of shard visits that a transaction makes.

    Parameters
    ----------
    shards : float or array
        Number k of shards.
    accounts : float or array
        Accounts m that one transaction touches.
    visits : float or array
        Visits v to each shard touched by a cross-shard transaction; a local one makes a single visit.

    Returns
    -------
    float or array
        w = k^(1−m) + v(k(1 − (1 − 1/k)^m) − k^(1−m)).

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> shard_work(2, 2, 2)  # half local with one visit, half on two shards with two visits each
    2.5
    """
    local = shards ** (1 - accounts)
    return local + visits * (shards_touched(shards, accounts) - local)


@formula(service_rate="mu", shards="k", accounts="m", visits="v")
def sharded_throughput(service_rate: PositiveRate, shards: Count, accounts: Count, visits: Visits) -> Rate:
    """Throughput of evenly loaded shards.

    Parameters
    ----------
    service_rate : float or array
        Visits per second that one shard can serve, μ.
    shards : float or array
        Number k of shards.
    accounts : float or array
        Accounts m that one transaction touches.
    visits : float or array
        Visits v to each shard touched by a cross-shard transaction.

    Returns
    -------
    float or array
        kμ/w, transactions per second.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> sharded_throughput(1000, 1, 2, 2), sharded_throughput(1000, 2, 2, 2)
    (1000.0, 800.0)
    """
    return shards * service_rate / shard_work(shards, accounts, visits)


@dataclass(frozen=True, eq=False)
class Workload:
    """What `simulate_workload` saw.

    Attributes
    ----------
    shards, visits : int
        The setting.
    touched : array of int, shape (runs, transactions)
        Distinct shards that each transaction touched.
    busiest : array, shape (runs,)
        Visits to the busiest shard, as a multiple of the mean over all.

    Examples
    --------
    >>> run = simulate_workload(1, 2, 2, transactions=3, runs=2, rng=np.random.default_rng(1))
    >>> run.touched.tolist(), run.busiest.tolist()
    ([[1, 1, 1], [1, 1, 1]], [1.0, 1.0])
    """

    shards: int
    visits: int
    touched: npt.NDArray[np.int64]
    busiest: Array

    @property
    def cross_share(self) -> Array:
        """Share of cross-shard transactions, shape (runs,)."""
        share: Array = (self.touched > 1).mean(axis=1)
        return share

    @property
    def work(self) -> Array:
        """Mean visits of a transaction, shape (runs,)."""
        mean: Array = np.where(self.touched > 1, self.visits * self.touched, 1).mean(axis=1)
        return mean


def simulate_workload(
    shards: int, accounts: int, visits: int, *, transactions: int, runs: int, rng: np.random.Generator
) -> Workload:
    """Draw transactions whose accounts lie on random shards, and count.

    Parameters
    ----------
    shards, accounts, visits : int
        Number of shards, accounts of a transaction, visits to each shard that a cross-shard transaction touches.
    transactions, runs : int
        Transactions in a run, and independent runs.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    Workload
        Shards touched by each transaction.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> run = simulate_workload(4, 2, 2, transactions=10_000, runs=1, rng=np.random.default_rng(1))
    >>> round(float(run.cross_share[0]), 2)  # theory: 0.75
    0.75
    """
    where = "simulate_workload"
    k, m = checked_integer(where, "shards", shards, low=1), checked_integer(where, "accounts", accounts, low=1)
    v = checked_integer(where, "visits", visits, low=1)
    shape = (
        checked_integer(where, "runs", runs, low=1),
        checked_integer(where, "transactions", transactions, low=1),
        m,
    )
    if not isinstance(rng, np.random.Generator):
        raise DomainError(f"{where}: rng must be a numpy.random.Generator, got {rng!r}")
    places = np.sort(rng.integers(k, size=shape), axis=2)
    first = np.ones(shape, dtype=bool)
    first[:, :, 1:] = places[:, :, 1:] != places[:, :, :-1]
    touched = first.sum(axis=2)
    weight = first * np.where(touched > 1, v, 1)[:, :, None]
    busiest = np.array(
        [np.bincount(p.ravel(), w.ravel(), k).max() * k / w.sum() for p, w in zip(places, weight, strict=True)]
    )
    return Workload(k, v, touched, busiest)


def shard_of(account: bytes, shards: int) -> int:
    """Return the shard that keeps an account: by the hash of its name, so that nobody has to be asked.

    Parameters
    ----------
    account
        Public key.
    shards
        Number of shards.

    Returns
    -------
    int
        From 0 to ``shards - 1``.

    Raises
    ------
    DomainError
        If `shards` is not a positive integer.

    Examples
    --------
    >>> shard_of(bytes(32), 16)
    7
    """
    count = checked_integer("shard_of", "shards", shards, low=1)
    return int.from_bytes(tagged_hash("web3scale/shard", account), "big") % count


class Shard:
    """What one shard keeps on its disk: its accounts, and what it has promised. Every change to it is one atomic write.

    Attributes
    ----------
    ledger : Ledger
        Its accounts.
    locks : dict of bytes to Transfer
        By sender: the cross-shard transfer for which the sender's account is held, while it is undecided.
    decided : dict of bytes to Transfer
        By message: transfers that this shard, their home, has committed and whose other shards may not know it yet.
    prepared : dict of bytes to Transfer
        By message: transfers from elsewhere whose recipients this shard has promised to credit.
    visits : int
        Messages served.

    Examples
    --------
    >>> Shard(Ledger("main", {})).visits
    0
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.locks: dict[bytes, Transfer] = {}
        self.decided: dict[bytes, Transfer] = {}
        self.prepared: dict[bytes, Transfer] = {}
        self.visits = 0

    def apply(self, transfer: Transfer) -> None:
        """Apply a transfer whose accounts all lie here."""
        self.visits += 1
        self._unlocked(transfer)
        if refusal := self.ledger.apply(transfer).refusal:
            raise refusal

    def lock(self, transfer: Transfer, recipients: set[bytes]) -> None:
        """Check a transfer, and hold its sender's account for it: phase one at home."""
        self.visits += 1
        check_form(transfer, self.ledger.chain)
        self._unlocked(transfer)
        self.ledger.check_sender(transfer)
        self._know(recipients)
        self.locks[transfer.sender] = transfer

    def prepare(self, transfer: Transfer, recipients: set[bytes]) -> None:
        """Promise to credit the recipients kept here: phase one elsewhere."""
        self.visits += 1
        self._know(recipients)
        self.prepared[transfer.message] = transfer

    def decide(self, transfer: Transfer, recipients: set[bytes]) -> None:
        """Charge the sender, pay the recipients kept here, release the lock: from here on the transfer has happened."""
        self.visits += 1
        if self.locks.get(transfer.sender) != transfer:
            raise Superseded("transfer: home must hold its lock", sender=transfer.sender)
        del self.locks[transfer.sender]
        self.ledger.charge(transfer)
        self._pay(transfer, recipients)
        self.decided[transfer.message] = transfer

    def commit(self, transfer: Transfer, recipients: set[bytes]) -> None:
        """Credit the recipients kept here; a second time changes nothing."""
        self.visits += 1
        if self.prepared.pop(transfer.message, None):
            self._pay(transfer, recipients)

    def abort(self, transfer: Transfer) -> None:
        """Forget the promise or the lock; a second time changes nothing."""
        self.visits += 1
        self.prepared.pop(transfer.message, None)
        if self.locks.get(transfer.sender) == transfer:
            del self.locks[transfer.sender]

    def _unlocked(self, transfer: Transfer) -> None:
        if transfer.sender in self.locks:
            raise AccountLocked("transfer: sender must have no other transfer under way", sender=transfer.sender)

    def _know(self, recipients: set[bytes]) -> None:
        for recipient in recipients:
            self.ledger.balance(recipient)

    def _pay(self, transfer: Transfer, recipients: set[bytes]) -> None:
        for recipient, amount in transfer.payments:
            if recipient in recipients:
                self.ledger.credit(recipient, amount)


class ShardedLedger:
    """Shards, and the coordinator that carries transfers across them. Algorithm 3.1 of the book.

    The coordinator keeps one number, which counts recoveries and fences off whoever slept through one; all else
    `recover` finds in the shards' own records. A transfer is committed from the moment
    its home shard has written the decision, and not before.

    Parameters
    ----------
    chain
        Name of the chain, the same on all shards.
    shards
        Number of shards.
    balances
        Opening balance of each account, base units.

    Raises
    ------
    DomainError
        If `shards` is not a positive integer, or a balance no natural number.

    Attributes
    ----------
    shards : list of Shard
        In the order of `shard_of`.
    recovered : list of Receipt
        One for each transfer that a recovery settled: who sent it has lost its coordinator and finds the answer here.

    Examples
    --------
    >>> from web3scale.crypto import example_key, public_key
    >>> from web3scale.layers.ledger import sign_transfer
    >>> alice, bob = example_key("Alice"), public_key(example_key("Bob"))
    >>> sharded = ShardedLedger("main", 4, {public_key(alice): 10, bob: 0})
    >>> transfer = sign_transfer(alice, "main", {bob: 7}, fee=1, nonce=1)
    >>> list(sharded.steps(transfer))
    ['locked at 0', 'prepared at 3', 'decided at 0', 'committed at 3', 'closed at 0']
    >>> sharded.balance(bob), sharded.total
    (7, 10)
    """

    def __init__(self, chain: str, shards: int, balances: Mapping[bytes, int]) -> None:
        count = checked_integer("ShardedLedger", "shards", shards, low=1)
        kept: list[dict[bytes, int]] = [{} for _ in range(count)]
        for account, amount in balances.items():
            kept[shard_of(account, count)][account] = amount
        self.shards = [Shard(Ledger(chain, opening)) for opening in kept]
        self.recovered: list[Receipt] = []
        self._epoch = 0

    def home(self, account: bytes) -> Shard:
        """The shard that keeps an account, or would keep it."""
        return self.shards[shard_of(account, len(self.shards))]

    def balance(self, account: bytes) -> int:
        """What an account holds, base units, on all shards for `FEES`; `UnknownAccount` if there is none."""
        if account == FEES:
            return sum(shard.ledger.balance(FEES) for shard in self.shards)
        return self.home(account).ledger.balance(account)

    @property
    def total(self) -> int:
        """All balances, and what was charged on one shard and waits to be credited on another."""
        resting = sum(shard.ledger.total for shard in self.shards)
        moving = sum(
            amount
            for shard in self.shards
            for transfer in shard.decided.values()
            for recipient, amount in transfer.payments
            if transfer.message in self.home(recipient).prepared
        )
        return resting + moving

    @property
    def visits(self) -> list[int]:
        """Messages that each shard has served."""
        return [shard.visits for shard in self.shards]

    def touched(self, transfer: Transfer) -> dict[int, set[bytes]]:
        """The shards that a transfer touches, home first, and the recipients on each."""
        count = len(self.shards)
        places: dict[int, set[bytes]] = {shard_of(transfer.sender, count): set()}
        for recipient, _ in transfer.payments:
            places.setdefault(shard_of(recipient, count), set()).add(recipient)
        return places

    def steps(self, transfer: Transfer) -> Iterator[str]:
        """Carry a transfer out, one write on one shard at a time; a crash may come after any of them.

        Yields
        ------
        str
            What was written, and where.

        Raises
        ------
        Rejected
            If a shard refuses; then it is aborted on all of them, and nothing has changed. `Superseded` is no refusal
            of the transfer: a recovery has settled it meanwhile, one way or the other.
        """
        epoch = self._epoch
        check_payments(transfer)
        (home, mine), *others = self.touched(transfer).items()
        if not others:
            self.shards[home].apply(transfer)
            yield f"applied at {home}"
            return
        self.shards[home].lock(transfer, mine)
        yield from self._fenced(epoch, f"locked at {home}")
        for at, recipients in others:
            try:
                self.shards[at].prepare(transfer, recipients)
            except Rejected:
                yield from self._abort(epoch, transfer)
                raise
            yield from self._fenced(epoch, f"prepared at {at}")
        self.shards[home].decide(transfer, mine)
        yield from self._fenced(epoch, f"decided at {home}")
        for at, recipients in others:
            self.shards[at].commit(transfer, recipients)
            yield from self._fenced(epoch, f"committed at {at}")
        del self.shards[home].decided[transfer.message]
        yield f"closed at {home}"

    def _fenced(self, epoch: int, done: str) -> Iterator[str]:
        """Yield; if a recovery began meanwhile, whoever slept here is a ghost and must not write again."""
        yield done
        if self._epoch != epoch:
            raise Superseded("transfer: coordinator must not outlive a recovery", last_step=done)

    def _abort(self, epoch: int, transfer: Transfer, lost: bool = False) -> Iterator[str]:
        home, *others = self.touched(transfer)
        for at in [*others, home]:  # the lock last: it is what tells a recovery that there is something to undo
            self.shards[at].abort(transfer)
            if at == home and lost:
                refusal = Interrupted("transfer: home must decide before a crash", sender=transfer.sender)
                self.recovered.append(Receipt(transfer, refusal))
            if at == home and not lost:  # nothing is left to write: a recovery has nothing to settle here
                yield f"aborted at {at}"
            else:
                yield from self._fenced(epoch, f"aborted at {at}")

    def apply(self, transfer: Transfer) -> Receipt:
        """Carry a transfer out without a crash, and say in a receipt whether it took effect."""
        try:
            for _ in self.steps(transfer):
                pass
        except Rejected as refusal:
            return Receipt(transfer, refusal)
        return Receipt(transfer, None)

    def recover(self) -> Iterator[str]:
        """Settle what a crash left open: commit what its home shard has decided, abort what it has only locked.

        Yields
        ------
        str
            What was settled. Recovery may itself crash, and be begun again.
        """
        self._epoch = epoch = self._epoch + 1
        # what is open now: what others begin while this goes on is theirs to finish
        found = [(at, list(s.locks.values()), list(s.decided.values())) for at, s in enumerate(self.shards)]
        for at, locked, decided in found:
            for transfer in locked:
                yield from self._abort(epoch, transfer, lost=True)
            for transfer in decided:
                _, *others = self.touched(transfer).items()
                for other, recipients in others:
                    self.shards[other].commit(transfer, recipients)
                    yield from self._fenced(epoch, f"committed at {other}")
                del self.shards[at].decided[transfer.message]
                self.recovered.append(Receipt(transfer, None))
                yield from self._fenced(epoch, f"closed at {at}")
