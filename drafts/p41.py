from nb import *
md("q1open01", r"""
# What a vote can promise

Four banks keep one ledger together, 4 computers in all. A thief may have broken into one of the four, nobody knows which, and can make it say one thing to one bank and another thing to the next. **How many of the four must agree before a payment counts? And how many computers are needed if the thief may own two?** Write down two numbers before you read on.
""")
code("q1imp001", r"""
from itertools import combinations

import numpy as np
import sympy as sp

from web3scale import facts, figures, widgets
from web3scale.consensus import quorums
from web3scale.pictures import Picture
from web3scale.widgets import Slider

figures.house_style()
""", hide=True)
md("q1learn1", r"""
**You will learn** what may go wrong in a group of computers that vote; how many votes decide so that two decisions cannot contradict each other; why $3f + 1$ computers are needed against $f$ liars; and what a vote costs in messages and in bandwidth. **You need** signatures ([Primer B](b_crypto.ipynb)), blocks and forks ([Primer C](c_chain.ipynb)), and the idea that a chain is bounded by its narrowest part ([chapter 2](02_limits.ipynb)).

## Who votes, and what may go wrong

A [replica](glossary.md#term-replica) is a computer that keeps a copy of the ledger and votes on the next block. Each has a key, and everybody knows the public keys of all $n$. A replica is *honest* if it follows the protocol. It is [Byzantine](glossary.md#term-Byzantine-fault) if it may do anything: be silent, lie, say different things to different replicas, and do all this together with other Byzantine replicas. The name comes from a story of generals of whom some are traitors {cite}`lamport1982`.

This chapter makes four assumptions, and every promise in it rests on them.

1. **Few are bad.** At most $f$ of the $n$ replicas are Byzantine, for a number $f$ that is fixed in advance. Nobody knows which they are.
2. **Signatures hold.** Nobody can sign for an honest replica ([Primer B](b_crypto.ipynb)). So a message can be passed on, and still shows who said it.
3. **The network is slow for a while.** Messages may be late, lost or out of order, until a moment that nobody knows, the *global stabilisation time* GST. From then on each message between honest replicas arrives within a time $\Delta$. Lost messages are sent again.
4. **Honest replicas wait.** They keep what they have said across a restart, and they give up on a leader only after a time-out.

The third assumption is called [partial synchrony](glossary.md#term-partial-synchrony) {cite}`dwork1988`. It is a compromise. If messages could be delayed for ever, no deterministic protocol could be sure to decide once even a single replica may crash {cite}`fischer1985`. If every message always arrived in time, silence would prove a fault; on the internet it does not.

Two things are wanted of the vote. [Safety](glossary.md#term-safety): no two honest replicas decide different blocks for the same place in the chain. It must hold at all times, however slow the network is. [Liveness](glossary.md#term-liveness): what a client asks for is decided at last. It needs the network, so it is promised only after GST.

## How many votes decide?

A [quorum](glossary.md#term-quorum) is a number $q$ of replicas whose votes for a block decide it. Each honest replica votes once for each place in the chain. {numref}`Figure <fig-4-overlap>` shows the four banks with a quorum of two and with a quorum of three. The thief's computer B votes twice.
""")
code("q1pic001", r"""
overlap = Picture(
    "Four replicas A to D, twice. Left, a quorum of two: A and B decide to pay Bob,"
    " C and D to pay Carol, and no replica is in both. Right, a quorum of three: A,"
    " B and C want to pay Bob; B and D want to pay Carol and lack a vote, since the"
    " honest C votes once.",
    height=186,
)
for x, title, upper, lower in (
    (92, "2 votes decide", "AB", "CD"),
    (268, "3 votes decide", "ABC", "BD"),
):
    decided = len(upper) == len(lower)
    overlap.label(x, 12, title, bold=True)
    overlap.label(x, 42, "pay Bob: decided")
    for i, name in enumerate("ABCD"):
        at = x - 60 + 40 * i
        overlap.box(at, 96, name, width=30, tone="bad" if name == "B" else "plain")
        if name in upper:
            overlap.line((at, 56), (at, 78), tone="good")
        if name in lower:
            overlap.line((at, 114), (at, 136), tone="bad")
    verdict = "decided as well" if decided else "one vote short"
    overlap.label(x, 152, f"pay Carol: {verdict}")
overlap.label(180, 178, "a line is a vote; B is the thief's and votes twice")
overlap
""", fig="fig-4-overlap", cap="Two quorums. Left: with two votes, two blocks are decided, although nobody needs to vote twice. Right: with three votes, any two quorums of four have two replicas in common, so at least one that is honest and votes once.")
md("q1der001", r"""
Two decisions can contradict each other only if no honest replica stands in the way. So count how many replicas two quorums share. The first has $q$ of the $n$ replicas, and leaves $n - q$ outside. The second also has $q$, of which at most $n - q$ are outside the first. So at least $q - (n - q) = 2q - n$ are in both. And two quorums that share exactly $2q - n$ exist, if this is positive: fill the second with all that are outside the first.

Of those who are in both, up to $f$ may be Byzantine. So an honest one is among them for certain if $2q - n \ge f + 1$, and otherwise the thief may own them all.

A larger quorum is safer, but it must be reached even if the Byzantine replicas say nothing. Then $n - f$ voters are left, so $q \le n - f$. Between the two conditions there is room only if $n$ is large enough. The cell puts the largest quorum, $n - f$, into the first condition.
""")
code("q1der002", r"""
n, f, q = sp.symbols("n f q", positive=True)
least = sp.solve(sp.Eq(quorums.shared_replicas(q, n), f + 1), q)[0]
print("an honest one in common:  q >=", least)
room = sp.expand(quorums.shared_replicas(n - f, n) - (f + 1))
print("with q = n - f:  0 <=", room)
assert sp.simplify(least - (n + f + 1) / 2) == 0
assert sp.simplify(room - (n - 3 * f - 1)) == 0
""")
md("q1prop01", r"""
The numbers are whole, so the first condition is $q \ge \lceil (n + f + 1)/2 \rceil$.

```{prf:proposition} Quorums
:label: prop-4-1
:enumerator: 4.1

1. There are $n$ replicas, of which at most $f < n$ are Byzantine.
2. An honest replica votes for at most one block at each place in the chain.
3. A block is decided by the votes of any $q$ replicas, $1 \le q \le n$.

**(a)** No two different blocks can be decided at one place, whichever $f$ replicas are Byzantine, if and only if $q \ge \lceil (n + f + 1)/2 \rceil$.

**(b)** The honest replicas can decide without the Byzantine ones if and only if $q \le n - f$.

**(c)** A quorum with both properties exists if and only if $n \ge 3f + 1$.
```

*Proof.* (a) If $2q - n \ge f + 1$, two quorums share an honest replica, which has voted for one block only. If not, choose two quorums that share $\max(0, 2q - n) \le f$ replicas, let these be Byzantine and vote twice, and both blocks are decided. (b) There are $n - f$ honest replicas, and the others may be silent. (c) By the cell above, $q = n - f$ satisfies the first condition if and only if $n \ge 3f + 1$, and if the largest allowed $q$ does not satisfy it, no smaller one does. $\square$

For the answers to the two questions: four computers with one thief need three votes, and two thieves need seven computers and five votes.

The next cell checks the proposition without its formula, by trying everything. For up to seven replicas it takes every $f$ and every $q$, all pairs of quorums and all sets of Byzantine replicas, and asks whether some pair has only Byzantine replicas in common.
""")
code("q1try001", r"""
def can_contradict(replicas, faults, quorum):
    # some two quorums, some choice of Byzantine replicas: nobody honest in common
    groups = [set(group) for group in combinations(range(replicas), quorum)]
    bad = [set(some) for some in combinations(range(replicas), faults)]
    return any(one & two <= some for one in groups for two in groups for some in bad)


""")
md("q1try002", r"""
The loop compares the answers of this search with the proposition.
""")
code("q1try003", r"""
cases = 0
for replicas in range(1, 8):
    for faults in range(replicas):
        smallest = quorums.smallest_quorum(replicas, faults)
        for quorum in range(1, replicas + 1):
            contradicts = can_contradict(replicas, faults, quorum)
            assert contradicts == (quorum < smallest)
            cases += 1
        assert (smallest <= replicas - faults) == (replicas >= 3 * faults + 1)
print(f"{cases} cases tried, all as the proposition says")
for replicas in (3, 4, 6, 7, 100, 103):
    faults = quorums.max_faults(replicas)
    votes = quorums.smallest_quorum(replicas, faults)
    print(f"n = {replicas:3}: f = {faults}, q = {votes}, 2f + 1 = {2 * faults + 1}")
""")
md("q1ask001", r"""
The table shows a trap. At $n = 3f + 1$ the smallest quorum is $2f + 1$, and many texts call $2f + 1$ *the* quorum. With six replicas and $f = 1$ it is 4, not 3: two groups of three of six need not share anybody.

:::{admonition} A question on the way
:class: tip

A program takes "two thirds of the replicas, rounded" as its quorum: `round(2 * n / 3)`. For which numbers of replicas up to 12 can two blocks be decided, if the largest $f$ with $3f + 1 \le n$ are Byzantine?

```{dropdown} Answer
For 2, 5, 8 and 11: the cell below finds them. Two replicas tolerate nobody, and each alone would decide. Five replicas tolerate one Byzantine replica. Two thirds of five, rounded, are three, and two groups of three of five share one replica, which may be the Byzantine one. A quorum is a whole number and is computed in whole numbers: `(n + f + 2) // 2`.
```
:::
""")
code("q1ask002", r"""
unsafe = [
    size
    for size in range(2, 13)
    if round(2 * size / 3) < quorums.smallest_quorum(size, quorums.max_faults(size))
]
print("two thirds, rounded, are too few for n =", unsafe)
""")
md("q1need01", r"""
Part (c) is about votes by quorums. Could a cleverer protocol do with fewer than $3f + 1$ replicas? Under partial synchrony it could not, even with signatures {cite}`dwork1988`. If every message arrived in time, signatures would allow more: then silence shows who is at fault.

A quorum's promise also ends with its assumption. With $f + 1$ Byzantine replicas instead of $f$, two blocks can be decided. [Section 4.2](04_2_pbft.ipynb) does it. What remains then is evidence: $2q - n$ replicas or more have signed both.

## What does a vote cost?

The treatise measures a consensus protocol by participants, divided by time and messages. Take a protocol that decides in half a second with four replicas. Add 96 replicas that make it slower, in such a way that time times messages grows twentyfold. The index rises, since 25 times as many take part. But nobody was served faster. What users get are decisions, so they belong on top, and the number of replicas is a condition.

```{prf:definition} Scalability of consensus 共识扩展性
:label: def-4-1
:enumerator: 4.1

The [scalability](glossary.md#term-scalability) of a consensus protocol is its [throughput](glossary.md#term-throughput) $X(n, f)$, the [transactions](glossary.md#term-transaction) that it decides a second, as a function of the replicas $n$ and of the faults tolerated $f \le (n-1)/3$.

For a leader who sends each block of $b$ transactions of $s$ bytes to the $n - 1$ others over an uplink of $U$ bytes a second, and begins with the next when the one before is decided,

$$ X = \frac{b}{L + b\,s\,(n-1)/U} , $$

where $L$ is the time from a proposal to its decision, without the time to send the block.
```

Where does the second term come from? The leader has to bring $b$ transactions of $s$ bytes to $n - 1$ replicas, so $b\,s\,(n-1)$ bytes leave its computer. The uplink takes $b\,s\,(n-1)/U$ seconds for them. With larger blocks $L$ matters less and less, and a bound is left.
""")
code("q1upl001", r"""
b, s, U, L = sp.symbols("b s U L", positive=True)
sending = b * s * (n - 1) / U  # seconds
rate = b / (L + sending)
ours = quorums.commit_rate(b, L, U, s, n)
assert sp.simplify(rate - ours) == 0
bound = sp.limit(rate, b, sp.oo)
assert sp.simplify(bound - quorums.leader_bound(U, s, n)) == 0
assert sp.simplify(bound - rate).subs({b: 1, s: 1, U: 1, L: 1, n: 4}) > 0
uplink = 100e6 / 8  # 100 Mbit/s, in bytes a second
for replicas in (4, 100):
    most = quorums.leader_bound(uplink, 250, replicas)
    print(f"n = {replicas:3}: at most {most:6.0f} transactions a second")
quorums.leader_bound
""")
md("q1prop02", r"""
```{prf:proposition} The leader's uplink
:label: prop-4-2
:enumerator: 4.2

1. One leader sends every transaction, in full, to each of the $n - 1$ other replicas.
2. A transaction has $s$ bytes, and the leader's uplink carries at most $U$ bytes a second.

Then at most $U/(s(n-1))$ transactions are decided a second in the long run, whatever the protocol does with its votes and however many blocks are under way at a time.
```

*Proof.* In $t$ seconds at most $Ut$ bytes leave the leader, and each transaction takes $s(n-1)$ of them. $\square$

At 100 Mbit/s and 250 bytes this is 16 667 transactions a second for four replicas and 505 for a hundred. Votes are small, so the bound hardly depends on how they are counted. The figure below draws both costs: the messages of one decision, which the next two sections count, and the transactions that the uplink lets through.
""")
code("q1fig001", r"""
fig, ax = figures.new(
    "replicas n", "messages for one decision", xscale="log", yscale="log"
)
grid = np.arange(4, 201)
for name, law in (
    ("PBFT, 2n(n − 1)", quorums.pbft_messages),
    ("HotStuff, 7(n − 1)", quorums.hotstuff_messages),
    ("chained, 2(n − 1) a view", quorums.chained_messages),
):
    ax.plot(grid, law(grid), label=name)
ax.set(xticks=[4, 10, 30, 100, 200], xticklabels=[4, 10, 30, 100, 200])
ax.minorticks_off()
ax.legend(fontsize=9)
for replicas in (4, 100):
    print(
        f"n = {replicas}: {quorums.pbft_messages(replicas):.0f},"
        f" {quorums.hotstuff_messages(replicas):.0f},"
        f" {quorums.chained_messages(replicas):.0f} messages"
    )
""", fig="fig-4-messages", cap="Messages between replicas for one decision, or for one view of chained HotStuff. The next two sections count them in running protocols. They are small: a vote is some hundred bytes.", alt="Messages against 4 to 200 replicas, both axes logarithmic. PBFT rises from 24 to about 80 000, HotStuff from 21 to about 1400, chained HotStuff from 6 to about 400.")
md("q1sim001", r"""
Does it help the leader to propose the next block before the last one is decided? The simulation below knows no formula. The leader puts one copy after the other on its uplink. A block is decided a time $L$ after its last copy has left, and the leader keeps up to a *window* of blocks under way.
""")
code("q1sim002", r"""
def simulated_rate(window, replicas, batch=1000, wait=0.5, size=250, blocks=400):
    free, decided = 0.0, []  # when the uplink is free; when each block was decided
    for number in range(blocks):
        start = max(free, decided[number - window] if number >= window else 0.0)
        for _ in range(replicas - 1):  # one copy after the other
            start += batch * size / uplink
        free = start
        decided.append(free + wait)
    return batch * blocks / decided[-1]


alone = quorums.commit_rate(1000, 0.5, uplink, 250, 20)
most = quorums.leader_bound(uplink, 250, 20)
print(f"n = 20, formula for one at a time: {alone:.0f}, bound: {most:.0f}")
rates = {window: simulated_rate(window, 20) for window in (1, 2, 4, 16)}
for window, rate in rates.items():
    print(f"{window:2} blocks under way: {rate:.0f} a second")
assert abs(rates[1] / alone - 1) < 0.01 and max(rates.values()) <= most
""")
md("q1sim003", r"""
One block at a time gives what the definition says. More blocks under way fill the uplink, and no window passes the bound. So there are two remedies and no third under these assumptions: send fewer bytes through the leader, or use a faster uplink. {numref}`Figure <fig-4-uplink>` lets you choose the uplink and the size of a block.
""")
code("q1exp001", r"""
def draw(megabits, batch):
    speed = megabits * 1e6 / 8
    fig, ax = figures.new(
        "replicas n", "transactions [1/s]", xscale="log", yscale="log"
    )
    ax.plot(grid, quorums.leader_bound(speed, 250, grid), "--", color="0.5")
    ax.plot(grid, quorums.commit_rate(batch, 0.5, speed, 250, grid))
    at = quorums.commit_rate(batch, 0.5, speed, 250, 100)
    ax.plot(100, at, "o", color="#D55E00")
    ax.set(ylim=(10, 2e5), xticks=[4, 10, 30, 100, 200])
    ax.set(xticklabels=[4, 10, 30, 100, 200], title=f"100 replicas: {at:.0f} a second")
    ax.xaxis.minorticks_off()
    rest = f"100 replicas decide {at:.0f} transactions a second."
    return fig, f"Uplink {megabits} Mbit/s, blocks of {batch} transactions: {rest}"


widgets.explore(
    draw,
    name="explore-uplink",
    megabits=Slider("uplink [Mbit/s]", [10, 100, 1000, 10000], start=100),
    batch=Slider("block [transactions]", [100, 1000, 10000, 100000], start=1000),
)
""", fig="fig-4-uplink", cap="Transactions decided a second, one block at a time, with half a second from a proposal to its decision and 250 bytes a transaction. Dashed: the bound of the leader's uplink. Dot: 100 replicas.", alt="Uplink 100 Mbit/s, blocks of 1000 transactions: 100 replicas decide 403 transactions a second.")
md("q1real01", r"""
## On real numbers

{cite:t}`danezis2022` measured HotStuff, whose leader sends the transactions itself, and the same protocol over *Narwhal*, where each replica spreads the transactions that it received and the leader proposes only their digests. On a wide-area network the first decided 1800 transactions a second with a latency of one second, and the second more than 130 000 with less than two seconds. The votes were the same; what changed was the way of the bytes.

How does this compare with the formula? With Narwhal each transaction still has to reach all replicas. But all $n$ uplinks share the work. If each replica sends an $n$-th of the transactions to the $n - 1$ others, the bound becomes $n\,U/(s(n-1))$, which is about $U/s$.
""")
code("q1real02", r"""
shared = n * quorums.leader_bound(U, s, n)  # each replica sends 1/n of them
assert sp.limit(shared, n, sp.oo) == U / s
for replicas in (4, 100):
    one = quorums.leader_bound(uplink, 250, replicas)
    print(f"n = {replicas}: leader alone {one:.0f}, all share {one * replicas:.0f}")
rates = {
    fact.chain: fact.value
    for fact in facts.load_chains()
    if fact.quantity == "throughput_measured"
}
times = rates["Narwhal-HotStuff"] / rates["HotStuff"]
print(f"measured (Danezis et al.): {rates}, {times:.0f} times")
""")
md("q1real03", r"""
The measured factor and this one belong to different machines, numbers of replicas and sizes, so they are no test of each other. They agree in what binds. [Section 2.2](02_2_network.ipynb) describes another remedy of the same kind, a tree or a code that spreads the block without sending it $n - 1$ times from one place.

## Exercises
""")
exercise(1,"Check","ten replicas",r"""
A chain has ten replicas. How many Byzantine ones does it tolerate, how many votes decide, and how many honest replicas do two quorums have in common at least?
""",r"""
Three, seven, and one: two quorums of seven share four, of which three may be Byzantine.
""",r"""
faults = quorums.max_faults(10)
votes = quorums.smallest_quorum(10, faults)
print(faults, votes, int(quorums.shared_replicas(votes, 10)) - faults)
""")
exercise(2,"Apply","crashes only",r"""
Suppose that faulty replicas only crash: they stop, and never lie. How many votes decide then, and how many replicas tolerate $f$ crashes? Go through the derivation again with this fault, and check the answer by trying all pairs of quorums for five replicas.
""",r"""
Two quorums need one replica in common, honest or not, since nobody votes twice: $2q - n \ge 1$. With $q \le n - f$ this gives $n \ge 2f + 1$, and a majority decides. Five replicas tolerate two crashes with a quorum of three.
""",r"""
for quorum in range(1, 6):
    groups = [set(group) for group in combinations(range(5), quorum)]
    meets = all(one & two for one in groups for two in groups)
    print(f"q = {quorum}: two quorums always meet: {meets}")
print(sp.solve(sp.Eq(2 * (n - f) - n, 1), n))  # the smallest n
""")
exercise(3,"Apply","a chain for ten thousand a second",r"""
Meridian wants 10 000 transfers of 250 bytes a second, decided by a leader who sends every block to all others. How many replicas can it have at an uplink of 1 Gbit/s? Which uplink would 100 replicas need?
""",r"""
51 replicas, and about 2 Gbit/s for a hundred, with nothing left for votes or for blocks that are sent twice.
""",r"""
fast = 1e9 / 8
most = int(fast / (250 * 10_000)) + 1
assert quorums.leader_bound(fast, 250, most) >= 10_000
assert quorums.leader_bound(fast, 250, most + 1) < 10_000
print(f"{most} replicas; 100 need {10_000 * 250 * 99 * 8 / 1e9:.2f} Gbit/s")
""")
exercise(4,"Extend","votes with weights",r"""
Replica $i$ has a weight $w_i$, and a block is decided by votes of total weight $q$. Byzantine replicas have total weight $F$ at most, all together weigh $W$. State and prove the condition under which no two blocks can be decided. Is it still *if and only if*? Try the weights 4, 1, 1, 1 with $F = 1$ and $q = 4$.
""",r"""
Two quorums have at least the weight $2q - W$ in common, so an honest replica is among them if $2q - W > F$. The converse fails: weights come in lumps. With 4, 1, 1, 1 we have $W = 7$ and $2q - W = 1$, which is not more than $F = 1$. But three votes of weight 1 are short of 4, so every quorum contains the first replica. It weighs 4 and cannot be Byzantine when $F = 1$, so no two blocks are ever decided.
""",r"""
weights, F, needed = [4, 1, 1, 1], 1, 4
parts = [set(part) for size in range(5) for part in combinations(range(4), size)]
heavy = [part for part in parts if sum(weights[i] for i in part) >= needed]
light = [part for part in parts if sum(weights[i] for i in part) <= F]
print("2q - W =", 2 * needed - sum(weights), "and F =", F)
broken = any(a & b <= bad for a in heavy for b in heavy for bad in light)
print("two blocks can be decided:", broken)
assert not broken
""")
md("q1sum001", r"""
## Summary

- **Two quorums of $q$ among $n$ replicas share at least $2q - n$.** With at most $f$ Byzantine replicas, no two blocks can be decided at one place if and only if $q \ge \lceil (n+f+1)/2 \rceil$ ({prf:ref}`prop-4-1`).
- The honest replicas alone reach a quorum if and only if $q \le n - f$. Both conditions hold for some $q$ if and only if $n \ge 3f + 1$. For other $n$ than $3f + 1$ the quorum is not $2f + 1$.
- Safety is wanted at all times, and liveness only once the network delivers messages within $\Delta$.
- What counts is the throughput at given $n$ and $f$ ({prf:ref}`def-4-1`). If one leader sends every transaction to all others, it is at most $U/(s(n-1))$, whatever the votes cost ({prf:ref}`prop-4-2`).

## Further reading

{cite:t}`lamport1982` tell the story of the generals and prove the bound for messages without signatures. {cite:t}`dwork1988` introduce partial synchrony. {cite:t}`malkhi1998` treat quorums that are other sets than *any $q$ of $n$*. {cite:t}`danezis2022` move the bytes away from the leader.
""")
write("chapters/04_1_quorums.ipynb")
