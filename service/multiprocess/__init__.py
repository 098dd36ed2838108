"""Several API processes in front of one engine process. In: settings; out: the same service, on more cores.

Meant for hosts on which answering HTTP takes more than one core; on few cores a single process does more, as
[benchmarks/README.md](../../benchmarks/README.md#several-http-processes) shows.

Only `__main__` imports it, when it is asked for: without this folder the service still runs in one process.
May import: app and everything below.
"""
