"""Whether callers come one at a time, or as a crowd: pure bookkeeping, on the event loop's thread, for a whole engine.

    arrive ────────── leave  arrive ── leave      one after the other: after some of these, whoever comes is lone
    arrive ── arrive ── leave ── leave            they overlap: from here on nobody is
    (the loop is held) arrive                     so they do, though nobody could be seen to come meanwhile

For a lone caller the shortest way is that the event loop's own thread computes: nobody else waits for it. Of two, the
second would find the loop held and the other core idle. It knows nothing of graphs, of costs or of the event loop; who
computes on the loop's thread says so by `hold`, and by `release` when everybody has been heard who came meanwhile.
"""

# So many in a row must have come alone: two callers who take turns by chance do so seldom.
IN_A_ROW = 8


class Company:
    """The callers of one engine.

    Attributes:
        present: how many are there.
        most: how many were there at a time since `forget_crowd`.
    """

    def __init__(self) -> None:
        self.present = 0
        self.most = 0
        self._held = 0
        self._in_a_row = 0

    @property
    def lone(self) -> bool:
        """Whether the last who came had no company, and some before neither."""
        return self._in_a_row >= IN_A_ROW

    def arrive(self) -> None:
        """A caller comes."""
        self._in_a_row = 0 if self.present or self._held else self._in_a_row + 1
        self.present += 1
        self.most = max(self.most, self.present)

    def leave(self) -> None:
        """A caller has been answered, or gave up."""
        self.present -= 1

    def forget_crowd(self) -> None:
        """Count the most anew."""
        self.most = self.present

    def hold(self) -> None:
        """Who comes from now on came while the loop was held."""
        self._held += 1

    def release(self) -> None:
        """Once for each `hold`: all of them have come."""
        self._held -= 1
