"""A ledger of accounts: signed transfers in blocks, a receipt for each, and a root that commits to the state.

An *account* is named by its public key and has a *balance* and a *nonce*, the number of its last transfer. A *block*
is the ledger's clock: what waits, waits for a number of blocks. A *receipt* says of a transfer that it was accepted, or
why it was refused. The *state root* is the Merkle root over all accounts.

Money is always in some account, so the sum of all balances never changes. A *contract* is an account that no key signs
for: its rules, and nothing else, move its money. Algorithm 3.1 of the book. Sources: Wood (2014), Ethereum yellow paper
(accounts, nonces); RFC 6962 (the tree).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from nacl.signing import SigningKey

from web3scale.crypto import MerkleTree, encode, public_key, tagged_hash, verify_inclusion, verify_signature
from web3scale.errors import DomainError, Rejected, refusal_of, require, shown
from web3scale.message import Signed, digest, is_message, message, signed
from web3scale.quantities import checked, fits, validated

FEES = bytes(32)  # the account that collects fees: no key signs for it, since libsodium refuses points of small order


@message
class Transfer:
    """An order to pay one account or several: valid once, on one chain, and only when its sender has signed it."""

    chain: str
    sender: bytes  # public key of who pays
    payments: tuple[tuple[bytes, int], ...]  # who is paid, and how much, in base units
    fee: int  # what the sender pays besides, in base units
    nonce: int  # one above the sender's last

    @property
    def cost(self) -> int:
        """All amounts and the fee, in base units."""
        return sum([amount for _, amount in self.payments], self.fee)


Order = Signed[Transfer]


@validated
def sign_transfer(key: SigningKey, chain: str, payments: Mapping[bytes, int], *, fee: int, nonce: int) -> Order:
    """Make a transfer and sign it; whether it is valid is for a ledger to say.

    >>> transfer = sign_transfer(SigningKey(bytes(32)), "main", {FEES: 5}, fee=1, nonce=1)
    >>> transfer.body.cost, len(transfer.signatures)
    (6, 1)
    """
    return signed(Transfer(chain, public_key(key), tuple(payments.items()), fee, nonce), key)


class Receipt(NamedTuple):
    """What became of one transfer: `refusal` says why it was refused, and is None if it was accepted."""

    transfer: Signed[Transfer]
    refusal: Rejected | None

    @property
    def accepted(self) -> bool:
        """Whether the transfer took effect."""
        return self.refusal is None


@dataclass(frozen=True)
class Block:
    """Transfers applied one after the other: a receipt for each, and the state roots `before` and `after` them."""

    height: int
    before: bytes
    after: bytes
    receipts: tuple[Receipt, ...]


@message
class AccountProof:
    """What an account held under a state root, its place among all accounts, and the digests that show it."""

    account: bytes
    balance: int
    nonce: int
    index: int
    size: int
    path: tuple[bytes, ...]

    @property
    def leaf(self) -> bytes:
        """The bytes of the account in the state tree."""
        return account_leaf(self.account, self.balance, self.nonce)


def account_leaf(account: bytes, balance: int, nonce: int) -> bytes:
    """Return the bytes that stand for an `account` with its `balance` and `nonce` in the state tree.

    >>> account_leaf(b"a" * 32, 5, 1) == account_leaf(b"a" * 32, 1, 5)
    False
    """
    return encode(account, balance, nonce)


def verify_account(root: bytes, proof: AccountProof) -> bool:
    """Whether an account held what the `proof` of `Ledger.prove` says, in the state that a `root` commits to.

    As for every Merkle proof, the root does not bind the number of accounts, `proof.size`.

    >>> ledger = Ledger("main", {b"a" * 32: 5})
    >>> verify_account(ledger.root, ledger.prove(b"a" * 32)), verify_account(ledger.root, b"a" * 32)
    (True, False)
    """
    return fits(proof, AccountProof) and verify_inclusion(root, proof.leaf, proof.index, proof.size, proof.path)


def check_form(transfer: Signed[Transfer], chain: str) -> None:
    """Check of a `transfer` what needs no state: its `chain`, whom it pays what, its signature.

    >>> check_form(sign_transfer(SigningKey(bytes(32)), "main", {FEES: 5}, fee=1, nonce=1), "test")
    Traceback (most recent call last):
    web3scale.errors.Rejected: transfer: chain must be this one, got chain='main', this='test'
    """
    if not (is_message(transfer, Signed) and is_message(transfer.body, Transfer)):
        raise DomainError(f"check_form: transfer must be a signed Transfer, got {shown(transfer)}")
    order = transfer.body
    if type(chain) is not str or order.chain != chain:
        raise Rejected("transfer: chain must be this one", chain=order.chain, this=chain)
    paid = dict(order.payments)
    if not 0 < len(order.payments) == len(paid):
        raise Rejected("transfer: recipients must be one or more, all different", recipients=len(paid))
    if order.sender in paid:
        raise Rejected("transfer: sender and recipient must differ", sender=order.sender)
    if 0 in paid.values():
        raise Rejected("transfer: amounts must be positive", amount=0)
    # what `Signed.holds` says for one signer, a microsecond sooner: this is done for every transfer
    if len(transfer.signatures) != 1 or not verify_signature(order.sender, digest(order), transfer.signatures[0]):
        raise Rejected("transfer: the sender must sign exactly this", sender=order.sender)


def contract_account(chain: str, name: str, salt: int = 0) -> bytes:
    """Return the account of a contract `name` on a `chain`: a hash, so that nobody has a key for it.

    On a shard the `salt` is the first whose account lies there; elsewhere it is 0.

    >>> len(contract_account("main", "channels"))
    32
    """
    return tagged_hash("web3scale/contract", encode(chain, name, salt) if salt else encode(chain, name))


class _Places(dict[bytes, int]):
    """Where each account's balance and nonce are."""

    def __missing__(self, account: bytes) -> int:
        raise Rejected("ledger: account must be open", account=account)


