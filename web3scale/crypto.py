"""Hashes, signatures and Merkle trees: what chapters 3 to 11 take for granted. Primer B of the book.

A *digest* is 32 bytes of SHA-256; a *tag* names what a digest is for, so that bytes made for one purpose mean nothing
for another; a *proof* is the list of digests that leads from a leaf to a root.

The cryptography is libsodium's (by PyNaCl) and hashlib's. Sources: Josefsson and Liusvaara (2017), RFC 8032; Laurie,
Langley and Kasper (2013), RFC 6962; Laurie, Messeri and Stradling (2021), RFC 9162; BIP 340, tagged hashes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from inspect import unwrap
from struct import Struct
from typing import Annotated, Any

from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey

from web3scale.errors import DomainError, shown
from web3scale.quantities import Whole, checked, fits, validated

EMPTY_ROOT = sha256().digest()
_HEADER = Struct(">cI").pack  # a field's kind and length


def _none(field: Any) -> Iterable[Any]:
    raise DomainError(f"encode: fields must be natural numbers, text or bytes, got {shown(field)}")


def encode(*fields: Any, inside: Callable[[Any], Iterable[Any]] = _none) -> bytes:
    """Write `fields` as bytes so that no two different lists of fields give the same bytes.

    Each field is a natural number of any size, a text or bytes; it is written as its kind (one byte), its length (four
    bytes) and its content. Anything else is a DomainError, unless `inside` gives fields to write in its place: then it
    is for the caller to see that no two things give the same ones.

    >>> encode("ab", "c") == encode("a", "bc")
    False
    >>> encode(258).hex()
    '69000000020102'
    """
    return b"".join(_written(fields, [], inside))


def _written(fields: Iterable[Any], parts: list[bytes], inside: Callable[[Any], Iterable[Any]]) -> list[bytes]:
    for field in fields:
        if type(field) is bytes:
            parts += _HEADER(b"b", len(field)), field
        elif type(field) is int and field >= 0:
            parts.append(_SMALL[field] if field < len(_SMALL) else _integer(field))
        elif type(field) is str:
            parts += _HEADER(b"s", len(content := _utf8(field))), content
        else:
            _written(inside(field), parts, inside)
    return parts


def _integer(number: int) -> bytes:
    size = (number.bit_length() + 7) >> 3
    return _HEADER(b"i", size) + number.to_bytes(size, "big")


_SMALL = [_integer(number) for number in range(1024)]  # nonces, fees and counts come again and again


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise DomainError(f"encode: text must have an encoding, got {shown(text)}") from None


_tagged = lru_cache(maxsize=256)(lambda tag: sha256(sha256(_utf8(tag)).digest() * 2))


def tagged_hash(tag: str, message: bytes) -> bytes:
    """SHA-256(SHA-256(`tag`) ‖ SHA-256(`tag`) ‖ `message`): the same message under another tag has another digest.

    A tag that is no text or a message that is no bytes is a DomainError. Source: BIP 340, section "Design".

    >>> tagged_hash("transfer", b"x") == tagged_hash("channel", b"x")
    False
    """
    if type(tag) is not str or type(message) is not bytes:
        raise DomainError(f"tagged_hash: tag must be text and message bytes, got {shown(tag)}, {shown(message)}")
    state = _tagged(tag).copy()
    state.update(message)
    return state.digest()


@validated
def example_key(name: str) -> SigningKey:
    """Make a secret key from a name: for examples only, since whoever knows the name knows the key.

    >>> public_key(example_key("Alice")).hex()[:8]
    'ae858d82'
    """
    return SigningKey(tagged_hash("web3scale/example-key", _utf8(name)))


@validated
def public_key(key: SigningKey) -> bytes:
    """Return the public key, 32 bytes, that belongs to a secret one: in this book, also the name of an account.

    >>> len(public_key(example_key("Alice")))
    32
    """
    return bytes(key.verify_key)


@validated
def sign(key: SigningKey, message: bytes) -> bytes:
    """Sign a message with Ed25519: 64 bytes, the same for the same key and message. Source: RFC 8032.

    >>> len(sign(example_key("Alice"), b"hello"))
    64
    """
    return bytes(key.sign(message).signature)


def verify_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of a `public` key signed exactly this `message`. A malformed `signature` is none.

    >>> alice = example_key("Alice")
    >>> signature = sign(alice, b"hello")
    >>> verify_signature(public_key(alice), b"hello", signature)
    True
    >>> verify_signature(public_key(alice), b"hullo", signature)
    False
    """
    if not (isinstance(public, bytes) and isinstance(message, bytes) and isinstance(signature, bytes)):
        return False
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + message, public)
    except CryptoError:
        return False
    return True


