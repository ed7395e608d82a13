"""Commits and earlier files, from git."""

import subprocess
from pathlib import Path

from attribution_preservation.errors import UserError


def git_output(*arguments: str) -> str | None:
    """Output of a git command; None if it fails, for example without git or a repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def commits(path: str) -> dict[str, str | bool | None]:
    """The present commit, the last commits that changed a file and dvc.lock, and whether these two files differ now.

    Returns:
        The hashes `head`, `artifact` (None if the file is not in git) and `record`, and `changed`. All are None if the
        project is not in a repository, for example after unpacking an archive inside another repository.
    """
    head = git_output("rev-parse", "HEAD") if git_output("ls-files", "--error-unmatch", "dvc.yaml") else None
    if head is None:
        return dict.fromkeys(("head", "artifact", "record", "changed"))
    last = {
        name: git_output("log", "-1", "--format=%H", "--", file)
        for name, file in (("artifact", path), ("record", "dvc.lock"))
    }
    status = git_output("status", "--porcelain", "--", path, "dvc.lock")
    return {
        "head": head.strip(),
        **{name: (commit or "").strip() or None for name, commit in last.items()},
        "changed": bool(status and status.strip()),
    }


def commit_of(revision: str) -> str:
    """The hash of a revision.

    Raises:
        UserError: there is no repository, or no such revision in it.
    """
    if git_output("ls-files", "--error-unmatch", "dvc.yaml") is None:
        raise UserError("git does not have this project, or is missing; --diff compares with a commit of it")
    commit = git_output("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        raise UserError(f"git knows no revision {revision}; git log lists them")
    return commit.strip()


def text_at(commit: str, path: str) -> str | None:
    """A file's text in a commit; None if the commit does not have the file."""
    # Relative to the folder of the project, which need not be the repository's root.
    return git_output("show", f"{commit}:./{Path(path).as_posix()}")
