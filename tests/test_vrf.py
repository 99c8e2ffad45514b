"""The verifiable random function: RFC 9381's bytes, an implementation on plain integers, and what forgers try."""

from hashlib import sha512

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from web3scale.consensus.vrf import BASE, ORDER, ZERO, output, prove, verify
from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError, Rejected

ALICE, BOB = example_key("Alice"), example_key("Bob")
A, B = public_key(ALICE), public_key(BOB)
MESSAGE = b"epoch 7"
PROOF = prove(ALICE, MESSAGE)

# RFC 9381, appendix B.3, examples 16 and 17: secret key, public key, message, proof, output
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d97"
        "27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
        "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff"
        "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465"
        "301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
        "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb"
        "5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
    ),
]


# The curve on plain integers: shares no line with the package

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def plus(p, q):
    (x, y), (u, v) = p, q
    t = D * x * u * y * v % P
    return (x * v + u * y) * pow(1 + t, -1, P) % P, (y * v + x * u) * pow(1 - t, -1, P) % P


def times(k, p):
    total = (0, 1)
    while k:
        total, p, k = plus(total, p) if k & 1 else total, plus(p, p), k >> 1
    return total


def minus(p):
    return -p[0] % P, p[1]


def point_of(data):
    """RFC 8032, section 5.1.3; None where no point is encoded."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        return None
    return (x if x & 1 == sign else P - x), y


def bytes_of(p):
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


def h(*parts):
    return sha512(b"".join(parts)).digest()


def number(data):
    return int.from_bytes(data, "little")


def secret_of(key):
    return number(h(bytes(key))[:32]) & ~7 & (1 << 254) - 1 | 1 << 254


def hashed_to(public, message):
    found = (point_of(h(b"\x03\x01", public, message, bytes([i]), b"\x00")[:32]) for i in range(256))
    return next(point for p in found if p and (point := times(8, p)) != (0, 1))


def forge(secret, public, message, nonce, gamma=None):
    """A proof as the RFC makes it, of any secret and public key, with any nonce and any Γ; and its challenge."""
    point = hashed_to(public, message)
    gamma = times(secret, point) if gamma is None else gamma
    parts = [public, *map(bytes_of, (point, gamma, times(nonce, point_of(BASE)), times(nonce, point)))]
    challenge = h(b"\x03\x02", *parts, b"\x00")[:16]
    answer = (nonce + number(challenge) * secret) % ORDER
    return bytes_of(gamma) + challenge + answer.to_bytes(32, "little"), number(challenge)


def small_points():
    """The 8 points of order 1, 2, 4 and 8."""
    found = (times(ORDER, point_of(data)) for i in range(99) if point_of(data := i.to_bytes(32, "little")))
    one = next(p for p in found if times(4, p) != (0, 1))
    return [times(i, one) for i in range(8)]


SMALL = small_points()


@pytest.mark.parametrize(("secret", "public", "message", "proof", "result"), VECTORS)
def test_the_bytes_of_the_rfc(secret, public, message, proof, result):
    key, said = SigningKey(bytes.fromhex(secret)), bytes.fromhex(message)
    assert public_key(key).hex() == public
    assert prove(key, said).hex() == proof
    assert output(bytes.fromhex(proof)).hex() == result
    assert verify(bytes.fromhex(public), said, bytes.fromhex(proof)).hex() == result


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_plain_integers_give_the_same_bytes(seed, message):
    key = SigningKey(seed)
    proof, public = prove(key, message), public_key(key)
    nonce = number(h(h(seed)[32:], bytes_of(hashed_to(public, message)))) % ORDER
    assert proof == forge(secret_of(key), public, message, nonce)[0]
    gamma = times(8, point_of(proof[:32]))
    assert verify(public, message, proof) == output(proof) == h(b"\x03\x03", bytes_of(gamma), b"\x00")


def test_outputs_look_random():
    outputs = [output(prove(ALICE, b"%d" % i)) for i in range(500)]
    assert len(set(outputs)) == 500
    ones = sum(number(o).bit_count() for o in outputs)
    assert abs(ones - 500 * 256) < 5 * (500 * 128) ** 0.5


# What is refused


def test_another_key_or_message_is_refused():
    assert verify(A, MESSAGE, PROOF)
    assert verify(B, MESSAGE, PROOF) is None
    assert verify(A, MESSAGE + b"\x00", PROOF) is None
    assert verify(A, b"", PROOF) is None


def flipped(data, bit):
    return (number(data) ^ 1 << bit).to_bytes(len(data), "little")


def test_every_flipped_bit_is_refused():
    assert [bit for bit in range(640) if verify(A, MESSAGE, flipped(PROOF, bit))] == []
    assert [bit for bit in range(256) if verify(flipped(A, bit), MESSAGE, PROOF)] == []
    assert [bit for bit in range(8 * len(MESSAGE)) if verify(A, flipped(MESSAGE, bit), PROOF)] == []


def test_an_answer_has_one_form():
    answer = number(PROOF[48:])
    for more in range(answer + ORDER, 2**256, ORDER):
        assert verify(A, MESSAGE, PROOF[:48] + more.to_bytes(32, "little")) is None
    assert verify(A, MESSAGE, PROOF[:48] + ORDER.to_bytes(32, "little")) is None


def other_forms():
    """Encodings that a careless decoder takes for points: y not below p, and x = 0 with a sign."""
    ys = [*range(P, 2**255), 1, P - 1]
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1) if y >= P or sign]


def test_a_point_has_one_form():
    assert len(other_forms()) == 40
    for form in other_forms():
        assert point_of(form) is None
        assert verify(form, MESSAGE, PROOF) is None
        assert verify(A, MESSAGE, form + PROOF[32:]) is None
        with pytest.raises(DomainError):
            output(form + PROOF[32:])


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.one_of(st.binary(max_size=40), st.just(A)), st.binary(max_size=9), st.binary(max_size=100))
def test_no_bytes_raise(public, message, proof):
    assert verify(public, message, proof) is None


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.sampled_from([*map(bytes_of, SMALL), A, B, bytes(32), b"\xff" * 32]), st.binary(min_size=16, max_size=16))
def test_no_strange_point_raises(gamma, challenge):
    for answer in (0, 1, ORDER - 1, ORDER, 2**256 - 1):
        proof = gamma + challenge + answer.to_bytes(32, "little")
        assert verify(A, MESSAGE, proof) is None
        assert verify(gamma, MESSAGE, gamma + bytes(16) + proof[48:]) is None


@pytest.mark.parametrize("length", [0, 1, 31, 32, 79, 81, 160])
def test_wrong_lengths_are_refused(length):
    assert verify(A, MESSAGE, (PROOF * 2)[:length]) is None
    assert verify((A * 5)[:length], MESSAGE, PROOF) is None or length == 32
    with pytest.raises(DomainError):
        output((PROOF * 2)[:length])


@pytest.mark.parametrize("strange", [None, "x", 5, bytearray(32), memoryview(A), [A], object()])
def test_what_is_no_bytes_is_refused(strange):
    assert verify(strange, MESSAGE, PROOF) is None
    assert verify(A, strange, PROOF) is None
    assert verify(A, MESSAGE, strange) is None
    for call in (lambda: prove(strange, MESSAGE), lambda: prove(ALICE, strange), lambda: output(strange)):
        with pytest.raises((DomainError, Rejected)):
            call()


# Attacks


def test_a_key_of_small_order_is_refused_though_its_equations_hold():
    """Whoever knows no secret can prove for it: its outputs would be known to everybody, and the lottery theirs."""
    assert len(set(SMALL)) == 8
    for point in SMALL:
        public = bytes_of(point)
        for nonce in range(1, 200):  # until the challenge is a multiple of 8, and the key falls out of the equation
            proof, challenge = forge(0, public, MESSAGE, nonce)
            if challenge % 8 == 0:
                break
        assert challenge % 8 == 0
        assert output(proof) == output(ZERO + proof[32:])
        assert verify(public, MESSAGE, proof) is None


def test_a_holder_can_make_other_proofs_but_no_other_output():
    """The RFC accepts them: points outside the main subgroup, which libsodium's multiplication refuses."""
    secret, found = secret_of(ALICE), 0
    gamma = times(secret, hashed_to(A, MESSAGE))
    for nonce in range(1, 60):
        plain, _ = forge(secret, A, MESSAGE, nonce)  # another nonce: another proof
        assert verify(A, MESSAGE, plain) == output(PROOF)
        proof, challenge = forge(secret, A, MESSAGE, nonce, plus(gamma, SMALL[1]))
        assert (verify(A, MESSAGE, proof) == output(PROOF)) == (challenge % 8 == 0)
        assert verify(A, MESSAGE, proof) in (None, output(PROOF))
        found += challenge % 8 == 0
    assert found


def test_a_key_outside_the_main_subgroup_is_a_key():
    """Its holder has one output too; the RFC refuses only keys of small order."""
    secret = secret_of(ALICE)
    public = bytes_of(plus(point_of(A), SMALL[1]))
    outputs = set()
    for nonce in range(1, 60):
        proof, challenge = forge(secret, public, MESSAGE, nonce)
        assert (verify(public, MESSAGE, proof) is not None) == (challenge % 8 == 0)
        outputs.add(verify(public, MESSAGE, proof))
    assert len(outputs - {None}) == 1


def test_another_output_is_refused():
    """The forger knows the secret and chooses another Γ: it would need a challenge that it cannot choose."""
    secret, point = secret_of(ALICE), hashed_to(A, MESSAGE)
    for other in (times(secret + 1, point), point, point_of(BASE), hashed_to(B, MESSAGE)):
        for nonce in range(1, 5):
            assert verify(A, MESSAGE, forge(secret, A, MESSAGE, nonce, other)[0]) is None
