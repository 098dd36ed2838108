"""Theory, live: what a run's numbers mean while it trains, and what they meant when it is over.

    probe ──▶ divergence, saturation, diversity, coverage, birthday ──▶ row ──▶ alarm ──▶ event
                                                                         └────────┬────────┘
                                               memorisation ──▶ diagnosis ◀───────┘
                                                                    └──▶ report (plots)

A measurement never touches the run: it works on copies of the networks, draws from a random stream of its own, and a
run computes the same weights with it and without.
"""
