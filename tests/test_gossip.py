"""How a message spreads, held against exact counts, a simulation step by step, and limits for many nodes."""

import math
from heapq import heappop, heappush

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw
from test_topology import graphs

from web3scale.errors import DomainError
from web3scale.limits import flooding_waste
from web3scale.network.gossip import MeshRule, flood, mesh_spread, push, timed_flood
from web3scale.network.topology import Graph, random_regular, ring

often = settings(max_examples=60, deadline=None, derandomize=True)


@pytest.mark.parametrize("degree", [4, 8])
def test_flooding_wastes_what_theorem_2_2_says(degree):
    spread = flood(random_regular(1000, degree, seed=1), 0)
    assert spread.duplicates == flooding_waste(1000, degree) == 1000 * (degree - 2) + 2
    assert spread.share == 1.0


def of_each(spread):
    """Return the time of each node that was reached."""
    return dict(zip(spread.reached.tolist(), spread.times.tolist(), strict=True))


def event_by_event(graph, source, delays, transmit_time, silent):
    """Flood with one heap of arrivals: slower, and written without a shortest path."""
    of_link = {(u, v): d for (u, v), d in zip(graph.links.tolist(), delays, strict=True)}
    times, copies, waiting = {}, 0, [(0.0, source, source)]
    while waiting:
        time, node, sender = heappop(waiting)
        if node in times:
            continue
        times[node] = time
        if node in silent:
            continue
        for place, other in enumerate(graph.of(node).tolist(), 1):
            if other != sender:
                copies += 1
                heappush(waiting, (time + place * transmit_time + of_link[tuple(sorted((node, other)))], other, node))
    return times, copies


@often
@given(graphs(connected=False), st.integers(0, 2**32), st.sampled_from([0.0, 0.3]), st.sets(st.integers(0, 4)))
def test_timed_flood_is_that_of_the_events(graph, seed, transmit_time, silent):
    silent = {s for s in silent if s < graph.nodes}
    delays = np.random.default_rng(seed).random(len(graph.links))
    times, copies = event_by_event(graph, 1, delays, transmit_time, silent)
    found = timed_flood(graph, 1, delays=delays, transmit_time=transmit_time, silent=sorted(silent))
    assert of_each(found) == pytest.approx(times)
    assert found.copies == copies


def test_a_flood_of_equal_delays_counts_links():
    graph = random_regular(500, 4, seed=1)
    timed = timed_flood(graph, 3, delays=np.ones(len(graph.links)), transmit_time=0)
    assert np.allclose(timed.times, flood(graph, 3).times)
    assert timed.copies == flood(graph, 3).copies


def test_silent_nodes_can_cut_a_ring():
    graph = ring(10)
    spread = timed_flood(graph, 0, delays=np.ones(10), transmit_time=0, silent=[2, 8])
    assert spread.share == 0.5
    assert spread.coverage_time(0.5) == 2
    assert spread.coverage_time(0.6) is None
    mute = timed_flood(graph, 0, delays=np.ones(10), transmit_time=0, silent=[0])
    assert (mute.share, mute.copies) == (0.1, 0)


def test_delays_need_not_be_positive():
    graph = Graph(3, [(0, 1), (1, 2)])
    assert timed_flood(graph, 0, delays=[0, 0], transmit_time=0).times.tolist() == [0, 0, 0]


@pytest.mark.parametrize("delays", [[1.0], [1.0, -1.0], [1.0, math.nan], 1.0])
def test_delays_are_refused(delays):
    with pytest.raises(DomainError, match=r"^timed_flood: delays must be"):
        timed_flood(Graph(3, [(0, 1), (1, 2)]), 0, delays=delays, transmit_time=0)


