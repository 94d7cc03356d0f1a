"""params.yaml as a file: whatever stands there, it is read or refused in one line, at once."""

import itertools
import os
from pathlib import Path

import pytest

from pipeline.cli.preset import apply_preset
from pipeline.params import read_params

NINES = [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in itertools.pairwise("abcdefghi")]
BOMB = "\n".join(["a: &a [x, x]", *NINES])
REFUSED = {
    "utf-16": ("seeds: [0]\n".encode("utf-16"), "line 1 is not UTF-8; save the file as UTF-8"),
    "latin-1": (b"seeds: [0]\n# caf\xe9\n", "line 2 is not UTF-8"),
    "tab": (b"seeds:\n\t- 0\n", "not valid YAML: .* line 2, column 1"),
    "NUL": (b"seeds: [0]\n\0\n", "not valid YAML: unacceptable character"),
    "bomb": (BOMB.encode(), "its aliases .* write the values out"),
    "alias to itself": (b"seeds: &a [*a]\n", "its aliases .* write the values out"),
    "key that refers to itself": (b"seeds: ${seeds}\n", "Recursive interpolation"),
    "deep list": (b"seeds: " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
    "deep mapping": (b"a: " + b"{a: " * 5000 + b"1" + b"}" * 5000, "nested too deeply"),
    "python object": (b'seeds: !!python/object/apply:os.mkdir ["made"]\n', "could not determine a constructor"),
    "large": (b"# comment\n" * 200_000, "longer than 1,000,000 bytes"),
    "list": (b"- seeds\n", "expected `section:` blocks, found list"),
    "block twice": (b"a: {}\nb: {}\na: {}\n", "block `a` is there twice, in lines 1 and 3"),
    "list as a key": (b"? [a, b]\n: 1\n", "not valid YAML"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_file_that_is_no_params_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=f"^params.yaml: .*{message}") as caught:
        read_params()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert os.listdir() == ["params.yaml"]


def test_folders_and_pipes_are_refused(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        for read in (read_params, lambda path: apply_preset("ci", path)):
            with pytest.raises(ValueError, match=f"{name}: a folder or a pipe; put a file there"):
                read(tmp_path / name)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_editors_of_every_system_write_files_that_are_read(tmp_path: Path, mark: bytes, end: bytes):
    file = tmp_path / "params.yaml"
    file.write_bytes(mark + end.join([b"seeds: [0]", b"policy: {updates: 3e2, name: sac}", b""]))
    assert read_params(file) == {"seeds": [0], "policy": {"updates": 300.0, "name": "sac"}}


def test_an_alias_of_a_value_is_fine(tmp_path: Path):
    file = tmp_path / "params.yaml"
    file.write_text("policy: {hidden: &wide [256, 256]}\nbc: {hidden: *wide}\n")
    assert read_params(file)["bc"] == {"hidden": [256, 256]}
