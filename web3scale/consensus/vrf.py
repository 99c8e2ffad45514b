"""A verifiable random function: an output that only the secret key can make, and that anybody can check.

For each public key and *message* there is one *output*, 64 bytes that nobody can tell from random ones without the
secret key. The holder of the key *proves* it: from the *proof*, 80 bytes, anybody *verifies* the output. So a lottery
needs no trusted draw: each draws for itself, and shows the proof if it has won. Nobody can choose among outputs; but a
winner can keep silent.

A *point* of the curve is encoded in 32 bytes. Only one in eight lies in the *main subgroup*, whose order is a prime. A
point added to itself eight times does, and 8 is called the *cofactor*.

The function is ECVRF-EDWARDS25519-SHA512-TAI over libsodium's curve points. It takes as long as the message wills, so
the message must be no secret. Algorithm 4.1 of the book. Source: Goldberg et al. (2023), RFC 9381.
"""

from hashlib import sha512

from nacl.bindings import crypto_core_ed25519_add, crypto_core_ed25519_sub, crypto_scalarmult_ed25519_noclamp
from nacl.exceptions import RuntimeError as NoPoint
from nacl.signing import SigningKey

from web3scale.crypto import public_key
from web3scale.errors import DomainError, shown
from web3scale.quantities import validated

ORDER = 2**252 + 27742317777372353535851937790883648493  # order of the main subgroup
SUITE, TO_CURVE, CHALLENGE, OUTPUT = b"\x03", b"\x01", b"\x02", b"\x03"
BASE, ZERO = b"\x58" + b"\x66" * 31, b"\x01" + bytes(31)  # the generator of the subgroup, and the neutral point


@validated
def prove(key: SigningKey, message: bytes) -> bytes:
    """Return the proof, 80 bytes, of the output that belongs to a secret key and a message; always the same.

    >>> from web3scale.crypto import example_key
    >>> proof = prove(example_key("Alice"), b"epoch 7")
    >>> verify(public_key(example_key("Alice")), b"epoch 7", proof) == output(proof)
    True
    """
    public, secret = public_key(key), sha512(bytes(key)).digest()
    clamped = int.from_bytes(secret[:32], "little") & ((1 << 254) - 8) | 1 << 254  # RFC 8032, section 5.1.5
    point = _to_curve(public, message)
    gamma = _times(clamped, point)
    nonce = int.from_bytes(sha512(secret[32:] + point).digest(), "little") % ORDER  # RFC 9381, section 5.4.2.2
    challenge = _challenge(public, point, gamma, _times(nonce, BASE), _times(nonce, point))
    answer = (nonce + int.from_bytes(challenge, "little") * clamped) % ORDER
    return gamma + challenge + answer.to_bytes(32, "little")


def verify(public: bytes, message: bytes, proof: bytes) -> bytes | None:
    """Return the output that a `proof` shows for a `public` key and a `message`, or None if it shows none.

    Nothing malformed raises. A key of small order is refused, since all its outputs are one that everybody knows (RFC
    9381, section 5.4.5); so the output is unique whoever made the key. The proof is not: the holder of the key can make
    several, all of the same output.

    >>> from web3scale.crypto import example_key
    >>> alice, proof = public_key(example_key("Alice")), prove(example_key("Alice"), b"epoch 7")
    >>> verify(alice, b"epoch 7", proof).hex()[:8], verify(alice, b"epoch 8", proof)
    ('3ee6120f', None)
    """
    if not (type(public) is type(message) is type(proof) is bytes and len(proof) == 80):
        return None
    gamma, challenge, answer = proof[:32], proof[32:48], int.from_bytes(proof[48:], "little")
    if answer >= ORDER or not (_is_point(public) and _is_point(gamma)) or _eightfold(public) == ZERO:
        return None
    point, factor = _to_curve(public, message), int.from_bytes(challenge, "little")
    first = crypto_core_ed25519_sub(_times(answer, BASE), _times(factor, public))
    second = crypto_core_ed25519_sub(_times(answer, point), _times(factor, gamma))
    return output(proof) if _challenge(public, point, gamma, first, second) == challenge else None


@validated
def output(proof: bytes) -> bytes:
    """Return the output of a proof that `verify` accepts, 64 bytes; of any other proof it means nothing.

    >>> from web3scale.crypto import example_key
    >>> len(output(prove(example_key("Alice"), b"epoch 7")))
    64
    """
    if len(proof) != 80 or not _is_point(proof[:32]):
        raise DomainError(f"output: proof must be one of 80 bytes that begin with a point, got {shown(proof)}")
    return sha512(SUITE + OUTPUT + _eightfold(proof[:32]) + b"\x00").digest()


def _is_point(point: bytes) -> bool:
    """Whether bytes are the one encoding of a point: adding nothing gives them back."""
    try:
        return len(point) == 32 and crypto_core_ed25519_add(point, ZERO) == point
    except NoPoint:
        return False


def _eightfold(point: bytes) -> bytes:
    for _ in range(3):
        point = crypto_core_ed25519_add(point, point)
    return point


def _times(scalar: int, point: bytes) -> bytes:
    """A multiple of any point. Libsodium refuses those outside the main subgroup: they are doubled and added."""
    try:
        return crypto_scalarmult_ed25519_noclamp(scalar.to_bytes(32, "little"), point)
    except NoPoint:
        total = ZERO
        for bit in f"{scalar:b}":
            total = crypto_core_ed25519_add(total, total)
            total = crypto_core_ed25519_add(total, point) if bit == "1" else total
        return total


def _to_curve(public: bytes, message: bytes) -> bytes:
    """A point of the subgroup that depends on key and message: try and increment. RFC 9381, section 5.4.1.1."""
    for attempt in range(256):  # half of all strings are points: that all fail happens once in 2²⁵⁶ messages
        hashed = sha512(SUITE + TO_CURVE + public + message + bytes([attempt]) + b"\x00").digest()[:32]
        if _is_point(hashed) and (point := _eightfold(hashed)) != ZERO:
            return point
    raise DomainError("prove: the message must lead to a point of the curve")


def _challenge(*points: bytes) -> bytes:
    """RFC 9381, section 5.4.3."""
    return sha512(SUITE + CHALLENGE + b"".join(points) + b"\x00").digest()[:16]
