"""Time columns: formats of dates, days and months, epochs, time zones and the change of clocks."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.clock import Clock, time_cells
from pipeline.ingest.sources.dates import AmbiguousDatesError
from pipeline.ingest.sources.table_files import TableFile
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose


def read(cells: list[Any], batch: int | None = None, groups: list[Any] | None = None, **options: str) -> list[float]:
    """Times of cells that come in batches of ``batch`` rows."""
    clock, size = Clock(**options), batch or len(cells)
    array, codes = pa.array(cells), np.array(groups or [0] * len(cells))
    parts = [
        clock.read(TableFile(Path("log.parquet")), "t", array[i : i + size], i, codes[i : i + size])
        for i in range(0, len(cells), size)
    ]
    return [float(time) for time in np.concatenate(parts)]


def refusal(cells: list[Any], **options: str) -> str:
    with pytest.raises(ValueError) as caught:
        read(cells, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2023-03-01 00:00:00", "2023-03-01T00:00:05"], 5),
        (["2023-03-01", "2023-03-02"], 86400),
        (["2023-03-01T00:00:00Z", "2023-03-01T00:00:01.5Z"], 1.5),
        (["2023-03-01 00:00:00+01:00", "2023-03-01 00:00:00+00:00"], 3600),
        (["2023/3/1 0:00", "2023/3/1 0:10"], 600),
        (["01.03.2023 00:00:00", "01.03.2023 00:00:05"], 5),
        (["01.03.23 00:00", "02.03.23 00:00"], 86400),
        (["13/03/2023 00:00", "14/03/2023 00:00"], 86400),
        (["03/13/2023 00:00", "03/14/2023 00:00"], 86400),
        (["3/13/2023 11:00:00 PM", "3/14/2023 12:30:00 AM"], 5400),
        (["13-Jan-2023 11:00:00", "13-Jan-2023 11:00:10"], 10),
        (["Jan 13, 2023 11:00", "Feb 13, 2023 11:00"], 31 * 86400),
        (["13.01.2023 11:00:00,250", "13.01.2023 11:00:01,5"], 1.25),
        (["13.01.2023 11:00:00 +0100", "13.01.2023 11:00:00 +0000"], 3600),
        (["08/26  00:01:00", "08/26  24:00:00"], 86340),
        (["08/26  00:24:00", "08/26  00:25:00"], 60),
        (["13-01-2023", "14-01-2023"], 86400),
        (["12/31  23:00:00", "01/01  00:00:00"], 3600),
        (["02/28  23:00:00", "03/01  00:00:00"], 3600),
        (["02/28  23:00:00", "02/29  00:00:00"], 3600),
        (["23:59:30", "00:00:30"], 60),
        (["10:05", "10:15"], 600),
        (["23:10:00", "25:10:00"], 7200),
        ([1.5, 2.75], 1.25),
        ([7, 9], 2),
    ],
)
@pytest.mark.parametrize("batch", [None, 1])
def test_formats_are_recognized(cells: list[Any], expected: float, batch: int | None) -> None:
    start, stop = read(cells, batch)
    assert stop - start == expected


@pytest.mark.parametrize(
    ("cells", "time_format", "expected"),
    [
        (["03/12/2023 00:00", "04/12/2023 00:00"], "%d/%m/%Y %H:%M", 86400),
        (["03/12/2023 00:00", "04/12/2023 00:00"], "%m/%d/%Y %H:%M", 31 * 86400),
        (["20240113120000", "20240113120010"], "%Y%m%d%H%M%S", 10),
        ([20240113120000, 20240113120010], "%Y%m%d%H%M%S", 10),
        (["13/01/2023 18.00.00", "13/01/2023 18.00.30"], "%d/%m/%Y %H.%M.%S", 30),
        (["13.01.2023 11:00:00.250", "13.01.2023 11:00:01.000"], "%d.%m.%Y %H:%M:%S.%f", 0.75),
        ([1700000000, 1700000060], "s", 60),
        ([1700000000123, 1700000000623], "ms", 0.5),
        (["1700000000123456", "1700000000123457"], "us", 1e-6),
        ([1700000000123456789, 1700000000123456790], "ns", 1e-9),
    ],
)
def test_stated_formats(cells: list[Any], time_format: str, expected: float) -> None:
    start, stop = read(cells, time_format=time_format)
    assert stop - start == expected


@pytest.mark.parametrize(
    ("cells", "options", "expected"),
    [
        (["abc", "def"], {}, "row 0: column `t`: `abc` is no time; repair it, or set `dataset.time_format`"),
        (["13.01.2024", "14.13.2024"], {}, "row 1: column `t`: `14.13.2024` is no time"),
        (["13/01/2024", "01/14/2024"], {}, "`13/01/2024` and other cells have different formats"),
        (["2024-01-01", None], {}, "row 1: column `t`: no time; fill it in every row"),
        (["01.02.2024"], {"time_format": "%Y-%m-%d"}, "`01.02.2024` does not fit the format %Y-%m-%d; repair it"),
    ],
)
def test_cells_that_are_no_time(cells: list[Any], options: dict[str, str], expected: str) -> None:
    assert expected in refusal(cells, **options)


def test_a_day_that_may_be_a_month_is_refused_with_both_formats() -> None:
    with pytest.raises(AmbiguousDatesError) as caught:
        read(["03/12/2023 00:00", "04/12/2023 00:00"])
    assert caught.value.formats == ("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M")
    assert 'set `dataset.time_format: "%d/%m/%Y %H:%M"` or `"%m/%d/%Y %H:%M"`' in str(caught.value)


def quarters(start: str, count: int, zone: str) -> tuple[list[str], list[float]]:
    """Local times every quarter of an hour, as a logger without offsets writes them, and seconds since the first."""
    steps = np.arange(count) * np.timedelta64(900, "s")
    instants = pa.array(np.datetime64(start, "s") + steps, pa.timestamp("s", "UTC"))
    local = pa.compute.local_timestamp(instants.cast(pa.timestamp("s", zone)))
    return [str(time) for time in local.to_pylist()], [900.0 * i for i in range(count)]


@pytest.mark.parametrize("batch", [None, 1, 7])
@pytest.mark.parametrize("start", ["2024-10-26T22:00", "2024-03-30T22:00", "2024-10-27T00:30", "2024-06-01T00:00"])
def test_the_change_of_clocks_with_a_time_zone(start: str, batch: int | None) -> None:
    cells, truth = quarters(start, 24, "Europe/Berlin")
    assert read(cells, batch, time_zone="Europe/Berlin") == truth


def test_hourly_rows_of_several_episodes_over_the_change_of_clocks() -> None:
    cells, truth = quarters("2024-10-26T22:00", 24, "Europe/Berlin")
    twice = [cell for cell in cells[::4] for _ in range(2)]
    seconds = read(twice, groups=[0, 1] * 6, time_zone="Europe/Berlin")
    assert seconds[::2] == seconds[1::2] == truth[::4]


@pytest.mark.parametrize("step", [1, 4])
def test_an_hour_that_repeats_is_refused_without_a_time_zone(step: int) -> None:
    cells, _ = quarters("2024-10-26T22:00", 24, "Europe/Berlin")
    assert "time is 2024-10-27 02:00:00 again" in refusal(cells[::step])
    assert "set `dataset.time_zone`, such as Europe/Berlin" in refusal(cells[::step])


def test_a_time_that_clocks_leave_out_is_refused() -> None:
    message = refusal(["2024-03-31 01:00", "2024-03-31 02:30"], time_zone="Europe/Berlin")
    assert "row 1: column `t`: 2024-03-31 02:30:00 does not exist in Europe/Berlin; for a log that keeps" in message
    assert read(["2024-03-31 01:00", "2024-03-31 02:30"], time_zone="Etc/GMT-1") == [0, 5400]


def test_dates_without_an_offset_in_parquet() -> None:
    cells, truth = quarters("2024-10-26T22:00", 24, "Europe/Berlin")
    naive = [np.datetime64(cell) for cell in cells]
    assert read(naive, time_zone="Europe/Berlin") == truth
    assert "set `dataset.time_zone`" in refusal(naive)


def ingest(folder: Path, files: dict[str, list[str]], **options: Any) -> np.ndarray:
    """The observations, which count the rows, of files with these times; None where the log is refused."""
    (folder / "logs").mkdir(exist_ok=True)
    row = iter(range(1000))
    for name, times in files.items():
        lines = [f"{time},{next(row)},0.5,1" for time in times]
        (folder / "logs" / name).write_text("\n".join(["t,x,u,reward", *lines]) + "\n")
    block = {
        "source": "table",
        "path": str(folder / "logs"),
        "held_out_path": str(folder / "logs"),
        "env_id": None,
        "obs_columns": ["x"],
        "action_columns": ["u"],
        "terminal_column": None,
        "episode_column": None,
        "action_low": [0.0],
        "action_high": [1.0],
        "time_column": "t",
        "max_dropped_return": 1.0,
    }
    source, config = choose(SOURCES, {**block, **options}, "dataset", key="source")
    return write_dataset(folder / "d", source(config).read(), "log", config.held_out_fraction, 0).obs["state"][:, 0]


def test_a_later_file_tells_days_from_months(tmp_path: Path) -> None:
    """In the first file alone, 01/02 may be January; rows that were read so would be sorted into another order."""
    hours = [f"{hour:02d}:00" for hour in range(24)]
    first = [*(f"01/02/2023 {hour}" for hour in hours), *(f"02/02/2023 {hour}" for hour in hours)]
    second = [f"13/02/2023 {hour}" for hour in hours]
    found = ingest(tmp_path, {"a.csv": first, "b.csv": second})
    assert found.tolist() == list(range(72))


def test_days_that_stay_ambiguous_in_all_files_are_refused(tmp_path: Path) -> None:
    times = [f"01/02/2023 {hour:02d}:00" for hour in range(24)]
    with pytest.raises(AmbiguousDatesError, match=r"a.csv: column `t`: `01/02/2023 00:00` may begin with the day"):
        ingest(tmp_path, {"a.csv": times, "b.csv": times})
    assert len(ingest(tmp_path, {"a.csv": times, "b.csv": times}, time_format="%d/%m/%Y %H:%M")) == 48


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"time_zone": "Europe/Berln"}, "Europe/Berln is no time zone (did you mean `Europe/Berlin`?)"),
        ({"time_format": "minutes"}, "minutes is neither a format such as %d.%m.%Y %H:%M:%S nor one of s, ms, us, ns"),
        ({"time_column": None, "time_zone": "UTC"}, "no time_column: name it"),
        (
            {"obs_columns": ["t"], "time_column": None},
            "column `t` holds dates or times (`2023-02-01 00:00`); name it in",
        ),
    ],
)
def test_options_of_time_that_are_refused(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        ingest(tmp_path, {"a.csv": [f"2023-02-01 {hour:02d}:00" for hour in range(24)]}, **options)
    assert expected in str(caught.value)


def test_a_date_of_parquet_is_no_observation(tmp_path: Path) -> None:
    times = pa.array(np.datetime64("2023-01-01", "s") + np.arange(10), pa.timestamp("s"))
    file = tmp_path / "log.parquet"
    pq.write_table(pa.table({"t": times, "u": np.zeros(10), "reward": np.zeros(10)}), file)
    block = {
        "source": "table",
        "path": str(file),
        "held_out_path": str(file),
        "obs_columns": ["t"],
        "action_columns": ["u"],
        "episode_column": None,
        "terminal_column": None,
    }
    source, config = choose(SOURCES, block, "dataset", key="source")
    with pytest.raises(ValueError, match=r"column `t` holds dates or times; name it in `dataset.time_column`"):
        source(config).read()


@pytest.mark.parametrize(
    ("day", "clock"),
    [("16/12/2006", "%H:%M:%S"), ("16/12/2006", "%H.%M.%S"), ("16.12.06", "%H:%M"), ("2006-12-16", "%H:%M")],
)
def test_a_day_and_a_time_of_day_in_two_columns(day: str, clock: str, tmp_path: Path) -> None:
    """As in UCI's tables of power and of air quality; the day changes after six rows."""
    times = [np.datetime64("2006-12-16T23:55:00") + np.timedelta64(60 * i, "s") for i in range(10)]
    texts = [pa.scalar(time, pa.timestamp("s")).as_py() for time in times]
    format_of_day = {"/": "%d/%m/%Y", ".": "%d.%m.%y", "-": "%Y-%m-%d"}[next(c for c in day if not c.isdigit())]
    lines = [f"{t.strftime(format_of_day)};{t.strftime(clock)};{i};1;0" for i, t in enumerate(texts)]
    file = tmp_path / "log.txt"
    file.write_text("\n".join(["Date;Time;x;u;reward", *lines]))
    block = {
        "source": "table",
        "path": str(file),
        "held_out_path": str(file),
        "obs_columns": ["x"],
        "env_id": None,
        "action_columns": ["u"],
        "terminal_column": None,
        "episode_column": None,
        "time_column": "Date",
    }
    source, config = choose(SOURCES, {**block, "time_of_day_column": "Time"}, "dataset", key="source")
    (episode,) = source(config).read().episodes
    assert episode.span == (0, 540)
    source, config = choose(SOURCES, block, "dataset", key="source")
    with pytest.raises(
        ValueError, match=r"line 3: column `Date`: the same day as in the row before, and no time; name"
    ):
        list(source(config).read().episodes)


def test_a_day_and_a_time_of_day_in_parquet() -> None:
    days = pa.array(np.array(["2006-12-16", "2006-12-17"], "datetime64[ms]"))
    for cells in (days, days.cast(pa.date32())):
        batch = pa.record_batch({"d": cells, "t": pa.array([86_340, 0], pa.int32()).cast(pa.time32("s"))})
        file = TableFile(Path("log.parquet"))
        assert Clock().read(file, "d", time_cells(file, batch, "d", "t"), 0).tolist() == [0, 60]


def test_a_text_that_means_missing_is_no_time() -> None:
    assert "row 1: column `t`: no time; fill it in every row" in refusal(["01.02.2024 10:00", "NaT"])
