"""Lists the members of a Protocol that an object lacks. ``isinstance`` does not name them, and from Python 3.12 on it
ignores submodules and buffers of torch modules."""

IGNORED = {"__init__", "__subclasshook__", "__hash__"}


def members(protocol: type) -> set[str]:
    """The names that ``protocol`` and its bases declare."""
    bases = [base for base in protocol.__mro__ if base.__module__.startswith("pipeline.")]
    names = {name for base in bases for name in (*vars(base), *vars(base).get("__annotations__", {}))}
    return {name for name in names if not name.startswith("_") or name == "__call__"}


def missing(candidate: object, protocol: type) -> list[str]:
    """The declared members that ``candidate`` lacks, sorted."""
    return sorted(name for name in members(protocol) if not hasattr(candidate, name))