@pytest.mark.parametrize("fan_out", [1, 2, 4])
def test_push_reaches_the_share_that_solves_its_equation(fan_out):
    # z = 1 − e^(−k z); a message may die at once, so of some runs the largest counts
    wanted = 1 + lambertw(-fan_out * math.exp(-fan_out)).real / fan_out if fan_out > 1 else 0.0
    found = max(push(20_000, fan_out, seed=seed).share for seed in range(5))
    assert found == pytest.approx(wanted, abs=0.02)


def test_push_covers_with_the_probability_of_kermarrec():
    nodes, margin = 2000, 1.0
    fan_out = round(math.log(nodes) + margin)
    exact = math.exp(-math.exp(-(fan_out - math.log(nodes))))
    found = np.mean([push(nodes, fan_out, seed=seed).share == 1.0 for seed in range(300)])
    assert abs(found - exact) < 4 * math.sqrt(exact * (1 - exact) / 300) + 0.02  # for large n


def test_push_counts_its_copies():
    spread = push(1000, 3, seed=1)
    assert spread.copies == 3 * round(1000 * spread.share)
    assert spread.duplicates == spread.copies - round(1000 * spread.share) + 1
    assert np.array_equal(spread.times, push(1000, 3, seed=1).times)


def overlay_and_mesh(nodes=300):
    mesh, more = random_regular(nodes, 4, seed=1), random_regular(nodes, 20, seed=2)
    links = np.unique(np.concatenate([mesh.links, more.links]), axis=0)
    return Graph(nodes, links), mesh


def test_a_mesh_without_loss_is_a_flood_of_the_mesh():
    overlay, mesh = overlay_and_mesh()
    spread = mesh_spread(overlay, mesh, 0, delay=0.01, transmit_time=0, rule=MeshRule(heartbeat=1e6), seed=1)
    assert np.allclose(spread.times, 0.01 * flood(mesh, 0).times)
    assert spread.copies == flood(mesh, 0).copies


def test_announcements_mend_what_censors_hold_back():
    overlay, mesh = overlay_and_mesh()
    silent = list(range(1, 241))  # four fifths of all
    eager = mesh_spread(mesh, mesh, 0, delay=0.1, transmit_time=0.01, silent=silent, seed=1)
    lazy = mesh_spread(overlay, mesh, 0, delay=0.1, transmit_time=0.01, silent=silent, seed=1)
    assert eager.share < 0.5
    assert lazy.share > 0.95
    lazily = of_each(lazy)
    assert all(lazily[node] <= time + 1e-9 for node, time in of_each(eager).items())


def test_a_copy_that_waits_for_a_heartbeat_takes_three_delays():
    overlay, mesh = Graph(2, [(0, 1)]), Graph(2, [])
    spread = mesh_spread(overlay, mesh, 0, delay=0.1, transmit_time=0.2, seed=3)
    assert spread.copies == 1
    assert 0.5 <= spread.times[1] <= 0.5 + MeshRule().heartbeat
    assert mesh_spread(overlay, mesh, 0, delay=0.1, transmit_time=0.2, silent=[0], seed=3).share == 0.5


def test_an_uplink_sends_one_copy_after_the_other():
    star = Graph(5, [(0, i) for i in range(1, 5)])
    spread = mesh_spread(star, star, 0, delay=1.0, transmit_time=0.5, seed=1)
    assert spread.times.tolist() == [0, 1.5, 2.0, 2.5, 3.0]


def test_a_mesh_needs_the_nodes_of_its_overlay():
    with pytest.raises(DomainError, match="mesh must have the nodes of overlay, 2, got 3"):
        mesh_spread(Graph(2, []), Graph(3, []), 0, delay=0, transmit_time=0, seed=1)


def test_a_share_covered_is_counted_in_whole_nodes():
    spread = flood(ring(10), 0)
    assert [spread.coverage_time(s) for s in (0.1, 0.11, 0.3, 0.5, 1.0)] == [0, 1, 1, 2, 5]
    with pytest.raises(DomainError, match="share"):
        spread.coverage_time(0)
