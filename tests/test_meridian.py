"""The running chain: its cards follow from the formulas of the chapters, and from one another."""

import pytest

from web3scale import limits, meridian
from web3scale.consensus.committees import sampled_failure
from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError
from web3scale.foundations.laws import amdahl_speedup
from web3scale.layers.batches import encode_record
from web3scale.layers.ledger import sign_transfer
from web3scale.meridian import card


@pytest.fixture(autouse=True)
def fresh():
    """Compute each card anew."""
    card.cache_clear()
    yield
    card.cache_clear()


def test_the_share_of_work_gives_the_gain():
    shared = card(1)["work that nodes must share (Amdahl)"]
    alone = card(1)["what one node could check"]
    assert alone * amdahl_speedup(shared, meridian.NODES) == pytest.approx(meridian.GOAL)
    assert 0.199 < 1 - shared < 1 / 5
    # a fifth done by every node is just too much
    assert alone * amdahl_speedup(4 / 5, meridian.NODES) < meridian.GOAL


def test_the_block_bears_the_adversary_that_it_should():
    delay = card(2)["block that bears 45 %"] * 79 / 540_000
    assert limits.tolerated_adversary(1 / meridian.INTERVAL, delay) == pytest.approx(0.45)


def test_a_change_in_chapter_2_travels_to_chapter_3(monkeypatch):
    before = card(3)["in a rollup with validity proofs"]
    card.cache_clear()
    monkeypatch.setattr(meridian, "RISK", 0.40)
    assert card(3)["in a rollup with validity proofs"] > 1.5 * before


def test_the_committee_bears_the_adversary_that_it_should(monkeypatch):
    seats, uplink = card(4)["committee that fails once in 10⁹ draws"], "uplink for the data, if one leader sends it"
    assert sampled_failure(seats, meridian.ADVERSARY, 1 / 3) <= 1e-9 < sampled_failure(seats - 10, 0.25, 1 / 3)
    assert card(4)[uplink] == card(3)["data that the goal needs there"] * (seats - 1)
    assert card(4)["decision by HotStuff over six regions"] < meridian.FINAL


def test_a_sentence_says_the_numbers_of_its_card():
    assert (meridian.BLOCK, meridian.INTERVAL) == (1_000_000, 600)
    assert "one block of 1 MB in 600 s" in card(1).binds
    assert meridian.NODE / meridian.GOAL == 1 / 5
    assert f"{card(1)['what one node could check']} a second" in card(1).decided
    assert round(meridian.GOAL / card(2)["transfers at most, for any block"]) == 366
    assert "366" in card(2).binds
    assert card(2)["disk for it, after a year"] < meridian.BUDGET


@pytest.mark.parametrize("chapter", [1, 2, 3, 4, 5])
def test_a_card_shows_all_its_numbers_as_text_and_as_a_table(chapter):
    shown, table = repr(card(chapter)), card(chapter)._repr_html_()
    for words in card(chapter).found:
        assert f"\n{words}: " in shown
        assert f"<td>{words}</td>" in table


@pytest.mark.parametrize("chapter", [0, 6, True, "1", None])
def test_there_is_a_card_for_each_written_chapter(chapter):
    assert card(1)
    with pytest.raises(DomainError, match=r"chapter must be one of 1 \.\.\. 5"):
        card(chapter)


def test_a_record_among_a_million_accounts_has_the_size_on_the_card():
    # as on the page of rollups: both indices of three bytes, an amount of two, fee and nonce of one
    alice = example_key("Alice")
    others = [number.to_bytes(32, "big") for number in range(1, 10**6)]
    order = sign_transfer(alice, "rollup", {others[-1]: 1000}, fee=1, nonce=1)
    assert len(encode_record(order, [*others, public_key(alice)])) == meridian.RECORD
