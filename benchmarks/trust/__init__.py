"""Whether the service can be trusted: fuzzed input, mixed load for half an hour, injected faults.

In: arguments; out: results/NAME.json, findings under .work/findings. May import: contenders.server, load, workplace,
results, the service's readers, and of the tests what starts a service and writes toy packages.
"""
