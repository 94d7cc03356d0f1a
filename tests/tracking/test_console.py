"""The log file of a stage beside its console."""

import io

from pipeline.tracking.console import Tee


def test_a_line_that_is_drawn_again_is_kept_once() -> None:
    console, log = io.StringIO(), io.StringIO()
    tee = Tee(console, log)
    for percent in range(1000):
        tee.write(f"\r{percent / 10:.1f} %")
    assert len(tee._line) < 10
    tee.write("\n")
    assert log.getvalue() == "99.9 %\n"
    assert console.getvalue().count("\r") == 1000
