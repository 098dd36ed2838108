"""From result files to Markdown tables and plots.

In: results/*.json; out: the tables of benchmarks/README.md. May import: experiments, contenders, load, results.
"""
