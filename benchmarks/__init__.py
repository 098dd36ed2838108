"""What is measured, beside the hardware and beside other servers: `python -m benchmarks` lists the experiments."""
