"""The Universal Scalability Law fitted: against published figures and SciPy.

The vectors are those of the R package usl 3.0.3 (tests/*.Rout.save and vignette of github.com/smoeding/usl, commit
480c97bf, BSD-2-Clause), copied here with the digits it prints. Its confidence intervals are left out: they use a
one-sided quantile with n - 1 degrees of freedom and a band of constant width. Ours are held against SciPy instead.
"""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize, stats

from web3scale.errors import DomainError
from web3scale.foundations.laws import amdahl_limit, usl_peak, usl_throughput
from web3scale.foundations.usl import UslFit, fit_usl, load_specsdm91

LOAD = [1, 18, 36, 72, 108, 144, 216]
MEASURED = [64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2]
RTOL = 1e-4  # the published digits


@pytest.fixture(scope="module")
def sdm91() -> UslFit:
    return fit_usl(LOAD, MEASURED)


# Vectors from outside


def test_stored_measurements_are_the_published_ones():
    load, throughput = load_specsdm91()
    assert load.tolist() == LOAD
    assert throughput.tolist() == MEASURED


@pytest.mark.parametrize(
    ("name", "published", "last_digit"),
    [
        ("contention", 0.0277285, 1e-7),
        ("coherency", 0.0001044, 1e-7),
        ("gain", 89.9952384, 1e-7),
        ("residual", 82.85, 1e-2),
        ("freedom", 4, 0),
    ],
)
def test_published_fit(sdm91, name, published, last_digit):
    # half a unit of the last printed digit, or 1e-4 where more digits are printed than a minimiser guarantees
    assert getattr(sdm91, name) == pytest.approx(published, rel=0, abs=max(last_digit / 2, RTOL * published))


def test_published_standard_errors(sdm91):
    # σ, κ, γ as published; κ's is printed with three digits
    gain, contention, coherency = sdm91.standard_errors
    assert contention == pytest.approx(0.0091217, rel=RTOL)
    assert coherency == pytest.approx(1.99e-05, abs=0.5e-7)
    assert gain == pytest.approx(14.2134906, rel=RTOL)


def test_published_peak(sdm91):
    peak = usl_peak(sdm91.contention, sdm91.coherency)
    assert peak == pytest.approx(96.51956, rel=RTOL)
    assert usl_throughput(peak, sdm91.gain, sdm91.contention, sdm91.coherency) == pytest.approx(1884, abs=0.5)
    better = usl_peak(sdm91.contention, 5e-5)
    assert better == pytest.approx(139.4, abs=0.05)
    assert usl_throughput(better, sdm91.gain, sdm91.contention, 5e-5) == pytest.approx(2162, abs=0.5)


def test_published_limit_and_optimal_size(sdm91):
    # limit: throughput without coherency as n → ∞, γ/σ; optimal size: where Amdahl's line γn meets it, 1/σ
    assert sdm91.gain * amdahl_limit(1 - sdm91.contention) == pytest.approx(3245.589, rel=RTOL)
    optimal = 1 / sdm91.contention
    assert optimal == pytest.approx(36.06401, rel=RTOL)
    assert usl_throughput(optimal, sdm91.gain, sdm91.contention, sdm91.coherency) == pytest.approx(1542, abs=0.5)


def test_published_fitted_values(sdm91):
    fitted, _ = sdm91.predict(LOAD)
    assert fitted == pytest.approx([90, 1078, 1541, 1850, 1879, 1822, 1646], abs=0.5)


def test_published_efficiency(sdm91):
    share = np.array(MEASURED) / (sdm91.gain * np.array(LOAD))
    assert share == pytest.approx([0.7211, 0.6148, 0.51, 0.286, 0.1882, 0.137, 0.0876], abs=0.5e-4)


def test_published_synthetic_data():
    # throughput printed with four decimals: three digits of the parameters survive
    fit = fit_usl([1, 2, 4, 6, 8, 10], [1, 1.8868, 3.0769, 3.5294, 3.5398, 3.3557])
    assert [fit.gain, fit.contention, fit.coherency] == pytest.approx([1.0, 0.02, 0.02], abs=0.5e-3)


