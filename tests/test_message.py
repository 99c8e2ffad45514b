"""Messages: records that cannot be made wrong, digests of all they say, and signatures attacked one by one."""

import copy
import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web3scale.crypto import encode, example_key, public_key, sign, tagged_hash
from web3scale.errors import DomainError
from web3scale.message import Signed, digest, message, signed

KEYS = [example_key(name) for name in ("Alice", "Bob", "Carol")]
ALICE, BOB, CAROL = map(public_key, KEYS)


@message
class Payment:
    """A message with fields of every sort."""

    payer: bytes
    amount: int
    shares: tuple[int, ...]
    memo: str = ""


@message
class Refund:
    """The same fields under another name: another kind."""

    payer: bytes
    amount: int
    shares: tuple[int, ...]
    memo: str = ""


@message
class Order:
    """Messages inside a message."""

    parts: tuple[Payment, ...]
    last: Payment


class Counterfeit(Payment):
    """A subclass, which could answer anything."""


PAID = Payment(ALICE, 5, (1, 2))
BOTH = signed(PAID, KEYS[0], KEYS[1])


# A message cannot be made wrong


class Sub(int):
    """An integer that could say anything of itself."""


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *[("payer", x) for x in ("text", None, 3, bytearray(b"x"), [b"x"])],
        *[("amount", x) for x in (-1, 1.0, True, None, "1", Sub(1), 1 - 2**70)],
        *[("shares", x) for x in ([1, 2], (1, -1), (1.0,), None, 3, "12", ((1,),))],
        *[("memo", x) for x in (b"x", None, 3)],
    ],
)
def test_a_field_of_another_type_is_refused(field, bad):
    fields = {"payer": ALICE, "amount": 5, "shares": (1, 2), "memo": ""} | {field: bad}
    with pytest.raises(DomainError, match=f"^Payment: {field} must be "):
        Payment(**fields)
    with pytest.raises(DomainError, match=f"^Payment: {field} must be "):
        dataclasses.replace(PAID, **{field: bad})


@pytest.mark.parametrize("bad", [None, 3, Refund(ALICE, 5, ()), object.__new__(Payment), [PAID], Payment], ids=type)
def test_a_message_inside_another_is_looked_at_too(bad):
    assert Order((PAID,), PAID).parts == (PAID,)
    with pytest.raises(DomainError, match=r"^Order: last must be "):
        Order((), bad)
    for parts in ((bad,), (PAID, bad), [PAID], PAID):
        with pytest.raises(DomainError, match=r"^Order: parts must be "):
            Order(parts, PAID)


def test_a_message_is_frozen_and_compared_by_its_fields():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAID.amount = 6
    assert Payment(ALICE, 5, (1, 2)) == PAID != Payment(ALICE, 6, (1, 2))
    assert Refund(ALICE, 5, (1, 2)) != PAID
    assert len({PAID, Payment(ALICE, 5, (1, 2))}) == 1
    assert copy.deepcopy(PAID) == pickle.loads(pickle.dumps(PAID)) == PAID


# A digest says all that the message says

payments = st.builds(
    Payment,
    payer=st.binary(max_size=2),
    amount=st.integers(0, 300),
    shares=st.lists(st.integers(0, 2), max_size=3).map(tuple),
    memo=st.text(max_size=2),
)


@given(payments, payments)
def test_two_messages_share_a_digest_only_if_they_are_one(one, other):
    assert (digest(one) == digest(other)) == (one == other)


@given(st.lists(payments, max_size=3).map(tuple), st.lists(payments, max_size=3).map(tuple))
def test_messages_inside_a_message_are_digested_too(one, other):
    assert (digest(Order(one, PAID)) == digest(Order(other, PAID))) == (one == other)


def test_kinds_never_share_a_digest():
    assert digest(PAID) != digest(Refund(ALICE, 5, (1, 2)))
    assert digest(Signed(PAID, ())) != digest(PAID)


def test_the_border_between_two_lists_is_part_of_the_digest():
    @message
    class Two:
        left: tuple[int, ...]
        right: tuple[int, ...]

    found = {digest(Two(*pair)) for pair in [((1, 2), ()), ((1,), (2,)), ((), (1, 2))]}
    assert len(found) == 3


def test_a_digest_by_hand():
    # the tag names the kind; a list is preceded by its length (BIP 340, and `encode` of Primer B)
    assert digest(PAID) == tagged_hash(f"{__name__}.Payment", encode(ALICE, 5, 2, 1, 2, ""))


@pytest.mark.parametrize(
    "bad", [None, 3, "x", b"x", (), [PAID], Payment, object(), object.__new__(Payment)], ids=lambda x: type(x).__name__
)
def test_what_is_no_message_has_no_digest(bad):
    with pytest.raises(DomainError, match=r"^digest: message must be a message, got "):
        digest(bad)


