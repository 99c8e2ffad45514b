"""Hashes, signatures and Merkle trees: vectors of others, and what must hold of every tree."""

import hashlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web3scale import crypto
from web3scale.crypto import MerkleTree
from web3scale.errors import DomainError

# transparency-dev/merkle, testonly/constants.go and rfc6962_test.go, commit 417fb0c
LEAVES = [
    bytes.fromhex(x)
    for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 2): ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"],
    (1, 2): ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CONSISTENCY = {
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
trees = st.lists(st.binary(max_size=4), min_size=1, max_size=40)


@pytest.mark.parametrize("size", range(9))
def test_published_roots_built_at_once_and_leaf_by_leaf(size):
    grown = MerkleTree()
    for leaf in LEAVES[:size]:
        grown.append(leaf)
    assert grown.root.hex() == MerkleTree(LEAVES[:size]).root.hex() == ROOTS[size]


@pytest.mark.parametrize(("place", "path"), INCLUSION.items())
def test_published_inclusion_proofs(place, path):
    index, size = place
    proof = MerkleTree(LEAVES[:size]).inclusion_proof(index)
    assert [digest.hex() for digest in proof] == path
    assert crypto.verify_inclusion(bytes.fromhex(ROOTS[size]), LEAVES[index], index, size, proof)


@pytest.mark.parametrize(("sizes", "path"), CONSISTENCY.items())
def test_published_consistency_proofs(sizes, path):
    old, size = sizes
    proof = MerkleTree(LEAVES[:size]).consistency_proof(old)
    assert [digest.hex() for digest in proof] == path
    assert crypto.verify_consistency(bytes.fromhex(ROOTS[old]), old, bytes.fromhex(ROOTS[size]), size, proof)


def test_published_digests_of_a_leaf_and_a_node():
    assert crypto.leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    node = "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    assert crypto.node_hash(b"N123", b"N456").hex() == node


def by_definition(leaves):
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) <= 1:
        return crypto.leaf_hash(leaves[0]) if leaves else hashlib.sha256(b"").digest()
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return crypto.node_hash(by_definition(leaves[:split]), by_definition(leaves[split:]))


@given(trees, st.data())
def test_changing_a_tree_is_building_another(leaves, data):
    tree = MerkleTree(leaves)
    new = data.draw(st.dictionaries(st.integers(0, len(leaves) - 1), st.binary(max_size=4)))
    tree.update(new)
    after = [new.get(i, leaf) for i, leaf in enumerate(leaves)]
    assert tree.root == by_definition(after)
    tree.append(b"more")
    assert tree.root == by_definition([*after, b"more"])
    assert len(tree) == len(leaves) + 1


