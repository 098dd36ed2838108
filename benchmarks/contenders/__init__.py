"""The measured servers: our service, the peers in their environments, the bare runtime, and the packages they serve.

In: a name; out: a running server and its work. May import: load, workplace, results.
"""
