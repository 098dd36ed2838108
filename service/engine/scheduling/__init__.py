"""What runs next. In: how many samples wait, for whom, and the time; out: batches of tickets, and refusals.

Pure: no asyncio, no threads, no clock. May import: the modules of `service.engine` itself.
"""