@validated
class Ledger:
    """Accounts of one `chain`, with their opening `balances` in base units and the `nonces` of their last transfers.

    A name stands for one chain: what is signed for it names nothing else.

    >>> from web3scale.crypto import example_key
    >>> alice, bob = example_key("Alice"), public_key(example_key("Bob"))
    >>> ledger = Ledger("main", {public_key(alice): 10, bob: 0})
    >>> ledger.apply(sign_transfer(alice, "main", {bob: 7}, fee=1, nonce=1)).accepted
    True
    >>> ledger.balance(bob), ledger.total, ledger.height
    (7, 10, 1)
    >>> print(ledger.apply(sign_transfer(alice, "main", {bob: 7}, fee=1, nonce=2)).refusal)
    transfer: balance must cover amounts and fee, got balance=2, cost=8
    """

    def __init__(self, chain: str, balances: Mapping[bytes, int], nonces: Mapping[bytes, int] | None = None) -> None:
        encode(chain)  # refuses what no signature could be made for
        opening = {FEES: 0} | dict(balances)
        self.chain = chain
        self.blocks: list[Block] = []
        self._names = list(opening)
        self._balance = list(opening.values())
        self._nonce = [(nonces or {}).get(account, 0) for account in opening]
        self._index = _Places({account: i for i, account in enumerate(opening)})
        self._held: set[bytes] = set()  # accounts that spend nothing until what they wait for is decided
        self._closed: set[bytes] = set()  # accounts of contracts that no transfer may pay
        self._contracts: set[bytes] = set()
        self._family = {chain}  # the names of the chains that bridges join to this one, its own included: no two alike
        self._halted = False  # no block while the programs of a dispute run: it takes none
        self._keeps: Callable[[bytes], bool] = lambda account: True  # whose accounts: on a shard, not everybody's
        self._tree = MerkleTree(account_leaf(*self._state(i)) for i in range(len(opening)))
        self._dirty: set[int] = set()  # accounts whose leaf in the tree is older than their state

    def _state(self, index: int) -> tuple[bytes, int, int]:
        return self._names[index], self._balance[index], self._nonce[index]

    def __contains__(self, account: object) -> bool:
        return account in self._index

    def __len__(self) -> int:
        return len(self._names)

    @property
    def height(self) -> int:
        """Blocks appended: the time of everything that happens on this chain."""
        return len(self.blocks)

    def balance(self, account: bytes) -> int:
        """What an account holds, base units."""
        return self._balance[self._index[account]]

    def nonce(self, account: bytes) -> int:
        """The number of an account's last transfer."""
        return self._nonce[self._index[account]]

    @property
    def total(self) -> int:
        """All balances, contracts and fees included: it never changes."""
        return sum(self._balance)

    @property
    def root(self) -> bytes:
        """The state root: the tree is brought up to date for the accounts that changed since it was last asked for."""
        if self._dirty:
            names, balance, nonce = self._names, self._balance, self._nonce  # below: an `account_leaf` of each
            self._tree.update({i: encode(names[i], balance[i], nonce[i]) for i in self._dirty})
            self._dirty.clear()
        return self._tree.root

    def prove(self, account: bytes) -> AccountProof:
        """Show what an account holds under the present root."""
        index = self._index[account]
        self.root  # noqa: B018  brings the tree up to date
        return AccountProof(*self._state(index), index, len(self), self._tree.inclusion_proof(index))

    def open(self, account: bytes) -> None:
        """Open an account with nothing in it."""
        require(account not in self._contracts, "ledger: a contract opens its own account", account=account)
        require(self._keeps(account), "ledger: account must lie here", account=account)
        self._open(account)

    def _open(self, account: bytes) -> None:
        require(account not in self._index, "ledger: account must be new", account=account)
        self._tree.append(account_leaf(account, 0, 0))
        self._index[account] = len(self._names)
        self._names.append(account)
        self._balance.append(0)
        self._nonce.append(0)

    def apply(self, transfer: Signed[Transfer]) -> Receipt:
        """Append a block of one transfer, and return its receipt."""
        return self.apply_block([transfer]).receipts[0]

    def apply_block(self, transfers: Iterable[Signed[Transfer]] = ()) -> Block:
        """Append a block: a refused transfer has a receipt too, and does not stop the others.

        What are no signed transfers is a DomainError, and no block; nor is there one if `transfers` raise midway.
        """
        self._check_time()
        given = tuple(checked("Ledger.apply_block", "transfers", transfers, Iterable[Signed[Transfer]]))
        refusals = [refusal_of(check_form, transfer, self.chain) for transfer in given]
        before, apply = self.root, self._apply
        formed = zip(given, refusals, strict=True)
        return self._append(before, [Receipt(t, refused or refusal_of(apply, t.body)) for t, refused in formed])

    def _append(self, before: bytes, receipts: Iterable[Receipt]) -> Block:
        self.blocks.append(Block(self.height + 1, before, self.root, tuple(receipts)))
        return self.blocks[-1]

    def _apply(self, order: Transfer) -> None:
        self._check_state(order)
        self._check_recipients(order.payments, self._closed)
        self._charge(order, order.payments)

    # For the rules of the chain itself: a stranger has no way to call these

    def _check_time(self) -> None:
        require(not self._halted, "ledger: no dispute must be under way")

    def _check_state(self, order: Transfer) -> None:
        """Check a transfer against the sender's account."""
        index = self._index[order.sender]
        due, balance = self._nonce[index] + 1, self._balance[index]
        if order.sender in self._held:
            raise Rejected("transfer: sender must have no other transfer under way", sender=order.sender)
        if order.nonce != due:
            raise Rejected("transfer: nonce must be the next", nonce=order.nonce, next=due)
        if order.cost > balance:
            raise Rejected("transfer: balance must cover amounts and fee", balance=balance, cost=order.cost)

    def _check_recipients(self, payments: Iterable[tuple[bytes, int]], closed: set[bytes]) -> None:
        """Check that all who are paid have accounts here, and none is `closed` to such a transfer."""
        for recipient, _ in payments:
            self._index[recipient]  # refuses one that is not open
            if recipient in closed:
                raise Rejected("transfer: recipient must take transfers", recipient=recipient)

    def _charge(self, order: Transfer, payments: Iterable[tuple[bytes, int]]) -> None:
        """Carry out a transfer that was checked: the nonce, the fee, and the payments."""
        self._nonce[self._index[order.sender]] += 1
        self._move(order.sender, FEES, order.fee)
        for recipient, amount in payments:
            self._move(order.sender, recipient, amount)

    def _move(self, source: bytes, target: bytes, amount: int) -> None:
        """Move money: the one place where balances change."""
        start, end = self._index[source], self._index[target]
        if source in self._held:
            raise Rejected("ledger: what is held for one transfer must not be spent by another", account=source)
        if self._balance[start] < amount:
            raise Rejected("ledger: balance must cover the amount", balance=self._balance[start], amount=amount)
        self._balance[start] -= amount
        self._balance[end] += amount
        self._dirty |= {start, end}

    def _contract(self, name: str) -> bytes:
        """Give out the account of a contract, once: two contracts with one account would pay twice for one promise."""
        accounts = (contract_account(self.chain, name, salt) for salt in count())
        account = next(filter(self._keeps, accounts))  # on a shard: one that all others would look for here
        require(account not in self._contracts, "ledger: a chain has one contract of a name", name=name)
        self._contracts.add(account)
        if account not in self:
            self._open(account)
        return account
