"""A ledger of accounts: signed transfers, a receipt for each, and a root that commits to the state. Chapter 3.

Vocabulary: an *account* is named by its public key and has a *balance* and a *nonce*, the number of its last transfer;
a *transfer* is valid on one *chain* only; a *receipt* says of a transfer that it was accepted, or why it was refused;
the *state root* is the Merkle root over all accounts.

Nothing is cloned: a transfer is checked in full before the first account is written. Algorithm 3.1 of the book.

Sources: Wood (2014), Ethereum yellow paper (accounts, nonces); Laurie, Langley and Kasper (2013), RFC 6962 (the tree).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from nacl.signing import SigningKey

from web3scale.crypto import MerkleTree, encode, public_key, sign, tagged_hash, verify_inclusion, verify_signature
from web3scale.errors import DomainError, Rejected, shown
from web3scale.formula import checked_integer

FEES = bytes(32)  # the account that collects fees: no key signs for it, since libsodium refuses points of small order


class NoTransfer(Rejected):
    """Something else than a transfer."""


class BadAmount(Rejected):
    """An amount or a fee is not a whole number of base units, or an amount is not positive."""


class BadRecipients(Rejected):
    """A transfer pays nobody, somebody twice, or its own sender."""


class BadSignature(Rejected):
    """The signature is not the sender's on exactly this message."""


class WrongChain(Rejected):
    """The message was signed for another chain."""


class UnknownAccount(Rejected):
    """No account of this name."""


class AccountExists(Rejected):
    """An account of this name was opened before."""


class WrongNonce(Rejected):
    """The nonce is not exactly one above the account's last."""


class Overdraft(Rejected):
    """The balance does not cover amounts and fee."""


@dataclass(frozen=True)
class Transfer:
    """A signed order to pay one account or several.

    Attributes
    ----------
    chain : str
        The chain on which it is valid.
    sender : bytes
        Public key of who pays.
    payments : tuple of (bytes, int)
        Who is paid, and how much, in base units.
    fee : int
        What the sender pays besides, in base units.
    nonce : int
        One above the sender's last.
    signature : bytes
        The sender's, on `message`.

    Examples
    --------
    >>> from web3scale.crypto import example_key, public_key
    >>> alice, bob = example_key("Alice"), example_key("Bob")
    >>> transfer = sign_transfer(alice, "main", {public_key(bob): 5}, fee=1, nonce=1)
    >>> transfer.cost
    6
    """

    chain: str
    sender: bytes
    payments: tuple[tuple[bytes, int], ...]
    fee: int
    nonce: int
    signature: bytes = b""

    @property
    def message(self) -> bytes:
        """The digest that is signed, and by which the transfer is known: of everything but the signature."""
        paid = (field for payment in self.payments for field in payment)
        fields = encode(self.chain, self.sender, self.fee, self.nonce, *paid)
        return tagged_hash("web3scale/transfer", fields)

    @property
    def cost(self) -> int:
        """All amounts and the fee, in base units."""
        return sum(amount for _, amount in self.payments) + self.fee


def sign_transfer(key: SigningKey, chain: str, payments: Mapping[bytes, int], *, fee: int, nonce: int) -> Transfer:
    """Make a transfer and sign it.

    Parameters
    ----------
    key
        The sender's secret key.
    chain
        The chain on which it shall be valid.
    payments
        Amount for each recipient, base units.
    fee
        Fee, base units.
    nonce
        One above the sender's last.

    Returns
    -------
    Transfer
        Signed; whether it is valid is for a ledger to say.

    Raises
    ------
    DomainError
        If an amount, the fee or the nonce is no natural number: such a message has no bytes.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> sign_transfer(example_key("Alice"), "main", {bytes(32): 5}, fee=1, nonce=1).nonce
    1
    """
    unsigned = Transfer(chain, public_key(key), tuple(payments.items()), fee, nonce)
    return replace(unsigned, signature=sign(key, unsigned.message))


