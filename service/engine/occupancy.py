"""How many runs are in progress in this process, over all graphs: whoever is alone may take all the cores.

It stands alone because graphs share nothing else but the machine. The number of runs is a hint, read
without a lock: a run that begins at the same moment makes both slower, and neither wrong.
"""

import threading


class Occupancy:
    """Counts the runs in progress.

    Attributes:
        runs: how many there are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.runs = 0

    def enter(self) -> None:
        """Count a run that begins."""
        with self._lock:
            self.runs += 1

    def leave(self) -> None:
        """Count a run that ended."""
        with self._lock:
            self.runs -= 1
