"""Signed transfers per second of the ledger on one core, beside bare signature checks by libsodium.

Both are the best of three by processor time, taken in turn: what others do on the machine does not count.
"""

import random
import time

from web3scale.crypto import example_key, public_key, verify_signature
from web3scale.layers.ledger import Ledger, sign_transfer
from web3scale.message import digest

TRANSFERS, BLOCK = 10_000, 1000


def orders(keys, names):
    """Transfers of 1000 senders to random accounts, in an order that keeps every nonce in sequence."""
    senders = [public_key(key) for key in keys]
    choice, nonces, transfers = random.Random(1), [0] * len(keys), []
    while len(transfers) < TRANSFERS:
        sender, recipient = choice.randrange(len(keys)), choice.choice(names)
        if recipient != senders[sender]:
            nonces[sender] += 1
            transfers.append(sign_transfer(keys[sender], "main", {recipient: 5}, fee=1, nonce=nonces[sender]))
    return transfers


def ledger_seconds(names, transfers):
    """Processor time of all transfers in blocks of 1000, state roots included."""
    ledger = Ledger("main", dict.fromkeys(names, 10**9))
    start = time.process_time()
    blocks = [ledger.apply_block(transfers[at : at + BLOCK]) for at in range(0, TRANSFERS, BLOCK)]
    seconds = time.process_time() - start
    assert all(receipt.accepted for block in blocks for receipt in block.receipts)
    return seconds


def libsodium_seconds(transfers):
    """Processor time of the signature checks alone, on digests made beforehand."""
    ready = [(transfer.body.sender, digest(transfer.body), *transfer.signatures) for transfer in transfers]
    start = time.process_time()
    valid = [verify_signature(*checked) for checked in ready]
    seconds = time.process_time() - start
    assert all(valid)
    return seconds


if __name__ == "__main__":
    keys = [example_key(f"sender {number}") for number in range(1000)]
    for size in (10**3, 10**4, 10**5):
        names = [public_key(key) for key in keys] + [number.to_bytes(32, "big") for number in range(1, size - 999)]
        transfers = orders(keys, names)
        runs = [(ledger_seconds(names, transfers), libsodium_seconds(transfers)) for _ in range(3)]
        whole, bare = (min(seconds) / TRANSFERS for seconds in zip(*runs, strict=True))
        print(
            f"{size:7} accounts: {1 / whole:6.0f} transfers/s; libsodium alone {1 / bare:6.0f}/s; "
            f"ratio {bare / whole:.2f}, {(whole - bare) * 1e6:.1f} µs a transfer besides"
        )
        assert whole < 2 * bare, "the ledger costs more than the signatures that it checks"
