"""The origin of a table or page: its stage, its fingerprint, and the command that tells the rest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The stage that made a report.

    A table cannot name its own commit, which does not exist when it is written: git tells it.

    Attributes:
        stage: instance that writes it.
        fingerprint: of that instance's command, parameters and inputs.
        folder: of the report, from the project's root.
    """

    stage: str
    fingerprint: str
    folder: str

    def words(self, name: str) -> str:
        """In a sentence, with the command in backticks."""
        made = f"Made by stage {self.stage}, fingerprint {self.fingerprint}"
        return f"{made}: `{self.command(name)}` tells every parameter, hash and version behind it."

    def command(self, name: str) -> str:
        """The command that audits a file of the folder."""
        return f"python -m stages.audit {self.folder}/{name}"

    def signed(self, name: str, text: str) -> str:
        """A file's text with its footer, which LaTeX does not print; other kinds stay as they are, for programs."""
        if name.endswith(".md"):
            return f"{text.rstrip()}\n\n{self.words(name)}\n"
        if name.endswith(".tex"):
            return f"{text.rstrip()}\n% {self.words(name)}\n"
        return text
