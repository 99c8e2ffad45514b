"""Bad values for every argument of every public callable: fuzz.py is run, and shown to find what it seeks."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FAULTY = '''
def hangs(number):
    """>>> hangs(3)"""
    if type(number) is int:
        for _ in range(number):
            pass

def fills(number):
    """>>> fills(3)"""
    if type(number) is int and 0 < number < 2**40:
        bytearray(number)

def gives_nan(number):
    """>>> gives_nan(3.0)
    3.0
    """
    return number if type(number) is float else 0.0

def looks_inside(key):
    """>>> looks_inside("a")
    'A'
    """
    return key.upper()

class Account:
    """>>> Account(3).add(4)"""

    def __init__(self, balance):
        self.balance = balance if type(balance) is int else 0

    def add(self, amount):
        self.balance += amount

def unmentioned(number):
    """No example."""
'''


def fuzz(*names, path="", seconds=3):
    environment = {
        **os.environ,
        "PYTHONPATH": f"{HERE.parent}{os.pathsep}{path}",
        "PYTHONHASHSEED": "0",
        "FUZZ_SECONDS": str(seconds),
    }
    command = [sys.executable, str(HERE / "fuzz.py"), *names]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_no_public_callable_breaks_on_a_bad_value():
    run = fuzz()
    assert run.returncode == 0, run.stdout + run.stderr


def test_each_kind_of_fault_is_found(tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    run = fuzz("faulty", path=tmp_path, seconds=0.3)
    assert run.returncode == 1
    for fault in (
        "hangs(number=9223372036854775808): takes over 0.3 s",
        "fills(number=1000000000): MemoryError",
        "gives_nan(number=nan): gives nan",
        "looks_inside(key=-1): AttributeError",
        "Account.add(amount='x'): TypeError",
        "no call overheard: faulty.unmentioned",
    ):
        assert fault in run.stdout, run.stdout
