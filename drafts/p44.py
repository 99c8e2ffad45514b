from nb import *
md("c4open01", r"""
# Committees that nobody can choose

A chain has 1600 [validators](glossary.md#term-validator), and an adversary holds 400 of them. Together they are safe: 400 is less than a third. But the chain wants 16 [shards](glossary.md#term-shard), each decided by a hundred validators, and 34 dishonest ones would be enough to stop a shard, 67 to lie for it. **How many validators must a shard have so that the adversary's quarter does not become a third there, and who may say which validators they are?** Write down a number and a name.
""")
code("c4imp001", r"""
import numpy as np
import sympy as sp
from scipy.stats import binom, hypergeom

from web3scale import facts, figures, meridian, widgets
from web3scale.consensus import committees
from web3scale.consensus.certificates import (
    ABORTED,
    CertifiedLedger,
    Decision,
    certify,
    double_signers,
)
from web3scale.consensus.vrf import output, prove, verify
from web3scale.crypto import example_key, public_key
from web3scale.errors import refusal_of
from web3scale.layers.crossshard import ShardedLedger, shard_of
from web3scale.layers.ledger import sign_transfer
from web3scale.message import digest
from web3scale.pictures import swimlanes
from web3scale.widgets import Slider

figures.house_style()
""", hide=True)
md("c4learn1", r"""
**You will learn** how validators are drawn so that nobody can steer the draw and everybody can check it; how large a [committee](glossary.md#term-committee) must be; into how many shards a chain can be cut; and how a shard believes another one without trusting who brings the news. **You need** quorums ([Section 4.1](04_1_quorums.ipynb)), transfers across shards ([Section 3.1](03_1_ledger.ipynb)), and the danger of small groups ([Section 3.2](03_2_sharding.ipynb)).

## Who draws?

If validators choose their shard, an adversary with 34 of 1600 goes to one shard with all of them. In general $\alpha/m$ of all validators break one of $m$ equal shards, if a share $\alpha$ breaks a shard: a third of a sixteenth is 2.1 %. So the validators have to be dealt at random. But a leader who throws the dice can say what he likes about them.

The remedy is a lottery in which each validator draws its own ticket, and can draw only one. A [verifiable random function](glossary.md#term-verifiable-random-function), VRF, is a kind of signature with this property {cite}`rfc9381`. For each key and message there is one *output*, 64 bytes that look random. Only the holder of the secret key can compute it, together with a *proof*, and everybody can check the proof with the public key. The message contains a *seed* that nobody knows before the draw.
""")
code("c4vrf001", r"""
keys = {public_key(key): key for key in (example_key(f"v{i}") for i in range(60))}
seed = bytes(32)
ticket = committees.draw_message("main", "committee", 1, seed)
alice, *others = keys
proof = prove(keys[alice], ticket)
print(f"proof of {len(proof)} bytes, output {output(proof).hex()[:8]}…")
assert verify(alice, ticket, proof) == output(proof)
flipped = bytes([proof[0] ^ 1]) + proof[1:]
other_epoch = committees.draw_message("main", "committee", 2, seed)
for why, shown in {
    "for another key": verify(others[0], ticket, proof),
    "for another epoch": verify(alice, other_epoch, proof),
    "one bit flipped": verify(alice, ticket, flipped),
}.items():
    print(f"{why}: {shown}")
    assert shown is None
""")
code("c4pic001", r"""
draw_picture = swimlanes(
    "The chain publishes a seed. Alice and Bob each compute a proof from it and"
    " send it. The chain checks both and takes the smaller output. Eve's forged"
    " proof is refused.",
    ["chain", "Alice", "Bob", "Eve"],
    [
        ("send", "chain", "Alice", "seed"),
        ("send", "chain", "Bob", "seed"),
        ("do", "Alice", "prove:\n3ee6…"),
        ("do", "Bob", "prove:\n91c0…"),
        ("send", "Alice", "chain", "proof"),
        ("send", "Bob", "chain", "proof"),
        ("bad", "Eve", "wants a\nsmall one"),
        ("send", "Eve", "chain", "forged proof"),
        ("do", "chain", "verify"),
        ("bad", "chain", "Eve:\nrefused"),
        ("good", "chain", "Alice\ndrawn"),
    ],
)
draw_picture
""", fig="fig-4-vrf", cap="A draw by VRF. Each validator has one output for a seed and cannot choose it; whoever has a small one is drawn. The outputs in the picture are made up.")
md("c4seed01", r"""
Two doors are left open, and the protocol has to close them. The keys must be registered *before* the seed is known, or else a validator tries keys until one wins. And the seed must not be chosen. The package makes the seed of the next epoch from the output of a leader's VRF: it is as unique as any output. Yet the leader may keep it to himself if he does not like it, so he has a choice between two seeds, and an adversary with $j$ leaders in a row chooses among $2^j$.
""")
code("c4seed02", r"""
turn = committees.draw_message("main", "seed", 1, seed)
shown = prove(keys[alice], turn)
following = committees.next_seed(turn, alice, shown)
print(f"seed of the next epoch: {following.hex()[:8]}…")
print("with another's proof:", refusal_of(committees.next_seed, turn, others[0], shown))
""")
md("c4draw01", r"""

## How to draw a committee

From outputs that everybody can check, there are two fair ways to a committee.

- **The $k$ smallest.** Everybody sends a proof, and the validators with the $k$ smallest outputs are drawn. The committee has exactly $k$ seats.
- **Sortition.** Each unit of [stake](glossary.md#term-stake) is a lot that wins with the same probability, independently. A validator finds from its own output how many of its lots have won, and sends a proof only then {cite}`gilad2017`. The committee has $\tau$ seats on average.

The treatise does something in between. A validator passes if its output, read as a number, lies below a threshold $p$, and the first $k$ of the list who pass are taken. This looks harmless, and it is not fair.

```{prf:proposition} Cutting a list
:label: prop-4-5
:enumerator: 4.5

1. Each validator of a list passes with probability $p$, independently.
2. The first $k$ who pass are taken, or all, if fewer pass.

Then the validator at place $i$, counted from 1, is taken with probability $p \cdot \mathbb{P}[\operatorname{Bin}(i - 1, p) \le k - 1]$, which does not grow with $i$. The committee is empty with probability $(1 - p)^N$, for a list of $N$.
```

*Proof.* Place $i$ is taken if it passes and at most $k - 1$ of the $i - 1$ before it have passed. These are independent, and the number before it is binomial. With every further place before it, that number can only grow. $\square$

How much is the front worth? Let an adversary hold the first quarter of a list of 1000, for a committee of 100.
""")
code("c4cut001", r"""
places = np.arange(1, 1001)
for p in (0.10, 0.12, 0.15, 0.20):
    taken = committees.truncated_inclusion(places, p, 100)
    direct = p * binom.cdf(99, places - 1, p)
    assert np.allclose(taken, direct)
    share = taken[:250].sum() / taken.sum()
    print(f"p = {p:.2f}: the first quarter has {share:.1%} of the seats")
few = sp.Symbol("i", positive=True, integer=True)  # by hand: k = 1, place i
first_wins = sp.Rational(1, 5) * sp.Rational(4, 5) ** (few - 1)
for place in (1, 2, 7):
    ours = float(committees.truncated_inclusion(place, 0.2, 1))
    assert abs(ours - float(first_wins.subs(few, place))) < 1e-12
""")
code("c4fig001", r"""
fig, ax = figures.new("place in the list", "probability of a seat")
worst = 0.0
for colour, p in enumerate((0.12, 0.15, 0.20)):
    law = committees.truncated_inclusion(places, p, 100)
    found = committees.simulate_truncation(
        1000, p, 100, runs=4000, rng=np.random.default_rng(colour)
    )
    hue = figures.COLOURS[colour]
    ax.plot(places, law, "-", color=hue, label=f"p = {p}")
    groups = found.reshape(20, 50).mean(axis=1)  # of 50 places each
    ax.plot(places.reshape(20, 50).mean(axis=1), groups, "o", ms=3, color=hue)
    error = np.sqrt(law * (1 - law) / 4000)
    worst = max(worst, np.max(abs(found - law)[:400] / error[:400]))
ax.axhline(0.1, color="0.5", linestyle=":")
ax.legend(fontsize=9)
print(f"largest distance of 1200 places: {worst:.1f} standard errors")
assert worst < 4.5
""", fig="fig-4-cut", cap="Probability of a seat by place in the list, when the first 100 of 1000 who pass are taken. Lines: Proposition 4.5. Dots: 4000 simulated draws, in groups of 50 places. Dotted: a fair draw.", alt="Three curves fall from p at the front to 0 at the end. At p = 0.2 nobody behind place 650 is ever drawn; the fair draw is a level line at 0.1.")
md("c4size01", r"""
At $p = 0.2$ a quarter of the validators has half of the committee, by standing in front. Sorting by output instead of by place removes this at no cost: the $k$ smallest outputs are the same for every order of the list.

## How large must a committee be?

A committee of $k$ *fails* if adversaries hold $\lceil\alpha k\rceil$ seats or more, where $\alpha = \tfrac13$ stops a vote of two thirds and $\alpha = \tfrac23$ wins it. If each seat is drawn from the whole stake, with the adversary's share $\beta$, the number of bad seats is binomial. If $k$ of $N$ validators are drawn, of whom $K$ are bad, it is hypergeometric. Both tails are sums of exact terms. Computing $1 - \mathrm{cdf}$ instead loses everything below $10^{-16}$, which is where these numbers are.
""")
code("c4siz001", r"""
tail = committees.sampled_failure(250, 0.25, 1 / 2)
naive = 1 - binom.cdf(124, 250, 0.25)
print(f"250 seats, a quarter bad, half breaks: {tail:.3g}; as 1 - cdf: {naive:.3g}")
k, beta = sp.symbols("k beta", positive=True)
by_hand = sum(
    sp.binomial(250, j) * sp.Rational(1, 4) ** j * sp.Rational(3, 4) ** (250 - j)
    for j in range(125, 251)
)
assert abs(tail / float(by_hand) - 1) < 1e-10
for share in (0.1, 0.2, 0.25, 0.3):
    size = committees.smallest_committee(share, 1 / 3, 1e-9, 1)
    print(f"adversary {share:.0%}: {size} seats for one failure in 10^9 draws")
""")
md("c4siz002", r"""
The nearer the adversary is to a third, the larger the committee: with a quarter it has a thousand seats. That answers the first question, and it is bad news for the 16 shards of a hundred.

```{prf:proposition} Shards and epochs
:label: prop-4-6
:enumerator: 4.6

1. $N$ validators, $K$ of them adversaries, are dealt to $m$ shards at random, so that every division into groups of the given sizes is equally likely.
2. This is done anew in each of $E$ epochs.

Then the probability that some shard fails in some epoch is at most $E \sum_{s=1}^{m} \mathbb{P}[\operatorname{Hyp}(N, K, n_s) \ge \lceil\alpha n_s\rceil]$, where $n_s$ is the size of shard $s$.
```

*Proof.* Each shard alone is a random draw of $n_s$ of the $N$ validators, whatever is in the others. The probability that one of several events happens is at most the sum of their probabilities. $\square$

The draws of different shards are not independent, and the bound does not need it. How much does the bound give away? The cell deals 1600 validators into shards many times.
""")
code("c4uni001", r"""
rng, deals = np.random.default_rng(6), 20_000
for shards in (8, 16):
    size = 1600 // shards
    one = committees.drawn_failure(1600, 400, size, 1 / 3)
    assert abs(one / hypergeom.sf(-(-size // 3) - 1, 1600, 400, size) - 1) < 1e-9
    bad = rng.multivariate_hypergeometric([size] * shards, 400, deals)
    some = (bad >= committees.failing_seats(size, 1 / 3)).any(axis=1)
    error = np.sqrt(some.mean() * (1 - some.mean()) / deals)
    print(f"{shards} shards: bound {shards * one:.3f}, dealt {some.mean():.3f}", end="")
    print(f" ± {error:.3f}")
    assert some.mean() <= shards * one + 3 * error
for epochs in (1, 365, 3650):
    most = committees.max_shards(10_000, 2500, 1 / 3, 1e-6, epochs)
    print(f"10000 validators, a quarter bad, {epochs} draws: {most} shards at most")
""")
md("c4exp001", r"""
Ten thousand validators against a quarter of adversaries make about ten shards, not a hundred. {numref}`Figure <fig-4-committee>` lets you look for better conditions.
""")
code("c4exp002", r"""
sizes = np.arange(10, 1201, 10)


def draw(seats, percent):
    chance = [committees.sampled_failure(int(k), percent / 100, 1 / 3) for k in sizes]
    fig, ax = figures.new("seats k", "probability of failure", yscale="log")
    ax.plot(sizes, chance)
    at = committees.sampled_failure(seats, percent / 100, 1 / 3)
    ax.plot(seats, at, "o", color="#D55E00")
    ax.axhline(1e-9, color="0.5", linestyle=":")
    ax.set(ylim=(1e-20, 3), xlim=(0, 1250), title=f"{seats} seats: {at:.1e}")
    return fig, f"Committee of {seats}, adversary {percent} %: fails with {at:.1e}."


widgets.explore(
    draw,
    name="explore-committee",
    seats=Slider("seats", [50, 100, 200, 500, 1000], start=100),
    percent=Slider("adversary [%]", [10, 15, 20, 25, 30], start=25),
)
""", fig="fig-4-committee", cap="Probability that adversaries have a third of a committee or more, each seat drawn from the whole stake, for one draw. Dotted: one in a billion.", alt="Committee of 100, adversary 25 %: fails with 2.8e-02.")
md("c4saw001", r"""
The curve in the figure looks smooth because its sizes are far apart. Seat by seat it is a saw: $\lceil\alpha k\rceil$ stays the same for some steps and then jumps. {numref}`Figure <fig-4-saw>` shows the saw for $\alpha = \tfrac23$ and $\beta = \tfrac13$.
""")
code("c4saw002", r"""
each = np.arange(96, 130)
logs = [np.log2(committees.sampled_failure(int(k), 1 / 3, 2 / 3)) for k in each]
fig, ax = figures.new("seats k", "log2 of the probability of failure")
ax.plot(each, logs, "o-", ms=3)
thirds = each % 3 == 0
ax.plot(each[thirds], np.array(logs)[thirds], "o", ms=5, color="#D55E00")
ax.axhline(-40, color="0.5", linestyle=":")
for size in (107, 108, 109, 111):
    print(f"{size} seats: 2^{logs[size - 96]:.2f}")
steps = [committees.smallest_committee(1 / 3, 2 / 3, 2**-40, s) for s in (1, 3)]
print("first below 2^-40, and first multiple of 3:", steps)
assert steps == [107, 111] and logs[12] > -40
""", fig="fig-4-saw", cap="Probability that adversaries with a third of the stake win two thirds of a committee, as a power of two. Orange: multiples of three. Dotted: 2 to the power of -40.", alt="A saw-tooth falling from 2^-36 at 96 seats to 2^-47 at 128. At 107 it is below 2^-40, at 108 above it, and below it from 109 on.")
md("c4ask001", r"""
:::{admonition} A question on the way
:class: tip

The saw says that 107 seats are enough for $2^{-40}$ and 108 are not. Ethereum's specification recommends at least 111. Why should a designer who wants a *minimum* prefer 111 to 107?

```{dropdown} Answer
Because a committee may come out larger than planned. At 107 one seat more is worse than the target; from 109 on every size is below it, as the cell above shows for the printed ones, and 111 is the first multiple of three that is. A minimum should hold for everything above it.
```
:::

## Committees that stay, and committees that change

The draw was made against an adversary who is fixed in advance. What if the adversary waits for the draw, and then bribes or attacks the members of one shard? It needs a third of one shard only, 34 validators of 1600. Time is the defence: the members change before they can be corrupted.
""")
code("c4rot001", r"""
settings = {"corruption_epochs": 3, "epochs": 30, "runs": 200}
for rotation in (30, 5, 3, 1):
    failed = committees.simulate_rotation(
        1600, 64, 16, 1 / 3, rotation_epochs=rotation,
        rng=np.random.default_rng(1), **settings,
    )  # fmt: skip
    print(f"new committees every {rotation:2} epochs: {failed:.0%} of 200 runs fail")
""")
md("c4rot002", r"""
An adversary who corrupts 64 validators of its choice within three epochs breaks a shard in every run if committees stay longer than that, and in none of these runs if they change at least as fast. Then its 64 are, at the next draw, four of a hundred on average. But each rotation costs: who comes new to a shard has to fetch its state, and each draw is one more in the union bound.

## The algorithm: a shard believes signatures, not messengers

In [Section 3.1](03_1_ledger.ipynb) the shards took a [coordinator](glossary.md#term-coordinator)'s word. Now each shard has a committee, and its word is a [certificate](glossary.md#term-quorum-certificate): a decision, signed by a quorum of the committee. Anybody may carry it.

```{prf:algorithm} Consensus of shards 分片共识
:label: alg-4-1
:enumerator: 4.1

**Draw**, once an epoch. Registered validators prove the VRF for the chain, the epoch and the seed. The output modulo the number of shards says to which shard a validator belongs; the $k$ smallest outputs there are its committee. If a shard has fewer than $k$, nothing changes.

**Transfer** across shards:

1. *Home* locks the sender's [account](glossary.md#term-account). Its committee certifies *locked*.
2. Each other shard checks this certificate **before it executes anything**, and promises the payment or refuses it. Its committee certifies *prepared* or *refused*.
3. Home commits on the certificates *prepared* of all others, or aborts on one *refused*, and certifies it.
4. Each other shard pays, or drops its promise, on home's certificate.

A shard takes each step of a transfer once, and accepts a certificate only of the committee of this epoch, for this shard, this transfer and this decision.
```

The treatise draws from the front of the list, may draw nobody, counts no vote, and checks a [receipt](glossary.md#term-receipt) after having executed it. Here all four are mended. A stranger without any key carries a transfer in the next cell.
""")
code("c4led001", r"""
proofs = {public: prove(key, ticket) for public, key in keys.items()}
people = [example_key(f"person {i}") for i in range(8)]
names = [public_key(key) for key in people]
shards = ShardedLedger("main", 4, dict.fromkeys(names, 100))
ledger = CertifiedLedger(shards, list(keys), 4, seed, proofs)
home = shard_of(names[0], 4)
there = next(name for name in names if shard_of(name, 4) != home)
pay = sign_transfer(people[0], "main", {there: 30}, fee=1, nonce=1)
print(list(ledger.steps(pay, keys)))
print("balances:", shards.balance(names[0]), shards.balance(there))
print("money in all:", shards.total, "under way:", shards.in_flight)
assert shards.total == 800
""")
code("c4pic002", r"""
crossing = swimlanes(
    "A stranger carries certificates between the home shard and shard B: locked,"
    " prepared, committed, after which B pays. A certificate that home has not"
    " signed is refused.",
    ["home", "stranger", "shard B"],
    [
        ("do", "home", "lock Alice"),
        ("send", "home", "stranger", "cert: locked"),
        ("send", "stranger", "shard B", "cert: locked"),
        ("do", "shard B", "check, promise"),
        ("send", "shard B", "stranger", "cert: prepared"),
        ("send", "stranger", "home", "cert: prepared"),
        ("do", "home", "commit"),
        ("send", "stranger", "shard B", "forged: committed"),
        ("bad", "shard B", "no quorum:\nrefuse"),
        ("send", "home", "stranger", "cert: committed"),
        ("send", "stranger", "shard B", "cert: committed"),
        ("good", "shard B", "pay Bob"),
    ],
)
crossing
""", fig="fig-4-crossing", cap="A transfer across shards, carried by a stranger. What he carries are certificates, which he cannot make himself.")
md("c4att001", r"""
Now let the stranger cheat. He has the keys of two members of the home committee, one more than it tolerates to *lie*, but one short of the three that make a quorum of four. He also keeps every certificate that he has seen.
""")
code("c4att002", r"""
second = sign_transfer(people[0], "main", {there: 5}, fee=1, nonce=2)
ledger.lock(second)
away, committee = shard_of(there, 4), ledger.committees[home]
said = ledger.decision(home, second)
mine = [keys[public] for public in committee.keys]
true = certify(committee, said, mine)
elsewhere = certify(ledger.committees[away], said, list(keys.values()))
old = Decision(home, 0, digest(second), said.verdict)
for why, shown in {
    "two keys": certify(committee, said, mine[:2]),
    "another committee": elsewhere,
    "an old epoch": certify(committee, old, mine),
}.items():
    refusal = refusal_of(ledger.prepare, away, second, shown)
    print(f"{why}: {refusal}")
    assert refusal
print(ledger.prepare(away, second, true), "with the true one")
again = refusal_of(ledger.prepare, away, second, true)
print(f"once more: {again}")
assert again and shards.total == 800
""")
md("c4att003", r"""
What if a quorum of the committee is bad, because the draw failed? Then it can certify a lie, and money can be made: no protocol of this chapter holds then. But two certificates that contradict each other are evidence. Two quorums share at least $f + 1$ members ({prf:ref}`prop-4-1`), and their signatures stand on both.
""")
code("c4att004", r"""
lie = Decision(home, ledger.epoch, digest(pay), ABORTED)
both = (
    certify(committee, ledger.decision(home, pay), mine[:3]),
    certify(committee, lie, mine[1:]),
)
guilty = double_signers(committee, *both)
print(f"{len(guilty)} of 4 signed both; tolerated: {committee.faults}")
assert len(guilty) > committee.faults
""")
md("c4real01", r"""
## On real numbers

**Algorand** draws its committees by sortition {cite}`gilad2017`. For a step with 2000 expected seats and a threshold of 0.685 of them, the paper bounds the probability of a violation by $5 \cdot 10^{-9}$ when 80 % of the money is honest. **Ethereum**'s specification recommends at least 111 members, and its committees have 128 as a target {cite}`consensusspecs`. Its earlier plan for sharding came with a table of the probability that an attacker gets half of a sample {cite}`shardingfaq`.
""")
code("c4real02", r"""
known = {(f.chain, f.quantity): f.value for f in facts.load_chains()}
names_of = ("committee", "threshold", "violation")
seats, share, most = (known["Algorand", f"step_{name}"] for name in names_of)
algorand = committees.sortition_failure(int(seats), round(seats * share), 0.2)
print(f"Algorand, {seats:.0f} seats, {share}: {algorand:.2e}, published: {most}")
assert algorand < most
for name in ("committee_minimum", "committee_target"):
    size = int(known["Ethereum", name])
    chance = np.log2(committees.sampled_failure(size, 1 / 3, 2 / 3))
    print(f"Ethereum, {size} seats, two thirds bad: 2^{chance:.1f}")
""")
md("c4real04", r"""
And the table:
""")
code("c4real05", r"""
published = {
    0.25: (1e-4, 6.63e-8, 4.11e-11, 1.81e-17),
    0.2: (2.09e-6, 2.14e-11, 2.5e-16, 3.96e-26),
}
for share, row in published.items():
    ours = [committees.sampled_failure(n, share, 1 / 2) for n in (50, 100, 150, 250)]
    print(f"{share}: " + ", ".join(f"{a:.2e} ({b:.2e})" for a, b in zip(ours, row)))
    assert abs(ours[0] - row[0]) < 5e-5  # printed with one digit
    assert all(abs(a / b - 1) < 0.005 for a, b in zip(ours[1:], row[1:]))
""")
md("c4real03", r"""
In brackets are the published values. The first of them is printed there with one digit; the others agree with ours up to one unit of the last digit printed. The bound of Algorand holds with room to spare. These are probabilities of *one* draw against an adversary who is fixed in advance.

At the end of the chapter, Meridian. It has ten thousand nodes and wants a decision within two seconds.
""")
code("c4card01", r"""
meridian.card(4)
""")
md("c4ex0000", r"""
## Exercises
""")
exercise(13,"Check","a small draw",r"""
Twelve validators, four of them bad, are dealt into three committees of four. What is the probability that a given committee has two bad members or more, and what does the union bound say of all three? Deal them 100 000 times.
""",r"""
0.406 for one. The union bound gives 1.2, more than any probability, and says nothing. Dealt, some committee has two bad ones every time: four bad validators cannot sit singly in three committees.
""",r"""
print(f"{committees.drawn_failure(12, 4, 4, 1 / 2):.3f}")
bad = np.random.default_rng(2).multivariate_hypergeometric([4] * 3, 4, 100_000)
print(f"some committee: {(bad >= 2).any(axis=1).mean():.3f}")
""")
exercise(14,"Apply","shards for your chain",r"""
A chain has 5000 validators and fears an adversary with 15 %. It draws once a day for ten years and accepts a total risk of one in a million that some shard is stopped. How many shards can it have? How many, if it fears only that a shard lies, so that two thirds are needed?
""",r"""
24, and with two thirds instead of a third 143: the danger of a stop costs most of the shards. Whoever can live with a shard that stops for a day gains much.
""",r"""
for breaking in (1 / 3, 2 / 3):
    print(committees.max_shards(5000, 750, breaking, 1e-6, 3650))
""")
exercise(15,"Apply","split your stake",r"""
In sortition, does it pay to split a stake of 1000 lots into ten accounts of 100? Draw seats for both from 4000 epochs, with $\tau = 500$ of a total of 100 000 lots, and compare mean and variance. Draw outputs as `rng.bytes(64)`.
""",r"""
No: both have five seats on average, with the same variance. A sum of independent binomial numbers with one probability is binomial.
""",r"""
rng = np.random.default_rng(8)
whole = [committees.sortition(rng.bytes(64), 1000, 100_000, 500) for _ in range(4000)]
split = [
    sum(committees.sortition(rng.bytes(64), 100, 100_000, 500) for _ in range(10))
    for _ in range(4000)
]
for seats in (whole, split):
    print(f"mean {np.mean(seats):.2f}, variance {np.var(seats):.2f}")
assert abs(np.mean(whole) - np.mean(split)) < 4 * np.sqrt(2 * 5 / 4000)
""")
exercise(16,"Extend","what is a withheld output worth?",r"""
A leader makes the next seed, and the adversary is the leader of the last $j$ epochs in a row. It may withhold each of its outputs, and so chooses the best of $2^j$ seeds. A committee of 200 with a quarter of adversaries fails with probability $p$ in one draw if a third breaks it. With what probability does the best of $2^j$ draws fail? For which $j$ is it more likely than not?
""",r"""
$1 - (1 - p)^{2^j}$, about $2^j p$ while that is small. $p$ is about 0.0044, so from $j = 8$ on: a few leaders in a row are worth as much as a much larger stake. So long-lived seeds are combined from many leaders, or made by functions that take so long to compute that nobody knows the result in time to withhold it.
""",r"""
p = committees.sampled_failure(200, 0.25, 1 / 3)
print(f"one draw: {p:.4f}")
for j in range(11):
    print(j, f"{-np.expm1(2**j * np.log1p(-p)):.3f}")
""")
md("c4sum001", r"""
## Summary

- A VRF gives each validator one ticket, which it cannot choose and everybody can check, if keys are registered before the seed is known. A leader who makes the seed can still withhold it.
- **Taking the first $k$ who pass favours the front of the list** ({prf:ref}`prop-4-5`): at $p = 0.2$, the first quarter of 1000 gets half of the seats. The $k$ smallest outputs, or sortition, are fair.
- The tail of the binomial or hypergeometric distribution gives the size of a committee: about a thousand seats against a quarter, if a third breaks it and one draw in a billion may fail. The tail is a saw in the size.
- The union bound over shards and epochs gives the number of shards ({prf:ref}`prop-4-6`): about ten for ten thousand validators with a quarter bad, and a risk of one in a million.
- Rotation makes an adversary who corrupts slowly no stronger than one fixed in advance. It does nothing against one who is faster than the rotation.
- **A shard that acts only on certificates need not trust who brings them** ({prf:ref}`alg-4-1`), as long as no committee has more than $f < k/3$ bad members.

## Further reading

{cite:t}`gilad2017` introduce sortition, {cite:t}`rfc9381` is the standard of the VRF, and {cite:t}`kokoris2018` build a sharded chain on committees. {cite:t}`zamani2018` analyse the failure of committees with the hypergeometric distribution.
""")
write("chapters/04_4_committees.ipynb")
