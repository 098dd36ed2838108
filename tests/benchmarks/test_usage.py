"""Who used the processor: held against a child that burns it."""

import subprocess
import sys

from benchmarks.load import usage
from benchmarks.load.usage import Reading

BURN_S = 0.5
SEEN_S = 0.8 * BURN_S  # the kernel counts in ticks, and may have missed the last
BURN = f"import time\nwhile time.process_time() < {BURN_S}: pass\ninput()"


def test_a_servers_descendants_count_as_the_server() -> None:
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN + chr(10)!r}])"
    with subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE) as parent:
        while usage.read(parent.pid).server_s < SEEN_S:
            assert parent.poll() is None
        assert len(usage.family(parent.pid)) == 2
        assert usage.memory_bytes(parent.pid) > 0
        parent.communicate(b"\n")
    assert usage.read(parent.pid).server_s == 0


def test_what_is_neither_the_servers_nor_the_loads_is_foreign() -> None:
    used = usage.between(Reading(10.0, 100.0, 5.0), Reading(12.0, 103.0, 7.0), 0.5)
    assert (used.server, used.generator, used.foreign) == (1.0, 0.25, 0.25)


def test_coarse_ticks_make_no_negative_load() -> None:
    assert usage.between(Reading(0.0, 0.0, 0.0), Reading(1.0, 0.99, 1.0), 0.0).foreign == 0
