"""A model of capacity: the service's own scheduler in a simulation of many replicas, checked against the service.

In: measured service times, a traffic and a fleet; out: latencies, refusals, replicas and cost. May import: contenders,
experiments, load, results, workplace, `service.engine.scheduling` and the interface of `service.engine`.
"""
