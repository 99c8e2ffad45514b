"""The house style, and the one drawing that every comparison of theory and simulation uses."""

import itertools
import math

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from web3scale import figures
from web3scale.errors import DomainError

# Okabe and Ito (2008), "Color Universal Design", jfly.uni-koeln.de/color: the published eight
OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "bluish green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "reddish purple": "#CC79A7",
}


@pytest.fixture(autouse=True)
def clean():
    """Leave Matplotlib as it was found."""
    with mpl.rc_context():
        yield
    plt.close("all")


def test_palette_is_the_published_one():
    # yellow is left out: too faint for a line on white
    assert sorted(figures.COLOURS) == sorted(set(OKABE_ITO.values()) - {OKABE_ITO["yellow"]})


def test_every_line_has_its_own_style():
    assert len(figures.LINES) == len(figures.COLOURS)
    for one, other in itertools.combinations(figures.LINES, 2):
        assert one != other
    for style in figures.LINES:
        plt.plot([0, 1], linestyle=style)


def test_house_style():
    figures.house_style()
    cycle = list(mpl.rcParams["axes.prop_cycle"])
    assert [c["color"] for c in cycle] == list(figures.COLOURS)
    assert [c["linestyle"] for c in cycle] == list(figures.LINES)
    assert mpl.rcParams["svg.hashsalt"] == "web3scale"  # without it no two SVG files are the same


def test_new_labels_both_axes():
    fig, ax = figures.new("load ρ", "time [s]", xlim=(0, 2), yscale="log")
    assert ax.get_figure() is fig
    assert ax.get_xlabel() == "load ρ"
    assert ax.get_ylabel() == "time [s]"
    assert ax.get_xlim() == (0, 2)
    assert ax.get_yscale() == "log"


def test_labels_are_not_optional():
    with pytest.raises(TypeError):
        figures.new("load ρ")


def double(x):
    return 2 * x


def test_distance_by_hand():
    _, ax = figures.new("x", "y")
    # at 1: theory 2, runs 2 and 4, mean 3, error √2/√2 = 1, distance 1
    # at 3: theory 6, runs 1 and 5, mean 3, error 2√2/√2 = 2, distance 1.5
    assert figures.theory_and_simulation(ax, double, [0, 4], [1, 3], [[2, 4], [1, 5]]) == pytest.approx(1.5)
    # the sign does not matter, the largest counts
    assert figures.theory_and_simulation(ax, double, [0, 4], [3, 1], [[1, 5], [-8, -2]]) == pytest.approx(7 / 3)
    # three runs: mean 3, variance 3, error 1
    three = [[3, 3 + math.sqrt(3), 3 - math.sqrt(3)]]
    assert figures.theory_and_simulation(ax, double, [0, 4], [1], three) == pytest.approx(1.0)


def test_what_is_drawn():
    _, ax = figures.new("x", "y")
    samples = np.array([[2.0, 4.0, 3.5], [1.0, 5.0, 5.5]])
    distance = figures.theory_and_simulation(ax, double, [0, 2, 4], [1, 3], samples, label="M/M/1", colour=1)
    line, points = ax.get_lines()[0], ax.containers[0]
    assert line.get_xdata().tolist() == [0, 2, 4]
    assert line.get_ydata() == pytest.approx([0, 4, 8])
    assert line.get_color() == figures.COLOURS[1]
    assert line.get_linestyle() == figures.LINES[1]
    assert points.lines[0].get_xdata().tolist() == [1, 3]
    assert points.lines[0].get_ydata() == pytest.approx(samples.mean(axis=1))
    assert points.lines[0].get_color() == figures.COLOURS[1]
    # the bars are Student's 95 % interval of the mean
    bars = [bar[:, 1] for bar in points.lines[2][0].get_segments()]
    for bar, runs in zip(bars, samples, strict=True):
        expected = stats.t.interval(0.95, 2, loc=runs.mean(), scale=stats.sem(runs))
        assert bar == pytest.approx(np.array(expected))
    assert ax.get_legend_handles_labels()[1] == ["M/M/1, theory", "M/M/1, simulation"]
    # the unit of the drawing does not change the distance
    assert distance == pytest.approx(max(abs(samples.mean(axis=1) - [2, 6]) / stats.sem(samples, axis=1)))


def test_colours_start_again_after_the_last():
    _, ax = figures.new("x", "y")
    figures.theory_and_simulation(ax, double, [0, 4], [1], [[2, 4]], colour=len(figures.COLOURS) + 2)
    assert ax.get_lines()[0].get_color() == figures.COLOURS[2]
    assert ax.get_legend_handles_labels()[1] == ["theory", "simulation"]


@pytest.mark.parametrize("samples", [[[1], [2]], [[1, 2]], [[1, 2], [3, 4], [5, 6]], [1, 2], [[[1, 2]], [[3, 4]]]])
def test_samples_of_another_shape(samples):
    _, ax = figures.new("x", "y")
    with pytest.raises(DomainError, match=r"^theory_and_simulation: samples must have shape \(2, runs >= 2\), got "):
        figures.theory_and_simulation(ax, double, [0, 4], [1, 3], samples)
    assert not ax.lines
    assert not ax.containers


def test_samples_are_left_as_they_were():
    _, ax = figures.new("x", "y")
    samples = np.array([[2.0, 4.0]])
    figures.theory_and_simulation(ax, double, [0, 4], [1], samples)
    assert samples.tolist() == [[2, 4]]


@pytest.mark.parametrize(("level", "distance"), [(0.0, 0.0), (1.0, math.inf)])
def test_runs_that_all_agree(level, distance):
    _, ax = figures.new("x", "y")
    assert figures.theory_and_simulation(ax, lambda x: 0 * x, [0.0, 1.0], [0.5], [[level, level]]) == distance
