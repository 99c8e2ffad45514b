"""The dated constants of real chains: their form, and those that others publish."""

from dataclasses import fields
from datetime import date
from importlib.resources import files

from web3scale.facts import ChainFact, load_chains


def test_the_facts_are_dated_sourced_and_in_known_units():
    units = {"s", "byte", "weight", "gas", "1", "1/s", "compute units"}
    for fact in load_chains():
        assert fact.unit in units, fact
        assert date.fromisoformat(fact.date) <= date(2026, 11, 24), fact
        assert fact.value > 0
        assert len(fact.source) > 10


def test_the_last_rows_of_the_facts_are_read_and_dates_are_days():
    near = [(f.date, f.value) for f in load_chains() if f.chain == "NEAR"]
    assert near[0] == ("2021-11-15", 4)
    assert [value for _, value in near] == [4, 5, 6, 8, 9]


def test_the_facts_that_others_publish():
    # go-ethereum and the consensus specification (commits in the file), BIP 141, Croman et al. (2016)
    facts = {}
    for fact in load_chains():
        facts.setdefault((fact.chain, fact.quantity), []).append(fact.value)
    assert facts["Ethereum", "slot"] == [12]
    assert facts["Ethereum", "blob_size"] == [131072]
    assert facts["Ethereum", "transfer_gas"] == [21000]
    assert facts["Ethereum", "gas_limit_default"] == [30e6, 36e6, 45e6, 60e6]
    assert facts["Ethereum", "blobs_target"] == [3, 6, 10, 14]
    assert facts["Ethereum", "blobs_max"] == [6, 9, 15, 21]
    assert facts["Ethereum", "blob_fee_update_fraction"] == [3338477, 5007716, 8346193, 11684671]
    assert facts["Bitcoin", "block_weight_limit"] == [4000000]
    assert facts["Bitcoin", "propagation_median"] == [8.7]
    assert facts["Bitcoin", "propagation_90_percent"] == [79]
    assert facts["Bitcoin", "block_size_measured"] == [540000]
    assert facts["Ethereum", "committee_minimum"] == [111]
    assert (*facts["Algorand", "step_committee"], *facts["Algorand", "step_threshold"]) == (2000, 0.685)


def test_the_columns_of_the_file_are_the_fields():
    """The rows are read by their places."""
    lines = files("web3scale").joinpath("chains.csv").read_text(encoding="utf-8").splitlines()
    names = next(line for line in lines if line and not line.startswith("#"))
    assert names.split(",") == [field.name for field in fields(ChainFact)]
