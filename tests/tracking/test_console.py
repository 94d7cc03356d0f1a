"""The log file of a stage beside its console."""

import io
import warnings

import pytest

from pipeline.tracking.console import Tee, quiet_libraries


def test_a_line_that_is_drawn_again_is_kept_once() -> None:
    console, log = io.StringIO(), io.StringIO()
    tee = Tee(console, log)
    for percent in range(1000):
        tee.write(f"\r{percent / 10:.1f} %")
    assert len(tee._line) < 10
    tee.write("\n")
    assert log.getvalue() == "99.9 %\n"
    assert console.getvalue().count("\r") == 1000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("console", "shown"), [(io.StringIO(), "red\n"), (Terminal(), "\x1b[31mred\x1b[0m\n")])
def test_colors_are_for_terminals(console: io.StringIO, shown: str) -> None:
    log = io.StringIO()
    Tee(console, log).write("\x1b[31mred\x1b[0m\n")
    assert console.getvalue() == shown
    assert log.getvalue() == "red\n"


def test_hints_that_no_user_can_act_on_are_left_out() -> None:
    useful = "lr_scheduler.step() was called before optimizer.step()"
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        quiet_libraries()
        for text in (
            "The 'train_dataloader' does not have many workers which may be a bottleneck.",
            "\x1b[33mWARN: The environment HalfCheetah-v4 is out of date.\x1b[0m",
            useful,
        ):
            warnings.warn(text, stacklevel=1)
    assert [str(warning.message) for warning in shown] == [useful]
