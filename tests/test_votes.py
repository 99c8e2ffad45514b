"""Votes and certificates: who has signed what, and what a stranger can fill."""

from dataclasses import replace

import pytest
from schedules import keys, members, request

from web3scale.consensus import votes
from web3scale.consensus.pbft import Block
from web3scale.consensus.votes import Member, Members, Request, Said, Vote, certificate, sign_request
from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError
from web3scale.message import Signed, signed

VOTE = Vote("commit", 3, 7, b"block")


def said(replicas=4):
    return [Member(members(replicas), key).sign(VOTE) for key in keys(replicas)]


@pytest.mark.parametrize("n", [1, 2, 4, 6, 7])
def test_a_quorum_of_votes_is_a_certificate(n):
    group, signed_votes = members(n), said(n)
    assert group.holds(certificate(signed_votes[: group.quorum]), Vote, group.quorum)
    assert not group.holds(certificate(signed_votes[: group.quorum - 1] or signed_votes), Vote, group.quorum + 1)


def test_what_is_no_certificate():
    group, (first, second, third, _) = members(4), said()
    good = certificate([first, second, third])
    flipped = bytes([good.signatures[0][0] ^ 1]) + good.signatures[0][1:]
    bad = {
        "one replica twice": certificate([first, second, second]),
        "one replica under two names": replace(certificate([first, second, second]), replicas=(0, 1, 2)),
        "others' names": replace(good, replicas=(1, 2, 3)),
        "no such replica": replace(good, replicas=(0, 1, 4)),
        "a flipped bit": replace(good, signatures=(flipped, *good.signatures[1:])),
        "a signature less": replace(good, signatures=good.signatures[1:]),
        "another view": replace(good, body=replace(VOTE, view=4)),
        "another height": replace(good, body=replace(VOTE, height=8)),
        "another phase": replace(good, body=replace(VOTE, phase="prepare")),
        "another kind": replace(good, body=request(1).body),
        "too few": certificate([first, second]),
        "too many": certificate(said()),
        "no message": "garbage",
        "half a message": object.__new__(Said),
    }
    assert group.holds(good, Vote, 3)
    assert [why for why, each in bad.items() if group.holds(each, Vote, 3)] == []


def test_a_vote_counts_on_its_chain_only():
    other = Members("other", members(4).keys)
    assert not other.holds(said()[0], Vote)
    # nor does a bare signature on the vote, without the chain
    bare = Said(VOTE, (0,), signed(VOTE, keys(4)[0]).signatures)
    assert not members(4).holds(bare, Vote)


def test_a_verdict_is_remembered_for_the_very_same_message_only():
    group, vote = members(4), said()[0]
    assert group.holds(vote, Vote)
    assert not group.holds(replace(vote, body=replace(VOTE, block=b"other")), Vote)
    assert group.holds(replace(vote), Vote)


def test_votes_that_differ_are_put_under_no_signature():
    first = said()[0]
    for wrong in ([], [first, replace(first, body=replace(VOTE, view=9))], ["x"]):
        with pytest.raises(DomainError):
            certificate(wrong)


def test_a_request_is_its_clients():
    member, good = Member(members(4), keys(4)[0]), request(1)
    forged = Signed(replace(good.body, operation=b"pay me"), good.signatures)
    stolen = signed(replace(good.body, number=2), example_key("Mallory"))
    elsewhere = sign_request(example_key("client"), "other", 1, b"pay")
    for wrong in (forged, stolen, elsewhere, Signed(VOTE, ()), Signed(good.body, ()), Signed(good.body, (b"",))):
        assert not member._ask(wrong)
    assert member._ask(good)
    assert [*member.pending.values()] == [good]


def test_a_request_is_executed_once(monkeypatch):
    member = Member(members(4), keys(4)[0])
    member._ask(request(1))
    member._execute(Block((request(1), request(1))))
    assert not member.pending
    assert not member._ask(request(1))
    state = member.state
    member._execute(Block(()))
    assert member.state != state  # the state is that of all blocks


def test_strangers_fill_no_memory(monkeypatch):
    monkeypatch.setattr(votes, "MOST_WAITING", 5)
    member = Member(members(4), keys(4)[0])
    asked = [member._ask(request(number)) for number in range(20)]
    assert asked == [True] * 5 + [False] * 15
    assert len(member.pending) == 5
    member._execute(Block((request(0),)))
    assert member._ask(request(19))


def test_only_a_member_is_one():
    with pytest.raises(DomainError, match="key must be that of a member"):
        Member(members(4), example_key("stranger"))
    with pytest.raises(DomainError):
        Members("main", [b"a"])
    with pytest.raises(DomainError, match="view must be a natural number"):
        members(4).leader(-1)
    with pytest.raises(DomainError):
        Request("main", public_key(example_key("x")), -1, b"")
