"""Several API processes before one engine process. In: settings; out: the same service, on several cores.

Nothing but `__main__` imports it: without the folder the service runs in one process.
"""
