"""How far long work is."""

import pytest

from pipeline.validation import pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_line_every_half_minute_with_speed_and_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for item in pace.paced(range(300), "fitted Q: {} updates", 300):
        clock[0] += 0.25 if item % 2 else 0.15  # one minute in all
    assert capsys.readouterr().out == "fitted Q: 150 of 300 updates, 50%, 5.0/s, 0:00:30 left\n"


def test_work_of_unknown_length_has_no_time_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in pace.paced(iter("abcd"), "ingest: {} episodes"):
        clock[0] += 20
    assert capsys.readouterr().out == "ingest: 2 episodes, 20.0 s each\n"


def test_short_work_prints_nothing_and_gives_every_item(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(pace.paced("abc", "{} letters", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""
