"""Stage code: the modules that every other stage instance uses, with their hashes; its instances depend on them."""

from attribution_preservation.pipeline.run.code_manifest import manifest_of
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage, every_instance
from attribution_preservation.storage.files import atomic_directory


def main(stage: Stage) -> str:
    """Write all manifests."""
    manifests = {name: manifest_of(other) for name, other in every_instance().items() if other.name != stage.name}
    with atomic_directory(stage.only_out) as folder:
        for name, text in manifests.items():
            (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return f"manifests of {len(manifests)} stage instances in {stage.only_out}"


if __name__ == "__main__":
    run("code", main)
