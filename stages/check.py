"""Stage check: params.yaml is checked against the schema before anything else runs.

Its first output never changes, so an edit of params.yaml reruns this stage and those whose own parameters changed, and
a mistake stops the run before any work is done. Its second output says what people call what params.yaml names: reports
read it instead of all entries. Folders that an earlier profile left among the outputs are removed.
"""

import shutil
from pathlib import Path

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage, strays
from attribution_preservation.pipeline.titles import titles
from attribution_preservation.process.streams import tell
from attribution_preservation.reporting.titles import TITLES
from attribution_preservation.settings import validate
from attribution_preservation.storage.files import write_json, write_text
from attribution_preservation.storage.yaml_text import changed_by_dvc, read_yaml

CHECKED = Path("data/check.txt")


def main(stage: Stage) -> str:
    """Check the profile."""
    values = read_yaml(Path("params.yaml"))
    profile = validate(Profile, values)
    if changed := changed_by_dvc(values):
        key, before, after = changed
        raise UserError(
            f"params.yaml: {key} is {before!r}, and dvc.lock would keep {after!r}; write fewer digits or letters"
        )
    for stray in strays():
        shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
        tell(f"check: removed {stray}, which this profile does not make (DVC's cache still has what DVC made)")
    write_json(stage.out(TITLES), titles(profile))
    write_text(stage.out(CHECKED), "params.yaml fits the schema\n")
    return f"params.yaml fits the schema (profile {profile.profile}), {stage.out(CHECKED)}"


if __name__ == "__main__":
    run("check", main)