@dataclass(frozen=True)
class Receipt:
    """What became of one transfer.

    Attributes
    ----------
    transfer : Transfer
        The transfer.
    refusal : Rejected or None
        Why it was refused; None if it was accepted.

    Examples
    --------
    >>> Receipt(Transfer("main", b"", (), 0, 1), None).accepted
    True
    """

    transfer: Transfer
    refusal: Rejected | None

    @property
    def accepted(self) -> bool:
        """Whether the transfer took effect."""
        return self.refusal is None


@dataclass(frozen=True)
class Block:
    """Transfers applied one after the other, and the state roots around them.

    Attributes
    ----------
    height : int
        Number of the block.
    before, after : bytes
        State roots.
    receipts : tuple of Receipt
        One for each transfer, in order.

    Examples
    --------
    >>> block = Ledger("main", {}).apply_block([])
    >>> block.height, block.before == block.after
    (1, True)
    """

    height: int
    before: bytes
    after: bytes
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True)
class AccountProof:
    """What an account held under a state root, and the digests that show it.

    Attributes
    ----------
    account : bytes
        Public key.
    balance, nonce : int
        Its state.
    index, size : int
        Its place among all accounts, and their number.
    path : tuple of bytes
        The inclusion proof.

    Examples
    --------
    >>> ledger = Ledger("main", {b"a" * 32: 5})
    >>> verify_account(ledger.root, ledger.prove(b"a" * 32))
    True
    """

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
    """Return the bytes that stand for an account in the state tree.

    Parameters
    ----------
    account
        Public key.
    balance, nonce
        Its state, natural numbers.

    Returns
    -------
    bytes
        Of any length.

    Examples
    --------
    >>> account_leaf(b"a" * 32, 5, 1) == account_leaf(b"a" * 32, 1, 5)
    False
    """
    return encode(account, balance, nonce)


def verify_account(root: bytes, proof: AccountProof) -> bool:
    """Whether an account held what the proof says, in the state that a root commits to.

    Parameters
    ----------
    root
        State root.
    proof
        From `Ledger.prove`.

    Returns
    -------
    bool
        True if the proof leads to the root.

    Examples
    --------
    >>> ledger = Ledger("main", {b"a" * 32: 5})
    >>> verify_account(ledger.root, replace(ledger.prove(b"a" * 32), balance=6))
    False
    """
    try:
        if type(proof) is not AccountProof:
            return False
        return verify_inclusion(root, proof.leaf, proof.index, proof.size, proof.path)
    except (AttributeError, DomainError):  # a field that has no bytes proves nothing
        return False


def check_form(transfer: Transfer, chain: str) -> None:
    """Check what can be checked without the state: chain, amounts, recipients, signature.

    Parameters
    ----------
    transfer
        The transfer.
    chain
        The chain that checks it.

    Raises
    ------
    Rejected
        If a rule is broken: NoTransfer, WrongChain, BadAmount, BadRecipients, WrongNonce, BadSignature.

    Examples
    --------
    >>> check_form(Transfer("main", b"", (), 0, 1), "test")
    Traceback (most recent call last):
    web3scale.layers.ledger.WrongChain: transfer: chain must be 'test', got chain='main'
    """
    if type(transfer) is not Transfer:
        raise NoTransfer("transfer: it must be a Transfer", given=transfer)
    if type(transfer.chain) is not str or transfer.chain != chain:
        raise WrongChain(f"transfer: chain must be {chain!r}", chain=transfer.chain)
    check_payments(transfer)
    if not verify_signature(transfer.sender, transfer.message, transfer.signature):
        raise BadSignature("transfer: signature must be the sender's on this message", sender=transfer.sender)


