"""What scalability measures. Section 1.1 of the book.

*throughput* X: completed requests per second; *response time* R: mean seconds from arrival to completion.

Sources: Kleinrock (1979), ICC; Jogalekar and Woodside (2000), IEEE TPDS 11.
"""

from web3scale.formula import formula
from web3scale.quantities import PositiveCostRate, PositiveSeconds, Power, Productivity, Rate, Seconds, Share


@formula(throughput="X", response_time="R")
def power(throughput: Rate, response_time: PositiveSeconds) -> Power:
    """Power of a system at one operating point (Kleinrock 1979). Definition 1.1 of the book.

    >>> power(800, 0.005)
    160000.0
    """
    return throughput / response_time


@formula(response_time="R", target_time="tau")
def response_value(response_time: Seconds, target_time: PositiveSeconds) -> Share:
    """Value of one response: 1 when instant, one half when it takes the target time (Jogalekar and Woodside 2000).

    >>> response_value(0.5, 0.5)
    0.5
    """
    return 1 / (1 + response_time / target_time)


@formula(throughput="X", value="v", cost_rate="c")
def productivity(throughput: Rate, value: Share, cost_rate: PositiveCostRate) -> Productivity:
    """Valued responses per unit of cost, in any currency; the ratio of two productivities is the scalability ψ.

    The `value` of a response is that of `response_value` (Jogalekar and Woodside 2000).

    >>> productivity(1000, 0.5, 2.0)
    250.0
    """
    return throughput * value / cost_rate
