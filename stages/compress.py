"""Every stage that compresses: one compression, one student, the methods of one entry of `matching`.

`scratch`, the baseline of small networks trained alone, is one of them.
"""

from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.compression_runs import compress
from attribution_preservation.pipeline.run.graph import Stage


def main(stage: Stage) -> str:
    """Train one student with each seed of a group, under every method of one entry of `matching`."""
    return compress(stage)


if __name__ == "__main__":
    run("compress", main)