def check_payments(transfer: Transfer) -> None:
    """Check that a transfer pays whole amounts to others, and is of the right types: what comes before its bytes.

    Parameters
    ----------
    transfer
        The transfer, as a stranger may have made it.

    Raises
    ------
    Rejected
        If a rule is broken: NoTransfer, BadAmount, BadRecipients, WrongNonce, BadSignature.

    Examples
    --------
    >>> check_payments(Transfer("main", b"", [], 0, 1))
    Traceback (most recent call last):
    web3scale.layers.ledger.BadRecipients: transfer: payments must be a tuple of pairs, got payments=[]
    """
    if type(transfer) is not Transfer:
        raise NoTransfer("transfer: it must be a Transfer", given=transfer)
    if type(transfer.sender) is not bytes:
        raise BadSignature("transfer: sender must be a key", sender=transfer.sender)
    pairs = transfer.payments  # a list could still change after the digest was taken
    if type(pairs) is not tuple or not all(
        type(pair) is tuple and len(pair) == 2 and type(pair[0]) is bytes for pair in pairs
    ):
        raise BadRecipients("transfer: payments must be a tuple of pairs", payments=pairs)
    for _, amount in pairs:
        if type(amount) is not int or amount < 1:
            raise BadAmount("transfer: amount must be a positive integer", amount=amount)
    if type(transfer.fee) is not int or transfer.fee < 0:
        raise BadAmount("transfer: fee must be an integer of at least 0", fee=transfer.fee)
    if type(transfer.nonce) is not int or transfer.nonce < 1:
        raise WrongNonce("transfer: nonce must be a positive integer", nonce=transfer.nonce)
    recipients = [recipient for recipient, _ in transfer.payments]
    if not recipients or len(set(recipients)) < len(recipients):
        raise BadRecipients("transfer: recipients must be one or more, all different", recipients=len(recipients))
    if transfer.sender in recipients:
        raise BadRecipients("transfer: sender and recipient must differ", sender=transfer.sender)