# The fit against SciPy, from a function written by hand


def by_hand(n, gain, contention, coherency):
    return gain * n / (1 + contention * (n - 1) + coherency * n * (n - 1))


@pytest.fixture(scope="module")
def independent() -> tuple[np.ndarray, np.ndarray]:
    return optimize.curve_fit(by_hand, np.array(LOAD, dtype=float), MEASURED, p0=[80, 0.03, 1e-4], xtol=1e-14)


def test_fit_against_curve_fit(sdm91, independent):
    parameters, covariance = independent
    assert [sdm91.gain, sdm91.contention, sdm91.coherency] == pytest.approx(parameters, rel=1e-5)
    assert sdm91.covariance == pytest.approx(covariance, rel=1e-4)
    assert sdm91.standard_errors == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-4)
    left = by_hand(np.array(LOAD), *parameters) - MEASURED
    assert sdm91.residual == pytest.approx(math.sqrt(np.sum(left**2) / 4), rel=1e-6)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_interval_is_student_t(sdm91, independent, level):
    parameters, covariance = independent
    half = stats.t.ppf(0.5 + level / 2, df=4) * np.sqrt(np.diag(covariance))
    expected = np.column_stack([parameters - half, parameters + half])
    assert (np.abs(sdm91.interval(level) - expected) <= 1e-3 * half[:, None]).all()


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_predict_is_the_delta_method(sdm91, independent, level):
    parameters, covariance = independent
    sizes = np.array([1.0, 10.0, 36.0, 100.0, 400.0])
    # the gradient by central differences: nothing in common with SymPy's
    steps = np.diag(parameters * 1e-6)
    slope = np.array(
        [(by_hand(sizes, *(parameters + h)) - by_hand(sizes, *(parameters - h))) / (2 * h.sum()) for h in steps]
    )
    half = stats.t.ppf(0.5 + level / 2, df=4) * np.sqrt(np.einsum("in,ij,jn->n", slope, covariance, slope))
    middle, band = sdm91.predict(sizes, level)
    assert middle == pytest.approx(by_hand(sizes, *parameters), rel=1e-5)
    assert band == pytest.approx(half, rel=1e-3)


def test_level_is_95_unless_told(sdm91):
    assert np.array_equal(sdm91.interval(), sdm91.interval(0.95))
    assert np.array_equal(sdm91.predict(LOAD)[1], sdm91.predict(LOAD, 0.95)[1])


def test_predict_one_size(sdm91):
    middle, band = sdm91.predict(36)
    assert middle.shape == band.shape == (1,)


# Properties of the fit

SIZES = np.array([1.0, 2, 3, 4, 6, 8, 12, 16, 24, 32])
gains = st.floats(-3, 6).map(lambda e: 10.0**e)
contentions = st.floats(0.0, 0.6)
coherencies = st.floats(0.0, 0.05)


@given(gain=gains, contention=contentions, coherency=coherencies)
def test_exact_data_give_the_parameters_back(gain, contention, coherency):
    fit = fit_usl(SIZES, by_hand(SIZES, gain, contention, coherency))
    assert fit.gain == pytest.approx(gain, rel=1e-6)
    assert fit.contention == pytest.approx(contention, rel=1e-6, abs=1e-7)
    assert fit.coherency == pytest.approx(coherency, rel=1e-6, abs=1e-7)
    assert fit.residual <= 1e-6 * gain
    assert fit.freedom == SIZES.size - 3 + len(fit.at_bound)
    visible = {"contention": contention * SIZES.max(), "coherency": coherency * SIZES.max() ** 2}  # at the largest size
    assert set(fit.at_bound) >= {name for name, cost in visible.items() if cost == 0}
    assert not {name for name, cost in visible.items() if cost > 1e-5} & set(fit.at_bound)