def test_a_message_changed_behind_its_back_has_no_digest():
    forced = Payment(ALICE, 5, (1, 2))
    object.__setattr__(forced, "amount", -5)
    with pytest.raises(DomainError, match=r"got -5$"):
        digest(forced)


def test_a_message_with_one_more_field_is_none():
    """It would be signed for as if the field were not there, or as a message with another border."""
    more = Payment(ALICE, 5, (1, 2))
    object.__setattr__(more, "extra", 1)
    with pytest.raises(DomainError, match=r"^digest: message must be a message, got "):
        digest(more)


# Signatures


def test_all_must_sign_each_once_in_their_order():
    assert BOTH.holds(Payment, [ALICE, BOB])
    assert BOTH.holds(Payment, (ALICE, BOB))
    assert signed(PAID, KEYS[0]).holds(Payment, [ALICE])
    assert signed(PAID).holds(Payment, [])
    assert BOTH.signatures == (sign(KEYS[0], digest(PAID)), sign(KEYS[1], digest(PAID)))


@pytest.mark.parametrize(
    "signers",
    [[BOB, ALICE], [ALICE], [], [ALICE, CAROL], [ALICE, BOB, CAROL], [ALICE, ALICE], [ALICE, BOB, BOB], [BOB, BOB]],
)
def test_signed_by_others_it_does_not_hold(signers):
    assert BOTH.holds(Payment, signers) is False


ONE, TWO = BOTH.signatures


@pytest.mark.parametrize(
    "signatures",
    [
        (TWO, ONE),
        (ONE,),
        (),
        (ONE, ONE),
        (ONE, TWO, TWO),
        (ONE, TWO, b""),
        (ONE, b""),
        (ONE, bytes(64)),
        (ONE, TWO[:-1]),
        (ONE, TWO + b"x"),
        (ONE, sign(KEYS[1], digest(Payment(ALICE, 6, (1, 2))))),
        (ONE, sign(KEYS[1], digest(Refund(ALICE, 5, (1, 2))))),
    ],
)
def test_other_signatures_do_not_hold(signatures):
    assert Signed(PAID, signatures).holds(Payment, [ALICE, BOB]) is False


def test_one_who_must_sign_twice_never_holds():
    twice = signed(PAID, KEYS[0], KEYS[0])
    assert not twice.holds(Payment, [ALICE, ALICE])
    assert not twice.holds(Payment, [ALICE])


def test_a_message_of_another_kind_does_not_hold():
    refund = Refund(ALICE, 5, (1, 2))
    assert not BOTH.holds(Refund, [ALICE, BOB])
    assert not signed(refund, KEYS[0]).holds(Payment, [ALICE])
    assert not Signed(refund, BOTH.signatures).holds(Refund, [ALICE, BOB])  # signatures carried over
    fake = Counterfeit(ALICE, 5, (1, 2))
    assert not signed(fake, KEYS[0]).holds(Payment, [ALICE])
    assert not Signed(fake, BOTH.signatures).holds(Payment, [ALICE, BOB])


def test_a_signature_on_a_changed_body_does_not_hold():
    for field, value in {"payer": BOB, "amount": 6, "shares": (1, 3), "memo": "x"}.items():
        body = dataclasses.replace(PAID, **{field: value})
        assert not Signed(body, BOTH.signatures).holds(Payment, [ALICE, BOB])


def test_what_no_constructor_saw_is_refused():
    hollow = object.__new__(Payment)
    with pytest.raises(DomainError):
        Signed(hollow, (ONE,)).holds(Payment, [ALICE])
    with pytest.raises(DomainError):
        signed(hollow, KEYS[0])


@pytest.mark.parametrize("bad", [[b"x"], "x", None, (3,), (None,), (bytearray(64),)])
def test_signatures_are_a_tuple_of_bytes(bad):
    with pytest.raises(DomainError, match=r"^Signed: signatures must be "):
        Signed(PAID, bad)


@pytest.mark.parametrize("bad", [None, 3, "Alice", ALICE])
def test_only_keys_sign(bad):
    with pytest.raises(DomainError, match=r"^sign: key must be "):
        signed(PAID, bad)


def kind_of(module):
    """A kind of message called Payment, as somebody else's module may have one."""

    class Payment:
        author: bytes
        number: int

    Payment.__module__ = module
    return message(Payment)


def test_a_name_alone_does_not_make_a_kind():
    """A signature on somebody else's message of the same class name and fields must be worth nothing here."""
    ours, theirs = kind_of("bank"), kind_of("forum")
    assert digest(ours(b"a", 1)) != digest(theirs(b"a", 1))
    whole = signed(theirs(b"a", 1), KEYS[0])
    assert not Signed(ours(b"a", 1), whole.signatures).holds(ours, [ALICE])
