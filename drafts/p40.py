from nb import *
md("cs0open1", r"""
# Consensus

A chain has 10 000 validators. On each [block](glossary.md#term-block) they have to agree, although some are offline, some are far away, and some want to deceive the others. **If all of them send one vote to all others, how many messages are that for one block? And if only a few decide for all, how many must the few be?** Write down two guesses before you run the cell.
""")
code("cs0run01", r"""
from web3scale.consensus import committees, quorums
from web3scale.pictures import Picture

everybody = quorums.pbft_messages(10_000)
seats = committees.smallest_committee(1 / 4, 1 / 3, 1e-9, 1)
print(f"all, by PBFT: {everybody / 1e6:.0f} million messages")
print(f"a committee against a quarter of adversaries: {seats} validators")
print(f"they, by PBFT: {quorums.pbft_messages(seats) / 1e6:.1f} million")
print(f"they, by HotStuff: {quorums.hotstuff_messages(seats):.0f}")
""")
md("cs0why01", r"""
So it is 200 million messages with everybody, and 7203 with a committee of 1030 that talks through a leader. The two steps between, *fewer voters* and *fewer messages for each*, are the subject of this chapter, together with the condition that neither may let two blocks be decided at one place.

[Chapter 2](02_limits.ipynb) had another kind of agreement, or [consensus](glossary.md#term-consensus): the [longest chain](glossary.md#term-longest-chain), where a block becomes safer with every block on it and is never decided for good. Here blocks are decided by votes of known [validators](glossary.md#term-validator). A decision is then final at once, as long as fewer than a third of the voters cheat; and nothing is decided while too few can be reached. {numref}`Figure <fig-4-map>` shows the parts.
""")
code("cs0map01", r"""
parts = Picture(
    "Ten thousand validators. A lottery draws a committee from them. The committee"
    " votes in phases through a leader and makes a certificate, which other shards"
    " check.",
    height=176,
)
parts.box(58, 58, "10 000\nvalidators", width=92, height=48)
parts.box(180, 58, "committee\n1030", width=92, height=48, tone="accent")
parts.box(302, 58, "certificate", width=92, height=48, tone="good")
parts.arrow((104, 58), (134, 58))
parts.arrow((226, 58), (256, 58))
for x, what, where in (
    (119, "lottery", "4.4"),
    (241, "votes", "4.1 to 4.3"),
    (302, "other shards\ncheck it", "4.4"),
):
    parts.label(x, 16 if x < 300 else 112, what)
    parts.label(x, 104 if x < 300 else 144, where, bold=True)
parts.label(180, 168, "bold: the sections")
parts
""", fig="fig-4-map", cap="From many validators to one decision that others can check, and the sections that treat each step.")
md("cs0goal1", r"""
**What you will be able to do.** After this chapter you can

- compute the [quorum](glossary.md#term-quorum) for any number of replicas and of faults, and say which promise breaks when it is wrong;
- run PBFT and HotStuff message by message, with real signatures, against silent, lying and separated replicas, and count what they send;
- say how long a decision takes between continents, and what a leader's uplink lets through;
- draw a committee that nobody can steer, and compute its size, the number of shards, and the risk;
- make shards that believe certificates instead of messengers.

**What you need.** Signatures and hashes ([Primer B](b_crypto.ipynb)), blocks, forks and [finality](glossary.md#term-finality) ([Primer C](c_chain.ipynb)), and for 4.4 the transfers across shards of [Section 3.1](03_1_ledger.ipynb).

**How the chapter is built.**

| section | question | main statements |
|---|---|---|
| 4.1 [What a vote can promise](04_1_quorums.ipynb) | How many votes decide, and what does a vote cost? | Definition 4.1, Propositions 4.1 and 4.2 |
| 4.2 [PBFT](04_2_pbft.ipynb) | How do replicas agree although some lie? | Proposition 4.3 |
| 4.3 [HotStuff](04_3_hotstuff.ipynb) | How few messages are enough, and what is the price? | Theorem 4.1, Proposition 4.4 |
| 4.4 [Committees](04_4_committees.ipynb) | Who may decide for all, and how do others believe it? | Algorithm 4.1, Propositions 4.5 and 4.6 |

Four lectures of 90 minutes hold the core, one a section. A course with three takes the latency of 4.2 as reading, and leaves out the chained form in 4.3.

**What the chapter will show** (the sections explain the letters)**.**

- **No two blocks can be decided at one place if and only if $q \ge \lceil (n+f+1)/2\rceil$, and the honest reach $q$ if and only if $q \le n - f$**; both need $n \ge 3f+1$ ([4.1](04_1_quorums.ipynb)).
- **If one leader sends every transaction to all others, at most $U/(s(n-1))$ are decided a second**, whatever the votes cost ([4.1](04_1_quorums.ipynb)).
- Under these conditions PBFT and HotStuff decide no two contradicting blocks, however slow the network is; with $f + 1$ Byzantine replicas the simulation finds two ([4.2](04_2_pbft.ipynb), [4.3](04_3_hotstuff.ipynb)).
- With honest leaders a decision takes **$2n(n-1)$ messages in PBFT, $7(n-1)$ in basic HotStuff, and a view $2(n-1)$ in the chained form**. Fewer messages take more time ([4.3](04_3_hotstuff.ipynb)).
- **A committee against a quarter of adversaries has about a thousand seats**, if a third breaks it and one draw in a billion may fail ([4.4](04_4_committees.ipynb)).

:::{admonition} In practice
:class: note

What to ask of a chain that decides by votes:

- *Who are the replicas, and how many fail together?* $f$ counts replicas, but a cloud provider, a client program or an owner may hold many of them. Count the largest group that one failure takes down ([4.1](04_1_quorums.ipynb)).
- *Where are they?* Measure the delays between them, and take the time of the $q$-th fastest answer rather than the mean ([4.2](04_2_pbft.ipynb)).
- *What leaves the leader's computer?* Block bytes times $n - 1$, against its uplink. If this binds, spread the bytes by other ways and let the leader send digests ([4.1](04_1_quorums.ipynb)).
- *How is the committee drawn, and from what seed?* Ask who could withhold it, when keys are registered, and how long a committee stays ([4.4](04_4_committees.ipynb)).
- *What happens when a third is gone?* The chain stops. Plan for it, and for how it starts again.
:::
""")
write("chapters/04_consensus.ipynb")