def test_a_parameter_at_its_bound_is_treated_as_known():
    """Coherency that the data do not show: the others are judged by the two-parameter fit, by another program."""
    rng = np.random.default_rng(3)
    data = by_hand(SIZES, 100.0, 0.1, 0.0) * (1 + 0.01 * rng.standard_normal(SIZES.size))
    data[-3:] *= 1.02  # bends up at the end: the best κ is negative
    fit = fit_usl(SIZES, data)
    assert fit.at_bound == ("coherency",)
    best, covariance = optimize.curve_fit(lambda n, g, s: by_hand(n, g, s, 0.0), SIZES, data, p0=[90, 0.05])
    assert [fit.gain, fit.contention] == pytest.approx(best, rel=1e-6)
    assert fit.standard_errors[:2] == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-5)
    assert np.isnan(fit.standard_errors[2])
    assert fit.freedom == SIZES.size - 2
    assert np.all(np.isfinite(fit.predict([1, 1000])))


def test_decreasing_data_stay_inside_the_law():
    fit = fit_usl([1, 2, 4, 8], [5, 3, 2, 1])
    assert fit.at_bound == ("contention",)
    assert fit.contention == 1
    assert fit.freedom == 2
    assert np.isnan(fit.standard_errors).tolist() == [False, True, False]
    assert usl_peak(fit.contention, fit.coherency) < 1  # one node is best


@given(contention=st.floats(0.001, 0.05), coherency=st.floats(1e-8, 1e-6))
def test_large_systems_too(contention, coherency):
    sizes = np.array([1.0, 10, 30, 100, 300, 1000, 3000])
    fit = fit_usl(sizes, by_hand(sizes, 1000.0, contention, coherency))
    assert fit.contention == pytest.approx(contention, rel=1e-5)
    assert fit.coherency == pytest.approx(coherency, rel=1e-5)


def noisy(gain, contention, coherency, seed, spread=0.02):
    rng = np.random.default_rng(seed)
    return by_hand(SIZES, gain, contention, coherency) * (1 + spread * rng.standard_normal(SIZES.size))


@given(contention=st.floats(0.02, 0.3), coherency=st.floats(0.001, 0.02), seed=st.integers(0, 2**32))
def test_order_does_not_matter(contention, coherency, seed):
    data = noisy(100.0, contention, coherency, seed)
    order = np.random.default_rng(seed + 1).permutation(SIZES.size)
    one, other = fit_usl(SIZES, data), fit_usl(SIZES[order], data[order])
    assert other.at_bound == one.at_bound
    assert other.interval() == pytest.approx(one.interval(), rel=1e-5, abs=1e-8, nan_ok=True)


@given(
    contention=st.floats(0.02, 0.3),
    coherency=st.floats(0.001, 0.02),
    seed=st.integers(0, 2**32),
    scale=st.floats(-9, 9).map(lambda e: 10.0**e),
)
def test_unit_of_throughput_is_free(contention, coherency, seed, scale):
    data = noisy(100.0, contention, coherency, seed)
    one, other = fit_usl(SIZES, data), fit_usl(SIZES, data * scale)
    unit = np.array([scale, 1, 1])  # γ is a throughput; σ and κ are pure numbers
    assert [other.gain, other.contention, other.coherency] == pytest.approx(
        [one.gain * scale, one.contention, one.coherency], rel=1e-6, abs=1e-9
    )
    assert other.standard_errors == pytest.approx(one.standard_errors * unit, rel=1e-5, nan_ok=True)
    assert other.residual == pytest.approx(one.residual * scale, rel=1e-6)
    assert other.predict(40)[1] == pytest.approx(one.predict(40)[1] * scale, rel=1e-5)


