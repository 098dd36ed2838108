"""Closed forms that the simulation is held against: mean time in the queue, before service begins.

Rates are per second, times in seconds; each queue is stable only where its load is below 1.

References:
    Kleinrock, Queueing Systems, volume 1 (1975): M/M/1, M/M/c (Erlang's C formula), M/G/1 (Pollaczek and Khinchine).
    Neuts, A general class of bulk queues with Poisson input (1967): the server takes what waits, up to its limit.
"""

from math import factorial
from typing import Final

# Halvings of [0, 1]: beyond the precision of a float.
HALVINGS: Final = 60


def mm1_wait_s(arrivals_per_s: float, service_s: float) -> float:
    """One server, exponential service times."""
    return mg1_wait_s(arrivals_per_s, service_s, 2 * service_s**2)


def md1_wait_s(arrivals_per_s: float, service_s: float) -> float:
    """One server, equal service times."""
    return mg1_wait_s(arrivals_per_s, service_s, service_s**2)


def mg1_wait_s(arrivals_per_s: float, service_s: float, service_s2: float) -> float:
    """One server, service times of any distribution.

    Args:
        arrivals_per_s: of a Poisson process.
        service_s: mean of the service time.
        service_s2: mean of its square.

    Raises:
        ValueError: the load is 1 or more.
    """
    load = _stable(arrivals_per_s * service_s)
    return arrivals_per_s * service_s2 / (2 * (1 - load))


def mmc_wait_s(arrivals_per_s: float, service_s: float, servers: int) -> float:
    """Several servers that share a queue, exponential service times; raises as `mg1_wait_s`."""
    offered = arrivals_per_s * service_s
    load = _stable(offered / servers)
    waiting = offered**servers / factorial(servers) / (1 - load)
    none_waiting = sum(offered**busy / factorial(busy) for busy in range(servers))
    return waiting / (waiting + none_waiting) * service_s / (servers * (1 - load))


def bulk_wait_s(arrivals_per_s: float, service_s: float, largest: int) -> float:
    """One server that takes everything that waits, up to `largest`; exponential service times, whatever the size.

    With n waiting behind a batch in service the stationary probability is p₀·rⁿ, where r in (0, 1) solves
    r (λ + μ) = λ + μ r^(largest + 1); it is idle with probability p₀·μ/λ.

    Raises:
        ValueError: the load is 1 or more.
    """
    _stable(arrivals_per_s * service_s / largest)
    rate = 1 / service_s
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        root = (low + high) / 2
        # The root 1 divided out: λ = μ (r + r² + … + r^largest).
        if arrivals_per_s > rate * sum(root**power for power in range(1, largest + 1)):
            low = root
        else:
            high = root
    busy = 1 / (rate / arrivals_per_s + 1 / (1 - root))
    return busy * root / (1 - root) ** 2 / arrivals_per_s


def _stable(load: float) -> float:
    if load >= 1:
        raise ValueError(f"a queue with a load of {load:g} grows without end; there is no mean wait")
    return load
