"""The house style of the book's figures; imported by chapters, never by the package's models."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from web3scale.errors import DomainError

# Okabe and Ito (2008), "Color Universal Design": told apart by every kind of colour vision; the line style repeats it.
Law = Callable[[Any], Any]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES = ("-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def house_style() -> None:
    """Set the house style for all figures that follow. A notebook calls it once, after its imports.

    >>> import matplotlib as mpl
    >>> with mpl.rc_context():
    ...     house_style()
    ...     mpl.rcParams["axes.grid"]
    True
    """
    from cycler import cycler
    from matplotlib import rc, style  # 1 s to import: only whoever draws needs it

    style.use("web3scale.book")
    rc("axes", prop_cycle=cycler(color=COLOURS) + cycler(linestyle=LINES))


def new(xlabel: str, ylabel: str, **options: Any) -> tuple[Any, Any]:
    """Return a new figure and its axes, both labelled with what they show, units in brackets: "throughput [1/s]".

    `options` are those of Matplotlib's ``Axes.set``: limits, scales.

    >>> fig, ax = new("utilisation", "power [1/s²]", ylim=(0, 1))
    >>> ax.get_xlabel()
    'utilisation'
    """
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    ax.set(xlabel=xlabel, ylabel=ylabel, **options)
    return fig, ax


def theory_and_simulation(
    ax: Any, theory: Law, grid: ArrayLike, x: ArrayLike, samples: ArrayLike, *, label: str = "", colour: int = 0
) -> float:
    """Draw a formula as a line and simulated runs as points with 95 % bars; return how far apart they are.

    `theory` is called on `grid`, where the line is drawn, and on `x`, where it was simulated. `samples` are independent
    results, shape (settings, runs), with two runs or more at each setting. `label` goes into the legend, `colour` is a
    place in `COLOURS` and `LINES`. Returns the largest distance between the mean of the runs and the formula, in
    standard errors of that mean.

    >>> fig, ax = new("x", "y")
    >>> theory_and_simulation(ax, lambda x: 0 * x, [0.0, 1.0], [0.5], [[-1.0, 3.0]])
    0.5
    """
    from scipy.special import stdtrit

    at, runs = np.asarray(x, dtype=float), np.asarray(samples, dtype=float)
    if runs.ndim != 2 or runs.shape[0] != at.size or runs.shape[1] < 2:
        raise DomainError(f"theory_and_simulation: samples must have shape ({at.size}, runs >= 2), got {runs.shape}")
    mean = runs.mean(axis=1)
    error = runs.std(axis=1, ddof=1) / np.sqrt(runs.shape[1])
    half = stdtrit(runs.shape[1] - 1, 0.975) * error
    line = np.asarray(grid, dtype=float)
    hue = COLOURS[colour % len(COLOURS)]
    name = f"{label}, " if label else ""
    ax.plot(line, theory(line), color=hue, linestyle=LINES[colour % len(LINES)], label=f"{name}theory")
    ax.errorbar(at, mean, half, fmt="o", ms=4, capsize=3, color=hue, linestyle="none", label=f"{name}simulation")
    gap = np.abs(mean - theory(at))
    # runs that all agree leave no error to measure by: on the formula is 0 away, beside it infinitely far
    return float(np.max(np.divide(gap, error, out=np.where(gap == 0, 0.0, np.inf), where=error > 0)))