@given(contention=st.floats(0.02, 0.3), coherency=st.floats(0.001, 0.02), seed=st.integers(0, 2**32))
def test_no_neighbour_fits_better(contention, coherency, seed):
    data = noisy(100.0, contention, coherency, seed)
    fit = fit_usl(SIZES, data)
    best = np.array([fit.gain, fit.contention, fit.coherency])
    assume(best.min() > 0)

    def loss(parameters):
        return np.sum((by_hand(SIZES, *parameters) - data) ** 2)

    assert fit.residual**2 * fit.freedom == pytest.approx(loss(best), rel=1e-9)
    for step in np.concatenate([np.eye(3), -np.eye(3)]):
        assert loss(best * (1 + 1e-3 * step)) > loss(best)


@pytest.mark.parametrize(
    "data", [[1, 2, 4, 8], [1, 2.5, 6, 20], [5, 5, 5, 5], [5, 3, 2, 1], [1, 1, 8, 1], [9, 1, 1, 9]]
)
def test_costs_are_never_negative(data):
    fit = fit_usl([1, 2, 4, 8], data)
    assert fit.gain > 0
    assert fit.contention >= 0
    assert fit.coherency >= 0
    assert np.isfinite(fit.covariance).all()


def test_no_cost_in_a_straight_line():
    fit = fit_usl([1, 2, 4, 8], [3, 6, 12, 24])
    assert [fit.gain, fit.contention, fit.coherency] == pytest.approx([3, 0, 0], abs=1e-6)


def test_intervals_cover_as_often_as_they_say():
    # σ = 0.1 and κ = 0.005 lie 18 standard errors and more inside their bounds. Over 400 data sets the number of 95 %
    # intervals that hold the truth is binomial: mean 95 %, standard deviation √(0.95·0.05/400) = 1.1 %, so 92 % and
    # 98 % are 2.8 of them away. Six sizes leave three degrees of freedom: there the normal quantile in place of
    # Student's covers 85 %, and a one-sided one 90 %.
    sizes = np.array([1.0, 4, 8, 16, 24, 32])
    true = by_hand(sizes, 100.0, 0.1, 0.005)
    rng = np.random.default_rng(91)
    fits = [fit_usl(sizes, true + 3.0 * rng.standard_normal(sizes.size)) for _ in range(400)]
    intervals = np.array([f.interval() for f in fits])
    truth = np.array([100.0, 0.1, 0.005])
    covered = ((intervals[:, :, 0] <= truth) & (truth <= intervals[:, :, 1])).mean(axis=0)
    assert ((covered >= 0.92) & (covered <= 0.98)).all(), covered
    at_12 = [f.predict(12.0) for f in fits]
    assert 0.92 <= np.mean([abs(x - by_hand(12.0, *truth)) <= half for x, half in at_12]) <= 0.98
    assert min(f.coherency for f in fits) > 0


def repeated(sizes, coherency, seed=1, times=300):
    """The page's team: is the truth at 64 nodes in the band, and did the fit end at a bound?"""
    rng, tested = np.random.default_rng(seed), np.repeat(np.array(sizes, dtype=float), 3)
    true, real = (by_hand(n, 100.0, 0.02, coherency) for n in (tested, 64.0))
    fits = [fit_usl(tested, true + 10 * rng.standard_normal(tested.size)) for _ in range(times)]
    bands = [f.predict(64.0) for f in fits]
    right = np.array([abs(middle[0] - real) < half[0] for middle, half in bands])
    return right, np.array([bool(f.at_bound) for f in fits])


def test_a_true_cost_of_zero_ends_at_its_bound_half_the_time():
    # binomial of 300: standard deviations 2.9 % about one half, 1.3 % about 95 %; the band is close to its word
    right, at_bound = repeated((1, 4, 8, 16, 32), 0.0)
    assert 0.41 <= at_bound.mean() <= 0.59
    assert 0.88 <= right.mean() <= 0.98


def test_a_band_far_beyond_the_data_is_wrong_where_a_cost_ends_at_zero():
    right, at_bound = repeated((1, 2, 4, 6, 8), 0.0005)
    assert 0.35 <= at_bound.mean() <= 0.65
    assert not right[at_bound].any()
    assert right[~at_bound].mean() > 0.8
    right, at_bound = repeated((1, 4, 8, 16, 32), 0.0005)
    assert not at_bound.any()
    assert right.mean() >= 0.91


