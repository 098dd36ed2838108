"""Diagnoses a run, while it trains and afterwards.

    probe ──▶ divergence, saturation, diversity, coverage, birthday ──▶ row ──▶ alarm ──▶ event
                                                                         └────────┬────────┘
                                               memorisation ──▶ diagnosis ◀───────┘
                                                                    └──▶ report (plots)

In: rows, events and checkpoints of a run. Out: alarms, findings with advice, and a report in HTML. A measurement works
on copies of the networks and draws from its own random stream, so a run computes the same weights with and without it.
May import its own measures, state, config, data and objectives; never loop or export.
"""
