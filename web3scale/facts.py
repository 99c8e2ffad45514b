"""Constants of real chains, each with its date and its source: the file ``chains.csv``."""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class ChainFact:
    """One dated constant of one chain.

    >>> load_chains()[0].chain
    'Bitcoin'
    """

    chain: str
    quantity: str  # what is told: "block_interval"
    value: float  # the number, in `unit`
    unit: str
    date: str  # when it took effect or was recorded, ISO 8601
    source: str  # where it can be looked up


def load_chains() -> list[ChainFact]:
    """Protocol constants of real chains, in the order of the file.

    >>> {"Bitcoin", "Ethereum"} <= {fact.chain for fact in load_chains()}
    True
    """
    text = files("web3scale").joinpath("chains.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    rows = csv.reader(lines[1:])  # the first line names the columns: they are the fields
    return [ChainFact(chain, quantity, float(value), *rest) for chain, quantity, value, *rest in rows]