class Ledger:
    """Accounts of one chain.

    Parameters
    ----------
    chain
        Its name; transfers signed for another are refused.
    balances
        Opening balance of each account, base units.
    nonces
        Number of each account's last transfer; 0 where none is given.

    Raises
    ------
    DomainError
        If the name is no text, or an opening balance or nonce no natural number.

    Attributes
    ----------
    chain : str
        Its name.
    height : int
        Blocks applied.
    contracts : list of callable
        Rules of the chain that act at the end of every block: each is called with the receipts.

    Examples
    --------
    >>> from web3scale.crypto import example_key, public_key
    >>> alice, bob = example_key("Alice"), public_key(example_key("Bob"))
    >>> ledger = Ledger("main", {public_key(alice): 10, bob: 0})
    >>> ledger.apply(sign_transfer(alice, "main", {bob: 7}, fee=1, nonce=1)).accepted
    True
    >>> ledger.balance(bob), ledger.total
    (7, 10)
    >>> print(ledger.apply(sign_transfer(alice, "main", {bob: 7}, fee=1, nonce=2)).refusal)
    transfer: balance must cover amounts and fee, got balance=2, cost=8
    """

    def __init__(self, chain: str, balances: Mapping[bytes, int], nonces: Mapping[bytes, int] | None = None) -> None:
        if not isinstance(chain, str):
            raise DomainError(f"Ledger: chain must be text, got {shown(chain)}")
        encode(chain)  # refuses what no signature could be made for
        self.chain = chain
        self.height = 0
        self.contracts: list[Callable[[tuple[Receipt, ...]], None]] = []
        opening = {FEES: 0} | dict(balances)
        self._balance = [checked_integer("Ledger", "balances", amount, low=0) for amount in opening.values()]
        last = nonces or {}
        self._nonce = [checked_integer("Ledger", "nonces", last.get(account, 0), low=0) for account in opening]
        self._names = list(opening)
        self._index = {account: i for i, account in enumerate(opening)}
        self._tree = MerkleTree(account_leaf(*self._state(i)) for i in range(len(opening)))
        self._dirty: set[int] = set()  # accounts whose leaf in the tree is older than their state

    def _state(self, index: int) -> tuple[bytes, int, int]:
        return self._names[index], self._balance[index], self._nonce[index]

    def _at(self, account: bytes) -> int:
        if account not in self._index:
            raise UnknownAccount("ledger: account must be open", account=account)
        return self._index[account]

    def __contains__(self, account: bytes) -> bool:
        return account in self._index

    def __len__(self) -> int:
        return len(self._names)

    def balance(self, account: bytes) -> int:
        """What an account holds, base units; `UnknownAccount` if there is none."""
        return self._balance[self._at(account)]

    def nonce(self, account: bytes) -> int:
        """The number of an account's last transfer; `UnknownAccount` if there is none."""
        return self._nonce[self._at(account)]

    @property
    def total(self) -> int:
        """All balances, fees collected included."""
        return sum(self._balance)

    @property
    def root(self) -> bytes:
        """The state root: the tree is brought up to date for the accounts that changed since it was last asked for."""
        if self._dirty:
            self._tree.update({i: account_leaf(*self._state(i)) for i in self._dirty})
            self._dirty.clear()
        return self._tree.root

    def prove(self, account: bytes) -> AccountProof:
        """Show what an account holds under the present root; `UnknownAccount` if there is none."""
        index = self._at(account)
        self.root  # noqa: B018  brings the tree up to date
        path = self._tree.inclusion_proof(index)
        return AccountProof(*self._state(index), index, len(self), path)

    def open(self, account: bytes) -> None:
        """Open an account with nothing in it; `AccountExists` if there is one."""
        if account in self._index:
            raise AccountExists("ledger: account must be new", account=account)
        leaf = account_leaf(account, 0, 0)  # refuses what has no bytes, before anything is written
        self._index[account] = len(self._names)
        self._names.append(account)
        self._balance.append(0)
        self._nonce.append(0)
        self._tree.append(leaf)

    def check_sender(self, transfer: Transfer) -> None:
        """Check a transfer against the sender's account; `UnknownAccount`, `WrongNonce` or `Overdraft`."""
        index = self._at(transfer.sender)
        if transfer.nonce != self._nonce[index] + 1:
            raise WrongNonce(f"transfer: nonce must be {self._nonce[index] + 1}", nonce=transfer.nonce)
        if transfer.cost > self._balance[index]:
            raise Overdraft(
                "transfer: balance must cover amounts and fee", balance=self._balance[index], cost=transfer.cost
            )

    def check_recipients(self, transfer: Transfer) -> None:
        """Check that all recipients have accounts here; `UnknownAccount`."""
        for recipient, _ in transfer.payments:
            self._at(recipient)

    def charge(self, transfer: Transfer) -> None:
        """Take a checked transfer's cost from its sender and advance the nonce; the fee goes to `FEES`."""
        self.debit(transfer.sender, transfer.cost)
        self._nonce[self._index[transfer.sender]] += 1
        if transfer.fee:
            self.credit(FEES, transfer.fee)

    def credit(self, account: bytes, amount: int) -> None:
        """Add to a balance: for whoever takes as much away elsewhere; `UnknownAccount`, `BadAmount`."""
        self._move("credit", account, amount, sign=1)

    def debit(self, account: bytes, amount: int) -> None:
        """Take from a balance: for whoever adds as much elsewhere; `UnknownAccount`, `BadAmount`, `Overdraft`."""
        self._move("debit", account, amount, sign=-1)

    def _move(self, what: str, account: bytes, amount: int, sign: int) -> None:
        index = self._at(account)
        if type(amount) is not int or amount < 1:
            raise BadAmount(f"{what}: amount must be a positive integer", amount=amount)
        if self._balance[index] + sign * amount < 0:
            raise Overdraft(f"{what}: balance must cover the amount", balance=self._balance[index], amount=amount)
        self._balance[index] += sign * amount
        self._dirty.add(index)

    def apply(self, transfer: Transfer) -> Receipt:
        """Apply a transfer wholly or not at all, and say in a receipt which."""
        try:
            check_form(transfer, self.chain)
            self.check_sender(transfer)
            self.check_recipients(transfer)
        except Rejected as refusal:
            return Receipt(transfer, refusal)
        self.charge(transfer)
        for recipient, amount in transfer.payments:
            self.credit(recipient, amount)
        return Receipt(transfer, None)

    def apply_block(self, transfers: Iterable[Transfer]) -> Block:
        """Apply transfers in order: a refused one has a receipt too, and does not stop the others."""
        before = self.root
        receipts = tuple(self.apply(transfer) for transfer in transfers)
        self.height += 1
        for contract in self.contracts:
            contract(receipts)
        return Block(self.height, before, self.root, receipts)
