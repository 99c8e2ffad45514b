"""What can go wrong, by whose fault."""


class DomainError(ValueError):
    """The caller's argument lies outside the range on which a result holds.

    The message says what was called, the rule, and the value that broke it:
    ``amdahl_speedup: parallel must be a number in [0, 1], got 1.2``.

    Examples
    --------
    >>> raise DomainError("amdahl_speedup: parallel must be a number in [0, 1], got 1.2")
    Traceback (most recent call last):
    web3scale.errors.DomainError: amdahl_speedup: parallel must be a number in [0, 1], got 1.2
    """
