"""What can go wrong, by whose fault."""

from collections.abc import Callable


class DomainError(ValueError):
    """The caller's argument lies outside the range on which a result holds: a mistake in the program.

    The message says what was called, the rule, and the value that broke it.

    >>> raise DomainError("amdahl_speedup: parallel must be a number in [0, 1], got 1.2")
    Traceback (most recent call last):
    web3scale.errors.DomainError: amdahl_speedup: parallel must be a number in [0, 1], got 1.2
    """


class Rejected(Exception):  # noqa: N818  the field's word for a refusal; it is no error of the program
    """A protocol refuses a step: `rule` is the sentence that it breaks, `values` is what broke it.

    A refused step leaves the state as it was.

    >>> refusal = Rejected("transfer: amounts must be positive", amount=0)
    >>> print(refusal, refusal.values)
    transfer: amounts must be positive, got amount=0 {'amount': 0}
    """

    def __init__(self, rule: str, **values: object) -> None:
        got = ", ".join(f"{name}={shown(value)}" for name, value in values.items())
        said = rule if isinstance(rule, str) else shown(rule)
        super().__init__(f"{said}, got {got}" if got else said)
        self.rule = rule
        self.values = values


def require(holds: bool, rule: str, **values: object) -> None:
    """Refuse a step unless a rule `holds`; `values` are what the refusal shows beside the `rule`.

    >>> require(5 > 6, "post: the state must be newer than the posted one", posted=6, sequence=5)
    Traceback (most recent call last):
    web3scale.errors.Rejected: post: the state must be newer than the posted one, got posted=6, sequence=5
    """
    if not holds:
        raise Rejected(rule, **values)


def refusal_of(step: Callable[..., object], *arguments: object) -> Rejected | None:
    """Take a `step` with its `arguments`, and return the refusal; None if it was not refused.

    >>> refusal_of(require, 5 > 6, "post: the state must be newer")
    Rejected('post: the state must be newer')
    >>> refusal_of(require, 6 > 5, "post: the state must be newer")
    """
    try:
        step(*arguments)
    except Rejected as refusal:
        return refusal
    return None


def shown(value: object) -> str:
    """Return a `value` as a message shows it: long ones cut off, and what cannot be printed by its type.

    >>> shown(bytes(32)), shown(10**5000)
    ('00000000…', 'an int too long to print')
    """
    if isinstance(value, bytes) and len(value) > 4:
        return f"{value[:4].hex()}…"
    try:
        text = repr(value)
    except Exception:  # more than 4300 digits, nested too deeply, or a repr that fails: a stranger may send any
        return f"{'an' if isinstance(value, int) else 'a'} {type(value).__name__} too long to print"
    return text if len(text) <= 120 else f"{text[:117]}..."
