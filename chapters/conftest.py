"""Notebooks stay within a small machine's means while nbval runs them.

The kernel is asked after the last cell: the limits cost no run of their own.
"""

import sys
from pathlib import Path

import psutil
import pytest

SECONDS = 30  # of the processor, not of the clock
BYTES = 1e9  # Binder gives two


def used(pid):
    """Return the seconds of a process and its children, and its peak of bytes."""
    process = psutil.Process(pid)
    seconds = sum(
        process.cpu_times()[:4]
    )  # user, system, and both of ended children
    seconds += sum(sum(c.cpu_times()[:2]) for c in process.children(recursive=True))
    if sys.platform == "linux":
        status = Path(f"/proc/{pid}/status").read_text()
        return seconds, 1024 * int(status.split("VmHWM:")[1].split()[0])
    memory = process.memory_info()
    return seconds, getattr(memory, "peak_wset", memory.rss)


def excess(seconds, peak):
    """List the limits that a notebook exceeds."""
    faults = []
    if seconds > SECONDS:
        faults.append(f"{seconds:.0f} s of processor time, of {SECONDS} allowed")
    if peak > BYTES:
        faults.append(f"{peak / 1e9:.2f} GB of memory, of {BYTES / 1e9:g} allowed")
    return faults


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Judge a notebook after its last cell."""
    kernel, faults = getattr(item.parent, "kernel", None), []
    if kernel and (nextitem is None or nextitem.parent is not item.parent):
        faults = excess(*used(kernel.km.provisioner.pid))
    yield
    if faults:
        pytest.fail(f"{item.parent.name}: {'; '.join(faults)}", pytrace=False)