@validated
def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data), the digest of a leaf of a Merkle tree: its prefix keeps it apart from every inner node.

    Source: RFC 6962, section 2.1.

    >>> leaf_hash(b"").hex()[:8]
    '6e340b9c'
    """
    return sha256(b"\x00" + data).digest()


@validated
def node_hash(left: bytes, right: bytes) -> bytes:
    r"""SHA-256(0x01 ‖ left ‖ right), the digest of an inner node of a Merkle tree. Source: RFC 6962, section 2.1.

    >>> node_hash(leaf_hash(b""), leaf_hash(b"\x00")).hex()[:8]
    'fac54203'
    """
    return sha256(b"\x01" + left + right).digest()


_leaf_hash, _node_hash = unwrap(leaf_hash), unwrap(node_hash)  # for a tree, which has checked its bytes already


@validated
class MerkleTree:
    """A list of byte strings, `leaves`, and the digest that commits to all of them; a change costs log n hashes.

    Neighbours are hashed in pairs, level by level; a last one without a partner moves up as it is. This is the tree
    that RFC 6962, section 2.1, defines by splitting at the largest power of two.

    >>> tree = MerkleTree([b"a", b"b", b"c"])
    >>> proof = tree.inclusion_proof(2)
    >>> verify_inclusion(tree.root, b"c", 2, 3, proof), verify_inclusion(tree.root, b"d", 2, 3, proof)
    (True, False)
    >>> tree.update({2: b"d"})
    >>> verify_inclusion(tree.root, b"d", 2, 3, proof)
    True
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        given = checked("MerkleTree", "leaves", tuple(leaves), tuple[bytes, ...])
        self._levels: list[list[bytes]] = [[_leaf_hash(leaf) for leaf in given]]
        while len(below := self._levels[-1]) > 1:
            pairs = map(_node_hash, below[::2], below[1::2])
            self._levels.append([*pairs, *below[len(below) // 2 * 2 :]])

    def __len__(self) -> int:
        return len(self._levels[0])

    @property
    def root(self) -> bytes:
        """The digest that commits to all leaves; of no leaves, the SHA-256 of nothing."""
        return self._levels[-1][0] if len(self) else EMPTY_ROOT

    def append(self, leaf: bytes) -> None:
        """Add a leaf at the end."""
        at = len(self)
        if at.bit_length() == len(self._levels):
            self._levels.append([])
        for height, level in enumerate(self._levels):
            level[at >> height :] = [b""]  # the last of its level: new, or to be hashed again
        self.update({at: leaf})

    def update(self, leaves: Mapping[int, bytes]) -> None:
        """Replace leaves by their index, many at once; where there is no such leaf, none is replaced."""
        if leaves:
            checked("MerkleTree", "index", max(leaves), Annotated[int, Whole(0, len(self) - 1)])
        for index, leaf in leaves.items():
            self._levels[0][index] = _leaf_hash(leaf)
        dirty = set(leaves)
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            dirty, last = {index >> 1 for index in dirty}, len(below) - 1
            for index in dirty:
                at = 2 * index  # below: `_node_hash` written out, as this is done for every account that changes
                level[index] = sha256(b"\x01" + below[at] + below[at + 1]).digest() if at < last else below[at]

    def inclusion_proof(self, index: int) -> tuple[bytes, ...]:
        """Return the digests that lead from one leaf to the root, for `verify_inclusion`."""
        checked("MerkleTree", "index", index, Annotated[int, Whole(0, len(self) - 1)])
        siblings = [(level, (index >> height) ^ 1) for height, level in enumerate(self._levels[:-1])]
        return tuple(level[at] for level, at in siblings if at < len(level))

    def consistency_proof(self, old_size: int) -> tuple[bytes, ...]:
        """Return the digests that show this tree to extend its first leaves, for `verify_consistency`."""
        checked("MerkleTree", "old_size", old_size, Annotated[int, Whole(1, len(self))])
        if old_size == len(self):
            return ()
        height = _height(old_size)
        own = () if old_size == 1 << height else (self._levels[height][(old_size - 1) >> height],)
        return *own, *self.inclusion_proof(old_size - 1)[height:]


def root_from_proof(digest: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Follow a `proof` from the `digest` of the leaf at `index`, among `size`, to the root.

    None if the proof has not the length that index and size ask for, or something is malformed.
    Source: RFC 9162, section 2.1.3.2.

    >>> root_from_proof(leaf_hash(b"a"), 0, 1, ()) == MerkleTree([b"a"]).root
    True
    """
    if not (_are_sizes(index, size) and _are_digests(digest) and _is_path(proof) and index < size):
        return None
    return _climb(digest, index, size - 1, proof)


def _climb(digest: bytes, at: int, last: int, path: Sequence[bytes], left_only: bool = False) -> bytes | None:
    """Hash a node's digest with its siblings up to the root, on a level whose nodes are 0 ... `last`.

    Up to the height where the ways of `at` and `last` to the root meet, every node has a sibling, left or right; above
    it, only those that are right children have one. With `left_only`, the tree ends at this node: right siblings are
    left out.
    """
    meet = (at ^ last).bit_length()
    if len(path) != meet + (at >> meet).bit_count():
        return None
    for height, sibling in enumerate(path):
        if height >= meet or at >> height & 1:
            digest = _node_hash(sibling, digest)
        elif not left_only:
            digest = _node_hash(digest, sibling)
    return digest


def _height(size: int) -> int:
    """The height of the last complete subtree in a tree of `size` leaves."""
    return (size & -size).bit_length() - 1


def _are_digests(*values: object) -> bool:
    """Whether all have 32 bytes: of other lengths, two could be cut apart in another place and hash the same."""
    return all(type(value) is bytes and len(value) == 32 for value in values)


def _is_path(proof: object) -> bool:
    # exactly a tuple or a list: of a subclass, iterating may do anything
    return (type(proof) is tuple or type(proof) is list) and _are_digests(*proof)


def _are_sizes(*values: object) -> bool:
    """Whether all are integers of 64 bits, as in RFC 6962: larger ones only cost time."""
    return all(fits(value, int) and value < 1 << 64 for value in values)  # type: ignore[operator]


def verify_inclusion(root: bytes, leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bool:
    """Whether a list of `size` byte strings, committed to by its `root`, has this `leaf` at this `index`.

    `proof` is from `MerkleTree.inclusion_proof`; anything malformed proves nothing. The root does not bind the size,
    which has to come from a source that is trusted as the root is (exercise 3.18).

    >>> verify_inclusion(MerkleTree([b"a"]).root, b"a", 0, 1, ())
    True
    """
    return type(leaf) is bytes and _are_digests(root) and root_from_proof(_leaf_hash(leaf), index, size, proof) == root


def verify_consistency(old_root: bytes, old_size: int, root: bytes, size: int, proof: Sequence[bytes]) -> bool:
    """Whether a list only grew: its first `old_size` leaves are those that an older root, `old_root`, committed to.

    `root` and `size` are those of now; the roots do not bind the sizes. `proof` is from
    `MerkleTree.consistency_proof`; anything malformed proves nothing. Source: RFC 9162, section 2.1.4.2.

    >>> old, new = MerkleTree([b"a"]), MerkleTree([b"a", b"b"])
    >>> verify_consistency(old.root, 1, new.root, 2, new.consistency_proof(1))
    True
    """
    if not (_is_path(proof) and _are_digests(old_root, root) and _are_sizes(old_size, size) and 1 <= old_size <= size):
        return False
    if old_size == size or not proof:
        return old_size == size and old_root == root and not proof
    height = _height(old_size)
    # the last complete subtree of the old tree leads to both roots; if it is the whole of it, no proof names it
    first, *path = [old_root, *proof] if old_size == 1 << height else proof
    at, last = (old_size - 1) >> height, (size - 1) >> height
    return _climb(first, at, last, path, left_only=True) == old_root and _climb(first, at, last, path) == root
