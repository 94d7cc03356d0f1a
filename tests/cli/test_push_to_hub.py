"""``push-to-hub`` with a made-up hub: nothing is ever uploaded."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from toys import saved_cloning

from pipeline.cli.push_to_hub import push_bundle


@dataclass
class MadeUpHub:
    """Keeps the calls; fails if there is an ``error``."""

    error: Exception | None = None
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append(("create", {"repo_id": repo_id, "private": private, "exist_ok": exist_ok}))

    def upload_folder(self, **arguments: Any) -> None:
        self.calls.append(("upload", arguments))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return saved_cloning(tmp_path / "seed-0")


def test_the_files_of_a_bundle_go_into_a_private_repository(bundle: Path) -> None:
    hub = MadeUpHub()
    (bundle / "notes.txt").write_text("mine")
    (line,) = push_bundle(bundle, "me/policy", public=False, hub=hub)
    assert line.endswith("uploaded to https://huggingface.co/me/policy")
    (_, created), (_, uploaded) = hub.calls
    assert created == {"repo_id": "me/policy", "private": True, "exist_ok": True}
    assert (uploaded["folder_path"], uploaded["repo_id"]) == (str(bundle), "me/policy")
    assert {path.name for path in bundle.iterdir()} - set(uploaded["allow_patterns"]) == {"notes.txt"}
    assert uploaded["commit_message"] == "bc learned from pendulum, seed 0"


def test_what_is_refused_before_an_upload(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = MadeUpHub()
    with pytest.raises(ValueError, match="name the owner and the repository"):
        push_bundle(bundle, "policy", public=False, hub=hub)
    (bundle / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"weights\.safetensors"):
        push_bundle(bundle, "me/policy", public=False, hub=hub)
    assert hub.calls == []


def test_an_error_of_the_hub_is_one_line(bundle: Path) -> None:
    hub = MadeUpHub(RuntimeError("401 Client Error\nInvalid username or password"))
    with pytest.raises(ValueError, match=r"401 Client Error Invalid .* log in with `hf auth login`"):
        push_bundle(bundle, "me/policy", public=True, hub=hub)


def test_a_missing_package_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"huggingface_hub is missing; run `pip install -e '\.\[hub\]'`"):
        push_bundle(bundle, "me/policy", public=False)
