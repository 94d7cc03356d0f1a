"""``push-to-hub BUNDLE REPO_ID``: upload a policy bundle to the Hugging Face Hub."""

import re
from pathlib import Path
from typing import Protocol

from pipeline.serving.agent import load_agent

FILES = ["bundle.json", "weights.safetensors", "history.json", "README.md"]
REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Hub(Protocol):
    """What is used of ``huggingface_hub.HfApi``."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> object:
        """Create the repository, unless it exists."""

    def upload_folder(
        self, *, repo_id: str, folder_path: str, allow_patterns: list[str], commit_message: str
    ) -> object:
        """Upload the files of a folder as one commit."""


def push_bundle(bundle: Path, repo_id: str, public: bool, hub: Hub | None = None) -> list[str]:
    """Upload the files of a bundle; a new repository is private unless ``public``.

    Raises ValueError for a bundle that is refused, a wrong name, a missing package, and if the hub refuses.
    """
    if not REPO_ID.fullmatch(repo_id):
        raise ValueError(f"`{repo_id}`: name the owner and the repository, such as me/my-policy")
    agent = load_agent(bundle)
    api = hub or _hub()
    message = f"{agent.spec.policy} learned from {agent.spec.dataset['name']}, seed {agent.spec.seed}"
    try:
        api.create_repo(repo_id, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=str(bundle), allow_patterns=FILES, commit_message=message)
    except Exception as error:  # the hub's errors and those of the network share no base class
        reason = " ".join(str(error).split())
        fix = "log in with `hf auth login`, or name a repository of yours"
        raise ValueError(f"{repo_id}: not uploaded ({reason}); {fix}") from None
    return [f"{bundle}: uploaded to https://huggingface.co/{repo_id}"]


def _hub() -> Hub:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ValueError("huggingface_hub is missing; run `pip install -e '.[hub]'`") from None
    hub: Hub = HfApi()
    return hub
