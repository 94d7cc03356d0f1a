"""Git repositories that tests make."""

import subprocess


def git(*arguments: str) -> str:
    """The output of git, as an author of its own."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout
