"""Python blocks of the documentation, run as a reader would."""

import re
from typing import Any

from tests.conftest import PROJECT


def blocks(page: str, language: str = "python") -> list[str]:
    block = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return block.findall((PROJECT / "docs" / page).read_text(encoding="utf-8"))


def run(page: str, number: int, **names: Any) -> dict[str, Any]:
    """What a block of a page defines; `names` are those that the page takes for granted."""
    namespace = dict(names)
    exec(compile(blocks(page)[number], f"{page}, block {number}", "exec"), namespace)
    return namespace