def test_record(sdm91):
    with pytest.raises(dataclasses.FrozenInstanceError):
        sdm91.gain = 1.0
    assert sdm91 != fit_usl(LOAD, MEASURED)  # arrays in a record have no one answer to ==


def test_fit_leaves_the_data_alone():
    sizes, data = np.array(LOAD, dtype=float), np.array(MEASURED)
    fit_usl(sizes, data)
    assert sizes.tolist() == LOAD
    assert data.tolist() == MEASURED


@pytest.mark.parametrize(
    ("nodes", "throughput", "words"),
    [
        ([], [], "nodes must be a number"),
        ([1, 2, 3, 4], [], "throughput must be a number"),
        ([1, 2, 3, 4], [1, 2, 3], r"lists of one length, got \(4,\) and \(3,\)"),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]], "lists of one length"),
        (3, 4, "lists of one length"),
        ([1, 2, -3, 4], [1, 2, 3, 4], "nodes must be a number"),
        ([0, 2, 3, 4], [1, 2, 3, 4], "nodes must be a number"),
        ([0.5, 2, 3, 4], [1, 2, 3, 4], r"nodes must be a number in \[1, inf\)"),
        ([1, 2, 4, 8], [1e308, 1.5e308, 1.7e308, 1.1e308], "result must be finite"),
        ([1, 2, 3, 4], [1, 2, -3, 4], "throughput must be a number"),
        ([1, 2, 3, 4], [1, 2, 0, 4], "throughput must be a number"),
        ([1, 2, 3, 4], [1, 2, math.nan, 4], "throughput must be a number"),
        ([1, 2, 3, math.nan], [1, 2, 3, 4], "nodes must be a number"),
        ([1, 2, 3, 4], [1, 2, 3, math.inf], "throughput must be a number"),
        ([1, 2, 4, 1e300], [1, 2, 3, 4], "the result must be finite"),  # was a LinAlgError
        ([1, 2, 3, 4], [1, 2, 3, 5e-324], "the result must be finite"),
        ([1, 2, 3, 4], ["1", "2", "3", "4"], "throughput must be a number"),
        ([1, 2, 3], [1, 2, 3], "nodes must be 4 ... 10.5, of at least 3 different sizes, got .1.0, 2.0, 3.0"),
        ([1, 1, 2, 2], [1, 1, 2, 2], "nodes must be 4 ... 10.5, of at least 3 different sizes, got .1.0, 1.0"),
    ],
)
def test_fit_refuses(nodes, throughput, words):
    with pytest.raises(DomainError, match=f"^fit_usl: .*{words}"):
        fit_usl(nodes, throughput)


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, math.nan, "0.95", True, None, [0.9, 0.95], [0.9]])
def test_level_refused(sdm91, level):
    with pytest.raises(DomainError, match=r"^UslFit.interval: level must be a number in \(0, 1\), got "):
        sdm91.interval(level)
    with pytest.raises(DomainError, match=r"^UslFit.predict: level must be a number in \(0, 1\), got "):
        sdm91.predict(10, level)


@pytest.mark.parametrize("nodes", [1e200, [1.0, 1e155]])
def test_predictions_must_be_finite(sdm91, nodes):
    with pytest.raises(DomainError, match=r"^UslFit.predict: the result must be finite, got"):
        sdm91.predict(nodes)  # was a silent nan


@pytest.mark.parametrize("nodes", [0, -1, math.nan, "10", [], [1, 0], [[1, 2], [3, 4]]])
def test_predict_refuses(sdm91, nodes):
    with pytest.raises(DomainError, match=r"^UslFit.predict: .*nodes"):
        sdm91.predict(nodes)


def test_a_level_too_close_to_one_has_no_interval():
    fit = fit_usl([1, 2, 4, 8], [10, 19, 36, 64])
    with pytest.raises(DomainError, match="UslFit: the result must be finite"):
        fit.interval(1 - 2**-53)
