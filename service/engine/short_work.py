"""Which work is so short that the event loop's own thread computes it, with no hand-over to a lane: pure arithmetic.

    a run that costs less than handing it over      here, as long as no lane runs: two threads would only wait for
                                                    each other's turn at the interpreter
    all that waits, for a lone caller, in one run   here, where it is done before a lane would have paid
    everything else, and where costs are unknown    a lane

The loop answers nobody while it computes, so that both have a limit. Costs are what loading measured, and what drawing
the inputs takes at most; what of them was wrong shows when it is over, and then the lanes get the next batches.

It knows neither threads nor the event loop.
"""

from service.engine.run_sizes import HAND_OVER_S, RunSizes

# What inputs cost a sample beside the run: of a batch by seed, 5 us for a hundred coordinates, the most of them.
SAMPLE_S = 1e-6
ELEMENT_S = 50e-9
# Nobody would notice: a loop under load takes as long for one turn.
HOLD_S = 2e-3
# Who is lone keeps nobody waiting; the limit is for who comes next.
LONE_HOLD_S = 3e-3
# A batch that took twice as long as it may was not foreseen (truncated latents take many drawings): so rarely is one
# tried again that the loop is held for a few hundredths of the time at most.
PUT_OFF_BATCHES = 50


class ShortWork:
    """What of one graph's work is short.

    Args:
        sizes: of its runs.
        elements: of one sample's inputs.
        on_cpu: whether a run keeps the calling thread's core busy; a device would let it answer others meanwhile.
    """

    def __init__(self, sizes: RunSizes, elements: int, *, on_cpu: bool) -> None:
        self._sizes = sizes
        self._sample_s = SAMPLE_S + ELEMENT_S * elements
        self._on_cpu = on_cpu
        self._put_off = 0

    def is_short(self, available: int, free: int, *, alone: bool, lone: bool) -> bool:
        """Whether the next run is for the event loop's thread.

        Args:
            available: samples that wait, at least 1.
            free: lanes, none of which runs.
            alone: whether no run of any graph is in progress.
            lone: whether callers come one at a time.
        """
        size, wide = self._sizes.choose(available, free, alone=alone)
        run_s = self._sizes.run_s(size, wide=wide)
        if run_s is None:
            return False
        whole_s = run_s + min(available, size) * self._sample_s
        cheaper = self._on_cpu and run_s < HAND_OVER_S and whole_s < HOLD_S
        soon_done = lone and alone and available <= size and whole_s < LONE_HOLD_S
        if not (cheaper or soon_done):
            return False
        if self._put_off:
            self._put_off -= 1
            return False
        return True

    def took(self, seconds: float) -> None:
        """Learn how long the loop was held by what was short."""
        if seconds > 2 * LONE_HOLD_S:
            self._put_off = PUT_OFF_BATCHES
