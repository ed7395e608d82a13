"""docs/errors.md is whole: every message that the code can give has a row, with a test that provokes it."""

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT

ROW = re.compile(r"^\| `(?P<message>.+)` \| (?P<remedy>.+) \| `(?P<file>[\w/]+\.py)::(?P<test>\w+)` \|$")


def template(node: ast.expr) -> str:
    """A message as the table writes it: what is filled in stands as three dots."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return re.sub(r"…(\s*…)*", "…", "".join(template(value) for value in node.values))
    return "…"


def messages(path: Path) -> set[str]:
    """Templates of all `UserError`s that a file makes."""
    templates = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UserError":
            templates.add(template(node.args[0]))
    # A message that is nothing but what is filled in is another one, told again.
    return {message for message in templates if any(letter.isalpha() for letter in message)}


def rows() -> dict[str, tuple[str, str]]:
    by_message = {}
    for line in (PROJECT / "docs" / "errors.md").read_text().splitlines():
        if match := ROW.match(line):
            assert match["message"] not in by_message, line
            by_message[match["message"]] = match["file"], match["test"]
    return by_message


def all_messages() -> set[str]:
    """Every message of the stages and the library."""
    files = [path for folder in ("stages", "attribution_preservation") for path in (PROJECT / folder).rglob("*.py")]
    return {message for path in files for message in messages(path)}


def test_every_message_has_a_row_and_no_row_is_left_over():
    # The system's own refusals are told by one function, whose words are no UserError.
    system = {message for message in rows() if message.startswith("system: ")}
    assert set(rows()) - system == all_messages()


@pytest.mark.parametrize("place", sorted(set(rows().values())), ids="::".join)
def test_the_test_of_a_row_exists(place):
    file, test = place
    assert f"def {test}(" in (PROJECT / file).read_text()


def test_a_message_without_a_row_is_found(tmp_path):
    path = tmp_path / "new.py"
    path.write_text('raise UserError(f"{path} is blue; paint it")\n')
    assert messages(path) == {"… is blue; paint it"}
    assert not messages(path) & set(rows())
