"""Load on a running server: closed and open loops, and the processor time that it takes.

In: a URL and a request; out: one measured cell. May import: workplace, results.
"""