@given(trees, st.data())
def test_a_proof_proves_one_leaf_at_one_place_under_one_root(leaves, data):
    tree, size = MerkleTree(leaves), len(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = tree.inclusion_proof(index)
    assert crypto.verify_inclusion(tree.root, leaves[index], index, size, proof)
    assert not crypto.verify_inclusion(tree.root, leaves[index] + b"x", index, size, proof)
    assert not crypto.verify_inclusion(bytes(32), leaves[index], index, size, proof)
    assert not crypto.verify_inclusion(tree.root, leaves[index], index, size, (*proof, bytes(32)))
    for other in range(size):
        if other != index and leaves[other] != leaves[index]:
            assert not crypto.verify_inclusion(tree.root, leaves[index], other, size, proof)
    for at in range(len(proof)):
        assert not crypto.verify_inclusion(tree.root, leaves[index], index, size, proof[:at] + proof[at + 1 :])


@given(trees, st.data())
def test_consistency_tells_growth_from_a_rewritten_past(leaves, data):
    tree, size = MerkleTree(leaves), len(leaves)
    old = data.draw(st.integers(1, size))
    before, proof = MerkleTree(leaves[:old]).root, tree.consistency_proof(old)
    assert crypto.verify_consistency(before, old, tree.root, size, proof)
    rewritten = MerkleTree([b"lie", *leaves[1:old]]).root
    assert leaves[0] == b"lie" or not crypto.verify_consistency(rewritten, old, tree.root, size, proof)
    assert not crypto.verify_consistency(before, old, bytes(32), size, proof)
    assert not crypto.verify_consistency(before, old, tree.root, size, (*proof, bytes(32)))
    if proof:
        assert not crypto.verify_consistency(before, old, tree.root, size, proof[:-1])


def test_an_inner_node_is_no_leaf():
    tree = MerkleTree([b"a", b"b"])
    as_leaf = crypto.leaf_hash(b"a") + crypto.leaf_hash(b"b")
    assert MerkleTree([as_leaf]).root != tree.root


@pytest.mark.parametrize("index", [-1, 2, 1.0, True, None])
def test_no_proof_of_a_leaf_that_is_not_there(index):
    tree = MerkleTree([b"a", b"b"])
    with pytest.raises(DomainError, match=r"^MerkleTree.*: index must be"):
        tree.inclusion_proof(index)
    root = tree.root
    with pytest.raises(DomainError, match=r"^MerkleTree.*: (index|leaves) must be"):
        tree.update({0: b"x", index: b"y"})
    assert tree.root == root, "a refused update changes nothing"


@pytest.mark.parametrize("bad", [{0: b"x", 1: "text"}, {0: b"x", 1: None}, [b"x"], None, 3])
def test_a_tree_takes_bytes_only(bad):
    tree = MerkleTree([b"a", b"b"])
    root = tree.root
    with pytest.raises(DomainError, match=r"^MerkleTree.update: leaves must be"):
        tree.update(bad)
    with pytest.raises(DomainError, match=r"^MerkleTree.append: leaf must be a bytes"):
        tree.append(bad)
    with pytest.raises(DomainError, match=r"^MerkleTree: leaves must be"):
        MerkleTree([b"a", bad])
    assert (tree.root, len(tree)) == (root, 2)


@pytest.mark.parametrize("bad", ["ab", b"ab", None, 3, [1, 2]])
def test_a_tree_is_made_of_a_list_of_bytes(bad):
    with pytest.raises(DomainError, match=r"^MerkleTree: leaves must be"):
        MerkleTree(bad)


@pytest.mark.parametrize("old", [0, -1, 3, 1.0])
def test_no_consistency_proof_from_a_size_that_never_was(old):
    with pytest.raises(DomainError, match="old_size must be"):
        MerkleTree([b"a", b"b"]).consistency_proof(old)


@pytest.mark.parametrize("bad", [None, "text", 7, [None], ["x"], [b"x" * 31]])
def test_verifying_nonsense_is_false_and_raises_nothing(bad):
    tree = MerkleTree([b"a", b"b", b"c"])
    proof = tree.inclusion_proof(0)
    assert crypto.verify_inclusion(tree.root, b"a", 0, 3, bad) is False
    assert crypto.verify_inclusion(tree.root, b"a", bad, 3, proof) is False
    assert crypto.verify_inclusion(tree.root, bad, 0, 3, proof) is False
    assert crypto.verify_consistency(tree.root, 2, tree.root, 3, bad) is False
    assert crypto.verify_consistency(tree.root, bad, tree.root, 3, proof) is False
    key = crypto.example_key("Alice")
    signature = crypto.sign(key, b"m")
    assert crypto.verify_signature(bad, b"m", signature) is False
    assert crypto.verify_signature(crypto.public_key(key), bad, signature) is False
    assert crypto.verify_signature(crypto.public_key(key), b"m", bad) is False


def test_consistency_of_sizes_out_of_order():
    tree = MerkleTree([b"a", b"b"])
    for old in (0, 3, -1):
        assert not crypto.verify_consistency(tree.root, old, tree.root, 2, ())


def test_no_digest_of_another_length_moves_the_border_between_two():
    # C becomes LIE, and a proof with longer and shorter digests would call the list only grown
    old = MerkleTree([b"A", b"B", b"C"])
    pair = crypto.node_hash(crypto.leaf_hash(b"A"), crypto.leaf_hash(b"B"))
    c, lie, d = (crypto.leaf_hash(x) for x in (b"C", b"LIE", b"D"))
    new_root = crypto.node_hash(pair + c, crypto.node_hash(lie, d))
    assert not crypto.verify_consistency(old.root, 3, new_root, 4, [b"", lie + d, pair + c])
    assert not crypto.verify_inclusion(new_root, b"LIE", 2, 4, [d, pair + c])


@pytest.mark.parametrize(
    "bad",
    [0.5, 1.0, True, None, "1", Decimal("nan"), 1 << 64, 1 << 300_000],
    ids=lambda x: str(x)[:9] if not isinstance(x, int) else hex(x)[:9],
)
def test_sizes_are_integers_of_64_bits(bad):
    one, two = MerkleTree([b"a"]), MerkleTree([b"a", b"b"])
    path = two.inclusion_proof(1)
    assert crypto.verify_inclusion(two.root, b"b", 1, 2, path)
    assert not crypto.verify_inclusion(two.root, b"b", bad, 2, path)
    assert not crypto.verify_inclusion(two.root, b"b", 1, bad, path)
    assert not crypto.verify_consistency(one.root, bad, two.root, 2, two.consistency_proof(1))
    assert not crypto.verify_consistency(one.root, 1, two.root, bad, two.consistency_proof(1))
    assert not crypto.verify_consistency(one.root, bad, one.root, bad, ())


class Slippery(bytes):
    """Bytes that swallow what is put before them."""

    def __radd__(self, other):
        return self


class Failing(list):
    """A list that cannot be read."""

    def __iter__(self):
        raise RuntimeError


def test_leaves_and_proofs_are_exactly_of_their_types():
    tree = MerkleTree([b"a", b"b"])
    path = tree.inclusion_proof(0)
    assert crypto.verify_inclusion(tree.root, b"a", 0, 2, path)
    assert not crypto.verify_inclusion(tree.root, Slippery(b"\0a"), 0, 2, path)
    for bad in (Failing(path), iter(path), None, path[0]):
        assert not crypto.verify_inclusion(tree.root, b"a", 0, 2, bad)
        assert not crypto.verify_consistency(tree.root, 1, tree.root, 2, bad)


def test_every_size_proves_every_smaller_one():
    trees = [MerkleTree([bytes([i]) for i in range(size)]) for size in range(41)]
    for new in range(1, 41):
        for old in range(1, new + 1):
            proof = trees[new].consistency_proof(old)
            assert crypto.verify_consistency(trees[old].root, old, trees[new].root, new, proof), (old, new)


def test_a_proof_of_another_place_or_size_proves_nothing():
    one, two, four = (MerkleTree([bytes([i]) for i in range(size)]) for size in (1, 2, 4))
    first = crypto.leaf_hash(b"\0")
    assert not crypto.verify_inclusion(one.root, b"\0", 5, 1, ())
    assert not crypto.verify_inclusion(one.root, b"\0", -1, 1, ())
    assert not crypto.verify_inclusion(two.root, b"\1", 0, 1, (first,))
    assert not crypto.verify_consistency(two.root, 2, four.root, 8, four.consistency_proof(2))
    assert not crypto.verify_consistency(two.root, 3, four.root, 4, ())
    x, s1, s2, s3 = (crypto.leaf_hash(bytes([i])) for i in range(4))
    old = crypto.node_hash(s3, crypto.node_hash(s2, x))
    new = crypto.node_hash(s3, crypto.node_hash(s2, crypto.node_hash(x, s1)))
    assert not crypto.verify_consistency(old, 3, new, 4, [x, s1, s2, s3])


# Signatures and hashes


def test_ed25519_vectors_of_rfc_8032():
    from nacl.signing import SigningKey

    # section 7.1, tests 1 and 2
    for secret, public, message, signature in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ]:
        key = SigningKey(bytes.fromhex(secret))
        assert crypto.public_key(key).hex() == public
        assert crypto.sign(key, bytes.fromhex(message)).hex() == signature
        assert crypto.verify_signature(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


@given(st.binary(max_size=80), st.integers(0, 511))
def test_one_flipped_bit_spoils_a_signature(message, bit):
    key = crypto.example_key("Alice")
    signature = crypto.sign(key, message)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert crypto.verify_signature(crypto.public_key(key), message, signature)
    assert not crypto.verify_signature(crypto.public_key(key), message, bytes(flipped))
    assert not crypto.verify_signature(crypto.public_key(key), message + b"x", signature)
    assert not crypto.verify_signature(crypto.public_key(crypto.example_key("Bob")), message, signature)


def test_a_signature_has_64_bytes():
    key = crypto.example_key("Alice")
    assert not crypto.verify_signature(crypto.public_key(key), b"ello", crypto.sign(key, b"hello") + b"h")


def test_nobody_signs_for_the_zero_point():
    # a point of order four: without libsodium's check, one forged signature in four would pass
    for number in range(64):
        assert not crypto.verify_signature(bytes(32), bytes([number]), bytes(64))
        assert not crypto.verify_signature(bytes(32), bytes([number]), b"\x01" + bytes(63))


def test_tagged_hash_is_that_of_bip_340():
    tag = hashlib.sha256(b"BIP0340/challenge").digest()
    assert crypto.tagged_hash("BIP0340/challenge", b"m") == hashlib.sha256(tag + tag + b"m").digest()


fields = st.lists(st.one_of(st.integers(0, 2**70), st.text(max_size=3), st.binary(max_size=3)), max_size=4)


@given(fields, fields)
def test_no_two_lists_of_fields_have_the_same_bytes(one, other):
    same = [(type(x), x) for x in one] == [(type(x), x) for x in other]
    assert (crypto.encode(*one) == crypto.encode(*other)) == same


@pytest.mark.parametrize(
    "numbers", [range(2100), [2**k + d for k in range(8, 300) for d in (-1, 0, 1)]], ids=["small", "large"]
)
def test_a_number_is_its_size_and_its_bytes(numbers):
    """Neighbours too: two random lists, as above, are seldom near enough to each other to be confused."""
    for number in numbers:
        written = crypto.encode(number)
        assert written[:1] == b"i"
        assert int.from_bytes(written[1:5], "big") == len(written) - 5
        assert int.from_bytes(written[5:], "big") == number


def test_concatenation_without_lengths_would_not_do():
    assert b"ab" + b"c" == b"a" + b"bc"
    assert len({crypto.encode(b"ab", b"c"), crypto.encode(b"a", b"bc"), crypto.encode("ab", "c")}) == 3
    assert len({crypto.encode(x) for x in (0, "", b"", "\0", b"\0")}) == 5


@pytest.mark.parametrize("field", [-1, True, 1.0, None, [1], bytearray(b"x")])
def test_a_field_without_an_encoding_is_refused(field):
    with pytest.raises(DomainError, match=r"encode: fields must be natural numbers, text or bytes, got"):
        crypto.encode(1, field)
