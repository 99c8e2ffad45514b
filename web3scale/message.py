"""Messages: what is signed, declared once as fields. Their check, their digest and their signatures follow from that.

A *message* is a frozen record that cannot be made wrong: each field is exactly of its annotated type, and integers are
natural numbers. So no rule of a protocol asks for types again. A digest is of one kind of message, named by its module
and class (BIP 340). It tells messages of a kind apart as long as each field is of one plain type: a field that may be a
tuple or a number, or a message or bytes, may be written the same way twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from typing import Any, Generic, TypeVar, dataclass_transform

from nacl.signing import SigningKey

from web3scale.crypto import encode, sign, tagged_hash, verify_signature
from web3scale.errors import DomainError, shown
from web3scale.quantities import described, fits, hints

M = TypeVar("M")


@dataclass_transform(frozen_default=True)
def message(cls: type[M]) -> type[M]:
    """Make a message of a class, `cls`: a frozen dataclass that refuses fields which are not exactly of their types.

    >>> @message
    ... class Vote:
    ...     view: int
    ...     block: bytes
    >>> digest(Vote(3, b"block")) == digest(Vote(4, b"block"))
    False
    >>> Vote(3.0, b"block")
    Traceback (most recent call last):
    web3scale.errors.DomainError: Vote: view must be an integer of at least 0, got 3.0
    """
    cls.__post_init__ = _check_fields  # type: ignore[attr-defined]
    return dataclass(frozen=True)(cls)


def _check_fields(message: object) -> None:
    own: Any = type(message)
    for name, kind in hints(own).items():
        if not fits(value := getattr(message, name), kind):
            raise DomainError(f"{own.__name__}: {name} must be {described(kind)}, got {shown(value)}")


def digest(message: Any) -> bytes:
    """Return what is signed: every field of a `message`, in a domain of its own. What is no message is a DomainError.

    >>> digest("x")
    Traceback (most recent call last):
    web3scale.errors.DomainError: digest: message must be a message, got 'x'
    """
    kind: Any = type(message)
    tag, names = _declared(kind)
    if not names or tuple(fields := message.__dict__) != names:
        raise DomainError(f"digest: message must be a message, got {shown(message)}")
    return tagged_hash(tag, encode(*fields.values(), inside=_inside))


@cache
def _declared(kind: Any) -> tuple[str, tuple[str, ...]]:
    """The name of a kind of message, and those of its fields: of what is no message, none."""
    return f"{kind.__module__}.{kind.__qualname__}", tuple(getattr(kind, "__dataclass_fields__", ()))


def is_message(value: Any, kind: Any) -> bool:
    """Whether a `value` is a message of one `kind`, with all its fields and nothing else.

    >>> is_message(object.__new__(Signed), Signed), is_message(0, int)
    (False, False)
    """
    return type(value) is kind and bool(names := _declared(kind)[1]) and tuple(value.__dict__) == names  # type: ignore[arg-type]


def _inside(value: Any) -> list[Any]:
    return [len(value), *value] if type(value) is tuple else [digest(value)]


@message
class Signed(Generic[M]):
    """A message, `body`, and the `signatures` on it, in the order of those who must sign."""

    body: M
    signatures: tuple[bytes, ...]

    def holds(self, kind: type[M], signers: Sequence[bytes]) -> bool:
        """Whether the body is a message of one `kind`, signed by all of these, each once."""
        are_keys = isinstance(signers, (tuple, list)) and all(type(signer) is bytes for signer in signers)
        if type(self.body) is not kind or not are_keys or not len({*signers}) == len(signers) == len(self.signatures):
            return False
        return all(map(verify_signature, signers, repeat(digest(self.body)), self.signatures))


def signed(body: M, *keys: SigningKey) -> Signed[M]:
    """Sign a message, `body`, with each of the `keys`.

    >>> from web3scale.crypto import example_key, public_key
    >>> @message
    ... class Vote:
    ...     view: int
    >>> alice, bob = example_key("Alice"), example_key("Bob")
    >>> both = signed(Vote(3), alice, bob)
    >>> both.holds(Vote, [public_key(alice), public_key(bob)]), both.holds(Vote, [public_key(alice)])
    (True, False)
    """
    return Signed(body, tuple(sign(key, digest(body)) for key in keys))
