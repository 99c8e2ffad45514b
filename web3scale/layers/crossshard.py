"""Transfers across shards: each takes effect on all the shards it touches or on none, whatever crashes when.

A *shard* keeps some of the accounts, in a ledger of its own. The *home* of a transfer is the shard of its sender, which
decides. A *coordinator* is a program that carries one transfer: it may crash or sleep, but the shards take its word. A
*visit* is a message with a transfer to one shard. The *epoch* counts recoveries: no shard takes a write of an epoch
older than it has seen.

A message may be lost, or late even by a recovery; none may come twice, since a shard does not remember which transfers
it has finished. A recovery needs every shard to answer, and while home is down nobody else can decide.

Money passes between shards as between banks that clear: home moves the amounts for other shards into its *clearing*
account when it decides, and another shard pays its recipients out of its own when it commits. At the start each such
account holds as much as all accounts of all shards together, so it can always pay. No ledger's total ever changes.

Algorithm 3.1 of the book. Sources: Gray (1978), two-phase commit; Kokoris-Kogias et al. (2018), IEEE S&P (Atomix).
"""

from collections.abc import Iterator, Mapping
from typing import Annotated

from web3scale.crypto import tagged_hash
from web3scale.errors import DomainError, Rejected, refusal_of, require
from web3scale.layers.ledger import FEES, Ledger, Receipt, Transfer, check_form, contract_account
from web3scale.message import Signed
from web3scale.quantities import Whole, validated

Shards = Annotated[int, Whole(1, 1024)]


@validated
def shard_of(account: bytes, shards: Shards) -> int:
    """Return the shard that keeps an account: by the hash of its name, so that nobody has to be asked.

    >>> shard_of(bytes(32), 16)
    7
    """
    return int.from_bytes(tagged_hash("web3scale/shard", account), "big") % shards


@validated
class Shard:
    """What one shard keeps on its disk: its accounts, and what it has promised. Every change to it is one atomic write.

    `locked` has the transfers of its own senders that it has not decided, and `decided` those whose other shards may
    not know it yet, each with the epoch in which it began; `prepared` has what it promised to pay for transfers from
    elsewhere. `recovered` has a receipt for each of its own transfers that a later epoch settled.

    >>> Shard(Ledger("main", {})).visits
    0
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.clearing = ledger._contract("clearing")
        ledger._closed.add(self.clearing)
        self.epoch = self.visits = 0
        self.locked: dict[Signed[Transfer], int] = {}
        self.decided: dict[Signed[Transfer], int] = {}
        self.prepared: dict[Signed[Transfer], Mapping[bytes, int]] = {}
        self.recovered: list[Receipt] = []

    # For coordinators, whose word a shard takes: a stranger has no way to call these

    def _fence(self, epoch: int, visits: int = 0) -> None:
        """Take no more writes of a smaller epoch. Every other write on a shard begins with this."""
        self.visits += visits
        require(epoch >= self.epoch, "shard: coordinator must not outlive a recovery", epoch=epoch, seen=self.epoch)
        self.epoch = epoch

    def _lock(self, epoch: int, transfer: Signed[Transfer], payments: Mapping[bytes, int]) -> None:
        """Check a transfer, and hold its sender's account for it: phase one at home."""
        self._fence(epoch, visits=1)
        self.ledger._check_time()
        check_form(transfer, self.ledger.chain)
        self.ledger._check_state(transfer.body)
        self.ledger._check_recipients(payments.items(), self.ledger._contracts)
        self.ledger._held.add(transfer.body.sender)  # nothing else on the chain spends from it meanwhile
        self.locked[transfer] = epoch

    def _prepare(self, epoch: int, transfer: Signed[Transfer], payments: Mapping[bytes, int]) -> None:
        """Promise to pay the recipients kept here: phase one elsewhere."""
        self._fence(epoch, visits=1)
        self.ledger._check_time()
        self.ledger._check_recipients(payments.items(), self.ledger._contracts)
        self.prepared[transfer] = payments

    def _decide(self, epoch: int, transfer: Signed[Transfer], payments: Mapping[bytes, int]) -> None:
        """Charge the sender, pay the recipients kept here, release the lock: from here on the transfer has happened."""
        self._fence(epoch, visits=1)
        self.ledger._check_time()
        order = transfer.body
        require(transfer in self.locked, "transfer: home must hold its lock", sender=order.sender)
        self.ledger._held.remove(order.sender)
        elsewhere = order.cost - order.fee - sum(payments.values())
        before = self.ledger.root
        self.ledger._charge(order, [*payments.items(), (self.clearing, elsewhere)])
        self.ledger._append(before, [Receipt(transfer, None)])  # a block of its own: whoever reads the chain sees it
        self.decided[transfer] = self.locked.pop(transfer)

    def _commit(self, epoch: int, transfer: Signed[Transfer]) -> None:
        """Pay the recipients kept here; a second time changes nothing."""
        self._fence(epoch, visits=1)
        self.ledger._check_time()
        if payments := self.prepared.pop(transfer, None):
            before = self.ledger.root
            for recipient, amount in payments.items():
                self.ledger._move(self.clearing, recipient, amount)
            self.ledger._append(before, [Receipt(transfer, None)])

    def _close(self, epoch: int, transfer: Signed[Transfer]) -> None:
        """Forget a decision that all others have followed: bookkeeping at home, and no visit."""
        self._fence(epoch)
        if self.decided.pop(transfer, epoch) < epoch:
            self.recovered.append(Receipt(transfer, None))

    def _abort(self, epoch: int, transfer: Signed[Transfer]) -> None:
        """Forget the promise or release the lock; a second time changes nothing."""
        self._fence(epoch, visits=1)
        self.prepared.pop(transfer, None)
        if transfer in self.locked:
            self.ledger._held.remove(transfer.body.sender)
            if self.locked.pop(transfer) < epoch:
                refusal = Rejected("transfer: home must decide before a crash", sender=transfer.body.sender)
                self.recovered.append(Receipt(transfer, refusal))


