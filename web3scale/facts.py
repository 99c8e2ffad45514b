"""Constants of real chains, each with its date and its source: the file ``chains.csv``."""

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


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
    rows: Any = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return [ChainFact(**row | {"value": float(row["value"])}) for row in rows]
