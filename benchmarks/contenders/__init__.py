"""Who is measured, and what with: our service, the peers in their environments, the bare runtime, the packages.

In: a name; out: a running server and its work. May import: load, workplace, results.
"""