@validated
class ShardedLedger:
    """Shards of one `chain`, with the opening `balances` of all accounts, and the coordinators that cross them.

    A transfer is committed from the moment its home has written the decision, and not before. Coordinators keep nothing
    that outlives them: `recover` finds all in the shards' records, and the first shard counts the epochs.

    >>> from web3scale.crypto import example_key, public_key
    >>> from web3scale.layers.ledger import sign_transfer
    >>> alice, bob = example_key("Alice"), example_key("Bob")
    >>> sharded = ShardedLedger("main", 4, {public_key(alice): 10, public_key(bob): 0})
    >>> transfer = sign_transfer(alice, "main", {public_key(bob): 7}, fee=1, nonce=1)
    >>> list(sharded.steps(transfer))
    ['locked at 0', 'prepared at 3', 'decided at 0', 'committed at 3', 'closed at 0']
    >>> sharded.balance(public_key(bob)), sharded.in_flight, sharded.total
    (7, 0, 10)
    >>> sharded.apply(sign_transfer(bob, "main", {FEES: 2}, fee=0, nonce=1)).accepted  # on one shard
    True
    >>> next(sharded.steps(sign_transfer(alice, "main", {public_key(bob): 1}, fee=0, nonce=2)))  # and then a crash
    'locked at 0'
    >>> list(sharded.recover())
    ['fenced at 0', 'fenced at 1', 'fenced at 2', 'fenced at 3', 'aborted at 3', 'aborted at 0']
    """

    def __init__(self, chain: str, shards: Shards, balances: Mapping[bytes, int]) -> None:
        clearing = contract_account(chain, "clearing")
        if clearing in balances:
            raise DomainError("ShardedLedger: balances must leave the clearing accounts to the shards")
        supply = sum(balances.values())
        openings = [{clearing: supply} for _ in range(shards)]
        for account, amount in balances.items():
            openings[shard_of(account, shards)][account] = amount
        self.shards = [Shard(Ledger(chain, opening)) for opening in openings]
        for at, shard in enumerate(self.shards):  # or one order could be carried out on two shards
            shard.ledger._family = self.shards[0].ledger._family
            shard.ledger._keeps = lambda account, at=at: shard_of(account, shards) == at  # type: ignore[misc]
        self._start = shards * supply

    def home(self, account: bytes) -> Shard:
        """The shard that keeps an account, or would keep it."""
        return self.shards[shard_of(account, len(self.shards))]

    def balance(self, account: bytes) -> int:
        """What an account holds, base units; for `FEES`, on all shards."""
        return sum(s.ledger.balance(account) for s in (self.shards if account == FEES else [self.home(account)]))

    @property
    def in_flight(self) -> int:
        """What senders have paid and recipients elsewhere have not received: zero when nothing is pending."""
        return sum(shard.ledger.balance(shard.clearing) for shard in self.shards) - self._start

    @property
    def total(self) -> int:
        """What customers hold and what is in flight: all balances, less what the clearing accounts held at the start.

        It is constant since each ledger's total is; the number that could go wrong is `in_flight`.
        """
        return sum(shard.ledger.total for shard in self.shards) - self._start

    @property
    def visits(self) -> list[int]:
        """Visits that each shard has served."""
        return [shard.visits for shard in self.shards]

    @property
    def recovered(self) -> list[Receipt]:
        """One for each transfer that a recovery settled, for whoever sent it and lost the coordinator."""
        return [receipt for shard in self.shards for receipt in shard.recovered]

    def touched(self, order: Transfer) -> dict[int, dict[bytes, int]]:
        """The shards that a transfer touches, home first, and the payments on each."""
        places: dict[int, dict[bytes, int]] = {shard_of(order.sender, len(self.shards)): {}}
        for recipient, amount in order.payments:
            places.setdefault(shard_of(recipient, len(self.shards)), {})[recipient] = amount
        return places

    def steps(self, transfer: Signed[Transfer]) -> Iterator[str]:
        """Carry a transfer out, and yield after each write on one shard: a crash may come after any of them.

        If a shard refuses the transfer, it is aborted on all, nothing has changed, and the refusal is raised. What it
        refuses to a coordinator that slept through a recovery, or after a decision, says nothing of the transfer: see
        `recovered`.
        """
        epoch = self.shards[0].epoch
        (home, mine), *others = self.touched(transfer.body).items()
        if not others:
            self.shards[home].visits += 1
            if refusal := self.shards[home].ledger.apply(transfer).refusal:
                raise refusal
            yield f"applied at {home}"
            return
        self.shards[home]._lock(epoch, transfer, mine)
        yield f"locked at {home}"
        for at, payments in others:
            try:
                self.shards[at]._prepare(epoch, transfer, payments)
            except Rejected:
                yield from self._abort(epoch, transfer)
                raise
            yield f"prepared at {at}"
        self.shards[home]._decide(epoch, transfer, mine)
        yield f"decided at {home}"
        yield from self._finish(epoch, transfer)

    def _abort(self, epoch: int, transfer: Signed[Transfer]) -> Iterator[str]:
        home, *others = self.touched(transfer.body)
        for at in [*others, home]:  # the lock last: it is what tells a recovery that there is something to undo
            self.shards[at]._abort(epoch, transfer)
            yield f"aborted at {at}"

    def _finish(self, epoch: int, transfer: Signed[Transfer]) -> Iterator[str]:
        home, *others = self.touched(transfer.body)
        for at in others:
            self.shards[at]._commit(epoch, transfer)
            yield f"committed at {at}"
        self.shards[home]._close(epoch, transfer)
        yield f"closed at {home}"

    def apply(self, transfer: Signed[Transfer]) -> Receipt:
        """Carry a transfer out without a crash, and say in a receipt whether it took effect."""
        return Receipt(transfer, refusal_of(list, self.steps(transfer)))

    def recover(self) -> Iterator[str]:
        """Settle what a crash left open: commit what its home has decided, abort what it has only locked.

        First every shard learns of the new epoch; then nobody older can write, and what is older is settled. What a
        coordinator of the new epoch has begun is left to it. A recovery may crash as well, or meet another.
        """
        epoch = self.shards[0].epoch + 1  # this and the first fence are one write on the first shard
        for at, shard in enumerate(self.shards):
            shard._fence(epoch)
            yield f"fenced at {at}"
        for shard in self.shards:
            for transfer in [t for t, begun in (shard.locked | shard.decided).items() if begun < epoch]:
                yield from (self._abort if transfer in shard.locked else self._finish)(epoch, transfer)
