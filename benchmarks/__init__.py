"""Measurements of the project: `python -m benchmarks NAME --json OUT`; committed results are in results/."""
