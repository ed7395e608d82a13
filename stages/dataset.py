"""Stage dataset: images, labels and masks from the chosen source, decoded once into a packed store.

ImageNet's own images stay where they are: a manifest stands for them.
"""

from pathlib import Path

from attribution_preservation.data.source import DataSource, data_section, named_sources
from attribution_preservation.entries import entry_of
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage

RAW = Path("data/raw")


def main(stage: Stage) -> str:
    """Obtain the source and pack it."""
    data = stage.section("data", data_section(named_sources(stage.parameters("data"))))
    RAW.mkdir(parents=True, exist_ok=True)
    return entry_of(DataSource, data.source).pack(data, RAW, stage.only_out)


if __name__ == "__main__":
    run("dataset", main)
