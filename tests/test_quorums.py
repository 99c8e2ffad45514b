"""Quorums in integers, and the counts of Theorem 4.1."""

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from web3scale.consensus.quorums import (
    chained_messages,
    commit_rate,
    hotstuff_messages,
    leader_bound,
    max_faults,
    pbft_messages,
    shared_replicas,
    smallest_quorum,
)
from web3scale.errors import DomainError


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 10, 16, 31, 100, 103])
def test_the_smallest_quorum_is_the_first_that_is_safe(n):
    for f in range(n + 1):
        safe = [q for q in range(n + f + 2) if 2 * q - n >= f + 1]
        assert smallest_quorum(n, f) == safe[0]
        assert any(q <= n - f for q in safe) == (n >= 3 * f + 1)


def test_two_quorums_meet_in_an_honest_replica():
    """Counted over all pairs of sets: at the smallest quorum always, one below not."""
    from itertools import combinations

    for n in range(1, 8):
        for f in range(max_faults(n) + 1):
            q = smallest_quorum(n, f)
            for size, holds in ((q, True), (q - 1, False)):
                sets = [set(s) for s in combinations(range(n), size)]
                assert (min(len(a & b) for a in sets for b in sets) > f) == holds


@given(st.integers(1, 10**9))
def test_at_the_most_faults_a_quorum_is_there_without_them(n):
    f = max_faults(n)
    assert 3 * f + 1 <= n < 3 * (f + 1) + 1
    assert smallest_quorum(n, f) <= n - f


def test_two_thirds_in_floats_is_no_quorum():
    """int(0.66 n) + 1 is right at n = 4, 7, …, 100 and wrong beyond, and for half of all n."""
    trap = {n: int(0.66 * n) + 1 for n in range(1, 104)}
    right = [n for n in trap if trap[n] == smallest_quorum(n, max_faults(n))]
    assert {*range(1, 101, 3)} <= {*right}
    assert 103 not in right


def test_formulas():
    n, f = pbft_messages.symbols["replicas"], sp.Symbol("f", positive=True)
    assert [int(pbft_messages(n)) for n in (4, 7, 100)] == [24, 84, 19800]
    assert [int(hotstuff_messages(n)) for n in (4, 7, 100)] == [21, 42, 693]
    assert [int(chained_messages(n)) for n in (4, 7, 100)] == [6, 12, 198]
    # Theorem 4.1: replicas per message, at n = 3f + 1
    assert sp.simplify((n / pbft_messages.expr).subs(n, 3 * f + 1) - 1 / (6 * f)) == 0
    assert sp.limit(n / hotstuff_messages.expr, n, sp.oo) == sp.Rational(1, 7)
    assert sp.limit(n / chained_messages.expr, n, sp.oo) == sp.Rational(1, 2)
    assert shared_replicas(67, 100) == 34


def test_the_leaders_uplink():
    assert [round(leader_bound(100e6 / 8, 250, n)) for n in (4, 100)] == [16667, 505]
    batch = commit_rate.symbols["batch"]
    renamed = {commit_rate.symbols[name]: symbol for name, symbol in leader_bound.symbols.items()}
    assert sp.simplify(sp.limit(commit_rate.expr, batch, sp.oo).subs(renamed) - leader_bound.expr) == 0
    assert commit_rate(1, 0.5, 1e12, 250, 4) == pytest.approx(2)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, None, "4"])
def test_replicas_are_counted(bad):
    for function in (max_faults, lambda n: smallest_quorum(n, 1)):
        with pytest.raises(DomainError):
            function(bad)
