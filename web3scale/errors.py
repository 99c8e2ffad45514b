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


class Rejected(Exception):  # noqa: N818  the field's word for a refusal; it is no error of the program
    """A protocol refuses a step: the rule that it breaks, and the values.

    Each rule has a subclass of its own, defined beside it. A refused step leaves the state as it was.

    Parameters
    ----------
    reason
        What was refused, by which rule.
    **values
        What broke it.

    Attributes
    ----------
    values : dict
        The offending values by name.

    Examples
    --------
    >>> refusal = Rejected("transfer: amount must be positive", amount=0)
    >>> print(refusal, refusal.values)
    transfer: amount must be positive, got amount=0 {'amount': 0}
    """

    def __init__(self, reason: str, **values: object) -> None:
        got = ", ".join(f"{name}={shown(value)}" for name, value in values.items())
        super().__init__(f"{reason}, got {got}" if got else reason)
        self.reason = reason
        self.values = values


def shown(value: object) -> str:
    """Return a value as a message shows it: bytes cut short, and no integer too long for Python to print.

    Examples
    --------
    >>> shown(bytes(32)), shown(10**5000)
    ('00000000…', 'an int too long to print')
    """
    if isinstance(value, bytes) and len(value) > 4:
        return f"{value[:4].hex()}…"
    try:
        return repr(value)
    except Exception:  # more than 4300 digits, nested too deeply, or a repr that fails: a stranger may send any
        return f"{'an' if isinstance(value, int) else 'a'} {type(value).__name__} too long to print"
