"""How busy this process is, over all graphs: whoever is alone may take all the cores, and a lone caller the event loop.

It stands alone because graphs share nothing else but the machine and its callers. The number of runs is a hint, read
without a lock: a run that begins at the same moment makes both slower, and neither wrong.
"""

import threading

from service.engine.company import Company


class Occupancy:
    """Counts the runs in progress.

    Attributes:
        runs: how many there are.
        company: who asks for them, known where jobs arrive.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.runs = 0
        self.company = Company()

    def enter(self) -> None:
        """Count a run that begins."""
        with self._lock:
            self.runs += 1

    def leave(self) -> None:
        """Count a run that ended."""
        with self._lock:
            self.runs -= 1
