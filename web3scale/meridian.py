"""Meridian, the chain that the book sizes: a card a chapter, computed by the chapter's functions from the cards before.

Meridian is made up. It begins as Bitcoin did, with blocks of 1 MB every 600 s, transfers of 250 bytes and 10 000 nodes,
and spreads them as slowly. It must carry 10 000 transfers a second, each final after 2 s. One node alone could check
2000 transfers a second, a speed that is made up as well, and a node may cost 100 a month. A card says what the chapter
found, what binds, and what Meridian decides. A number that changes in one chapter changes all cards after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from web3scale import limits, queues
from web3scale.consensus import committees, latency, quorums
from web3scale.errors import DomainError, shown
from web3scale.facts import load_chains
from web3scale.layers import channels, rollups
from web3scale.network import topology

BLOCK, INTERVAL, TRANSFER = 1_000_000, 600, 250  # bytes, seconds, bytes
NODES, PEERS, MONTH = 10_000, 8, 30 * 86_400
GOAL, FINAL = 10_000, 2  # transfers a second, seconds
NODE = 2000  # transfers a second that one node alone could check
BUDGET, DISK = 100, 0.08e-9  # money a node and month; money a byte and month, the offer "disk" of chapter 2
CHANNEL = (153, 281)  # virtual bytes to open a channel and to close it alone, counted field by field in section 3.3
RECORD = 75  # bytes of a signed record among a million accounts
UPLINK = 25e6 / 8  # byte/s, of the home of chapter 2
ADVERSARY = 0.25  # share of the stake that a committee has to bear
RISK = 0.45  # the adversary's share of block production that layer 1 has to bear


@dataclass(frozen=True)
class Card:
    """What one chapter says of Meridian: `found`, a value and a unit by its words; what `binds`; what is `decided`.

    >>> card(1)["times faster than today"]
    1500.0
    """

    chapter: str
    found: Mapping[str, tuple[float, str]]
    binds: str
    decided: str

    def __getitem__(self, words: str) -> float:
        return self.found[words][0]

    def __repr__(self) -> str:
        rows = [f"{words}: {_rounded(value)} {unit}".rstrip() for words, (value, unit) in self.found.items()]
        return "\n".join([f"Meridian after {self.chapter}", *rows, f"binds: {self.binds}", f"decided: {self.decided}"])

    def _repr_html_(self) -> str:
        rows = [
            f"<tr><td>{words}</td><td>{_rounded(value)} {unit}</td></tr>" for words, (value, unit) in self.found.items()
        ]
        table = f'<table class="dataframe"><caption>Meridian after {self.chapter}</caption>{"".join(rows)}</table>'
        return f"{table}<p><b>What binds:</b> {self.binds}</p><p><b>What we decide:</b> {self.decided}</p>"


def _rounded(value: float) -> str:
    return f"{float(f'{value:.4g}'):,.0f}" if value >= 1000 else f"{value:.4g}"


def _foundations() -> Card:
    today = limits.byte_throughput(BLOCK, 1 / INTERVAL, TRANSFER)
    shared = (1 - NODE / GOAL) / (1 - 1 / NODES)  # `amdahl_speedup` of GOAL / NODE, solved for the parallel part
    found = {
        "transfers today": (today, "1/s"),
        "times faster than today": (GOAL / today, ""),
        "what one node could check": (NODE, "1/s"),
        "work that nodes must share (Amdahl)": (shared, ""),
        "transfers under way (Little)": (queues.in_system(GOAL, FINAL), ""),
    }
    binds = "The rule of one block of 1 MB in 600 s. Without it, one node alone would carry a fifth of the goal."
    decided = (
        f"Ask what the rule protects (chapter 2). Beyond {NODE} a second, divide the work: less than a fifth of it may "
        "be done by every node."
    )
    return Card("chapter 1", found, binds, decided)


def _limits() -> Card:
    bitcoin = {fact.quantity: fact.value for fact in load_chains() if fact.chain == "Bitcoin"}
    per_byte = bitcoin["propagation_90_percent"] / bitcoin["block_size_measured"]
    load = 1 / RISK - 1 / (1 - RISK)  # `tolerated_adversary`, solved for λΔ
    block = load * INTERVAL / per_byte
    room = limits.delayed_throughput(block, 1 / INTERVAL, 1, 0, per_byte)
    found = {
        "transfers at most, for any block": (1 / (per_byte * TRANSFER), "1/s"),
        "uplink that the goal would need": (GOAL * TRANSFER * PEERS, "byte/s"),
        "disk that the goal would fill": (GOAL * TRANSFER * MONTH, "byte/month"),
        "block that bears 45 %": (block, "byte"),
        "room on layer 1": (room, "byte/s"),
        "transfers in it": (room / TRANSFER, "1/s"),
        "disk for it, after a year": (12 * room * MONTH * DISK, "money/month"),
    }
    binds = "Delay, as measured on blocks of 540 kB. No block passes the first number; the goal is 366 times that."
    decided = "Layer 1 stays small, so that anybody can check it: blocks of this size. Transfers leave layer 1."
    return Card("chapter 2", found, binds, decided)


def _layers() -> Card:
    room, unsigned = card(2)["room on layer 1"], RECORD - 64  # a proof saves the signature
    found = {
        "in channels of 1000 payments each": (channels.channel_throughput(room, 1000, *CHANNEL), "1/s"),
        "in a rollup that writes signatures": (rollups.rollup_throughput(room, RECORD), "1/s"),
        "in a rollup with validity proofs": (rollups.rollup_throughput(room, unsigned), "1/s"),
        "data that the goal needs there": (GOAL * unsigned, "byte/s"),
        "times the room on layer 1": (GOAL * unsigned / room, ""),
    }
    binds = "Bytes on layer 1: proofs replace the signatures, but nobody can rebuild the state without the data."
    decided = "A rollup with validity proofs. Its data needs faster blocks (chapter 4) that nodes sample (chapter 6)."
    return Card("chapter 3", found, binds, decided)


def _consensus() -> Card:
    seats = committees.smallest_committee(ADVERSARY, 1 / 3, 1e-9, 1)
    place = np.arange(48) % len(latency.REGIONS)
    means = latency.region_delays()[np.ix_(place, place)]
    times = np.sort(latency.simulate_latency(means, 200, hotstuff=True, seed=1), axis=1)
    found = {
        "committee that fails once in 10⁹ draws": (seats, ""),
        "messages of a decision, HotStuff": (quorums.hotstuff_messages(seats), ""),
        "the same, PBFT": (quorums.pbft_messages(seats), ""),
        "decision by HotStuff over six regions": (float(np.median(times[:, 32])), "s"),
        "uplink for the data, if one leader sends it": (
            card(3)["data that the goal needs there"] * (seats - 1),
            "byte/s",
        ),
    }
    binds = "The leader's uplink: the data of the rollup, sent to each member by one computer."
    decided = "A committee by VRF that decides by HotStuff, and data that nodes pass on to one another (chapter 5)."
    return Card("chapter 4", found, binds, decided)


def _network() -> Card:
    data, link = card(3)["data that the goal needs there"], float(latency.region_delays().mean())
    found = {
        "hops at least, with 8 links a node": (float(np.ceil(topology.moore_diameter(NODES, PEERS))), ""),
        "uplink for the data, in a flood": ((PEERS - 1) * data, "byte/s"),
        "the same, if nobody gets it twice": (data, "byte/s"),
        "mean delay of a link, over six regions": (link, "s"),
        "until all have the data of a second": (
            limits.tree_coverage_time(NODES, PEERS - 1, link, data / UPLINK),
            "s",
        ),
    }
    binds = "Copies: a node sends each byte to seven others in turn, and six of seven copies come too late."
    decided = "Eight neighbours drawn at random; the data go to a few of them and are announced to others."
    return Card("chapter 5", found, binds, decided)


_CARDS = (_foundations, _limits, _layers, _consensus, _network)


@lru_cache(typed=True)
def card(chapter: int) -> Card:
    """Return the card of a `chapter` of the book, counted from 1.

    >>> print(card(1))
    Meridian after chapter 1
    transfers today: 6.667 1/s
    times faster than today: 1,500
    what one node could check: 2,000 1/s
    work that nodes must share (Amdahl): 0.8001
    transfers under way (Little): 20,000
    binds: The rule of one block of 1 MB in 600 s. Without it, one node alone would carry a fifth of the goal.
    decided: Ask what the rule protects (chapter 2). Beyond 2000 a second, divide the work: less than a fifth of it may
    be done by every node.
    """
    if not (type(chapter) is int and 1 <= chapter <= len(_CARDS)):
        raise DomainError(f"card: chapter must be one of 1 ... {len(_CARDS)}, got {shown(chapter)}")
    return _CARDS[chapter - 1]()
