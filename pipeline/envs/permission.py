"""Which code an environment may run.

A log, a prepared dataset or a policy bundle may come from anywhere and names its environment. So only Gymnasium, this
project, and installed packages that params.yaml or a flag of the command line names are imported for it, and never a
module of the working folder.
"""

import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

PACKAGE = "pipeline"
ALWAYS = (PACKAGE, "gymnasium")

_allowed: set[str] = set()  # of this process


class ForbiddenError(ValueError):
    """Code that an environment may not run; the message names the option that allows it."""


def allow_packages(packages: Iterable[str]) -> None:
    """Let the environments of this process import these installed packages. For what the user names, not a file."""
    _allowed.update(packages)


def allow_named(params: Mapping[str, Any]) -> None:
    """:func:`allow_packages` for `dataset.env_packages` of params.yaml."""
    block = params.get("dataset")
    allow_packages((block.get("env_packages") if isinstance(block, Mapping) else None) or ())


def allowed_packages() -> list[str]:
    """The packages that :func:`allow_packages` has added."""
    return sorted(_allowed)


def check_module(module: str) -> None:
    """Raises ForbiddenError unless environments may import ``module``, and ModuleNotFoundError if it is not installed.
    Imports nothing but the packages above it, and those only after they are checked."""
    package = module.partition(".")[0]
    if package in ALWAYS:
        return
    check_place(package)
    if package not in _allowed:
        how = f"name it in `dataset.env_packages`, with `--allow-package {package}`, or by `api.allow_packages`"
        raise ForbiddenError(f"code of `{package}` is not allowed to run; if you trust this package, {how}")
    for name in accumulate(module.split("."), "{}.{}".format):
        check_place(name)


def check_entry_point(entry_point: object) -> None:
    """:func:`check_module` for the module of an entry point such as ``package.module:Class``; a function or a class was
    imported already."""
    if isinstance(entry_point, str):
        check_module(entry_point.partition(":")[0])


def check_place(name: str) -> None:
    """Raises ForbiddenError if something of the module ``name`` lies in the working folder."""
    try:
        spec = None if name in sys.stdlib_module_names else importlib.util.find_spec(name)
    except (ImportError, ValueError):  # its parent is no package, or it is no name of a module
        spec = None
    if spec is None:
        raise ModuleNotFoundError(f"`{name}` is not installed")
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else ())]
    if any(_in_working_folder(place) for place in places):
        fix = "move it to another folder, and install it from there (`pip install FOLDER`)"
        raise ForbiddenError(f"`{name}` lies in the working folder, whose code no environment may run; {fix}")


def _in_working_folder(place: str) -> bool:
    """Whether a file or folder, or what it is a link to, lies in the working folder, but not where packages are
    installed."""
    folder = Path.cwd().resolve()
    return any(
        path.is_relative_to(folder) and not any(path.is_relative_to(installed) for installed in _site_folders())
        for path in _paths(place)
    )


def _paths(place: str) -> Iterator[Path]:
    """Where a file or folder lies, and where the link leads if it is one."""
    parent, name = os.path.split(os.path.abspath(place))
    yield Path(parent).resolve() / name
    yield Path(place).resolve()


@cache
def _site_folders() -> list[Path]:
    """The folders into which packages are installed; that of a virtual environment may lie in the working folder."""
    installed = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    return [Path(folder).resolve() for folder in (*installed, site.getusersitepackages())]
