"""The fingerprint of one stage instance: a short hash of its command, its parameters and all files that it read.

A table contains the fingerprint of the stage that made it. dvc.lock records the command, parameters and files too. So
`python -m stages.audit` can check whether a table and a dvc.lock belong together.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.provenance.hashes import dvc_md5
from attribution_preservation.pipeline.run.graph import Stage

_BYTE_CODE = frozenset({"__pycache__"})  # all that .dvcignore hides among what stages declare


def fingerprint(command: str, parameters: Mapping[str, Any], deps: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits.

    Args:
        command: the command that DVC runs.
        parameters: parameters by dotted key, as dvc.yaml declares them.
        deps: MD5 from `dvc_md5`, by path.
    """
    content = {"command": command, "parameters": dict(parameters), "deps": dict(deps)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def fingerprint_of(stage: Stage) -> str:
    """Fingerprint of a running instance, from the present parameters and files.

    Raises:
        UserError: a file that it reads is missing.
    """
    for path in stage.deps:
        if not path.exists():
            raise UserError(f"{path} is missing; run the stage that makes it first (dvc repro runs all in order)")
    deps = {str(path): dvc_md5(path, _BYTE_CODE) for path in stage.deps}
    return fingerprint(stage.command, stage.declared_values(), deps)
