"""Every option of params.yaml has a meaning, which the documentation and new lines of params.yaml show."""

from dataclasses import field, fields

from pydantic.dataclasses import dataclass

from pipeline.cli.fields import default, meanings
from pipeline.ingest.sources.collect import BehaviorConfig
from pipeline.stages.preflight import Family, blocks
from pipeline.validation import OPTIONS, Fraction, Widths


@dataclass(frozen=True, config=OPTIONS)
class Base:
    hidden: Widths = field(default_factory=lambda: [8])  # widths of the layers
    # above the field,
    # in two lines
    share: Fraction | None = None
    again: bool = False  # of the base
    silent: bool = False


@dataclass(frozen=True, config=OPTIONS)
class Options(Base):
    again: bool = True
    many: list[BehaviorConfig] = field(default_factory=lambda: [BehaviorConfig()])  # blocks


def test_a_meaning_stands_beside_or_above_the_field():
    assert meanings(Options) == {
        "hidden": "widths of the layers",
        "share": "above the field, in two lines",
        "again": "of the base",
        "silent": "",
        "many": "blocks",
    }


def test_defaults_are_plain_values():
    values = {each.name: default(each) for each in fields(Options)}
    assert values["hidden"] == [8]
    assert values["again"] is True
    assert values["many"] == [{"name": "random", "share": 1.0, "noise": 0.0}]


def test_every_option_has_a_meaning():
    configs = [BehaviorConfig]
    for kind in blocks().values():
        configs += [entry.Config for entry in kind.registry.values()] if isinstance(kind, Family) else [kind]
        configs += [kind.common] if isinstance(kind, Family) and kind.common is not None else []
    missing = [f"{c.__name__}.{f.name}" for c in configs for f in fields(c) if len(meanings(c)[f.name]) < 8]
    assert missing == [], "write its meaning as a comment beside the field"
