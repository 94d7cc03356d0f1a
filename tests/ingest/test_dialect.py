"""Text tables as people and loggers write them: the recognized dialect, and the values that are read with it."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from pipeline.ingest.sources.dialect import Dialect, TextOptions, recognize
from pipeline.ingest.sources.table_cells import labels, numbers
from pipeline.ingest.sources.table_files import TableFile
from pipeline.ingest.sources.text_cells import has_unit, is_date

ROWS = ["1.5,2,-3", "4.25,5,6", "0.125,8,9"]
TRUTH = np.array([[1.5, 2, -3], [4.25, 5, 6], [0.125, 8, 9]])


def wrote(folder: Path, text: str, encoding: str = "utf-8", name: str = "log.csv") -> Path:
    file = folder / name
    data = text.encode(encoding)
    file.write_bytes(gzip.compress(data) if name.lower().endswith(".gz") else data)
    return file


def values(file: Path, options: TextOptions | None = None, columns: list[str] | None = None) -> np.ndarray:
    table = TableFile(file, options or TextOptions())
    names = columns or table.names()
    batches = [np.stack([numbers(table, name, b.column(name), 0) for name in names], 1) for b in table.batches(names)]
    return np.concatenate(batches)


def refusal(file: Path, options: TextOptions | None = None) -> str:
    with pytest.raises(ValueError) as caught:
        values(file, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("name", ["log.csv", "log.CSV", "log.txt", "log.dat", "LOG.CSV.GZ"])
def test_delimiters_are_recognized(delimiter: str, name: str, tmp_path: Path) -> None:
    file = wrote(tmp_path, "\n".join(["x,u,r", *ROWS]).replace(",", delimiter), name=name)
    assert (recognize(file).delimiter, recognize(file).names) == (delimiter, ("x", "u", "r"))
    np.testing.assert_array_equal(values(file), TRUTH)


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " "])
def test_a_decimal_comma_is_recognized(delimiter: str, tmp_path: Path) -> None:
    text = "\n".join(["x,u,r", *ROWS]).replace(",", delimiter).replace(".", ",")
    assert recognize(wrote(tmp_path, text)).decimal == ","
    np.testing.assert_array_equal(values(wrote(tmp_path, text)), TRUTH)


@pytest.mark.parametrize(
    ("cells", "delimiter", "expected"),
    [
        (["1.234,5", "12,25", "-1.000.000,0"], ";", [1234.5, 12.25, -1e6]),
        (["1,234.5", "12.25", "-1,000,000"], ";", [1234.5, 12.25, -1e6]),
        (['"1,234.5"', '"12.25"', '"-1,000,000"'], ",", [1234.5, 12.25, -1e6]),
        (['"1,5"', '"12,25"', "3"], ",", [1.5, 12.25, 3]),
        (["1'234.5", "12.25", "3"], ",", [1234.5, 12.25, 3]),
        (["1\u00a0234,5", "12,25", "3"], ";", [1234.5, 12.25, 3]),
        (["20,123", "1,500", "0,250"], ";", [20.123, 1.5, 0.25]),
        (["20,123", "21,500", "22,250"], ";", [20.123, 21.5, 22.25]),
        (["1,5E+03", "2,5e-1", "7"], "\t", [1500, 0.25, 7]),
        (["1.234", "2.345", "3.456"], ";", [1.234, 2.345, 3.456]),
    ],
)
def test_numbers_as_people_write_them(cells: list[str], delimiter: str, expected: list[float], tmp_path: Path) -> None:
    text = "\n".join([f"n{delimiter}x", *(f"{i}{delimiter}{cell}" for i, cell in enumerate(cells))])
    assert values(wrote(tmp_path, text), columns=["x"])[:, 0].tolist() == expected


def test_text_with_several_marks_is_no_number(tmp_path: Path) -> None:
    """Pairs, versions and addresses decide nothing about numbers."""
    text = "pair;version;ip;x\n0.1,0.2;1.2.3;192.168.0.1;1.5\n0.3,0.4;1.2.4;10.0.0.1;2.5\n"
    assert (recognize(wrote(tmp_path, text)).decimal, recognize(wrote(tmp_path, text)).thousands) == (".", None)


@pytest.mark.parametrize(
    ("cell", "date", "unit"),
    [
        *(
            (cell, True, False)
            for cell in ("2024-01-13", "13.01.24 08:15", "08/26  00:01:00", "13-Jan-2024", "8:15 PM")
        ),
        *((cell, True, False) for cell in ("2024-01-13T08:15:00.5Z", "Jan 13, 2024", "8:15 PM")),
        *((cell, True, False) for cell in ("16/12/2006", "13/01/2024 08:15:00 +01:00")),
        *((cell, False, True) for cell in ("20.5 °C", "45%", "45 %", "20,5kW", "3 bar", "-1.5 m/s")),
        *((cell, False, False) for cell in ("1.5", "10-12", "1st", "4x4", "low", "A7", "", "2.48e+03", "v1.2")),
    ],
)
def test_what_a_cell_is(cell: str, date: bool, unit: bool) -> None:
    assert (is_date(" ".join(cell.split())), has_unit(cell)) == (date, unit)


@pytest.mark.parametrize(
    ("cells", "options", "expected"),
    [
        (["1,234", "999", "1,000"], {}, 'line 2: column `x`: `1,234` has a comma; set `dataset.decimal: ","`'),
        (["2.5", "1.5", "1,25"], {"decimal": "."}, "line 4: column `x`: `1,25` has a comma; set `dataset.decimal"),
        (["12,5", "1,5", "1.25"], {}, "line 4: column `x`: `1.25` has a point, but the decimal mark is a comma"),
        (["1.234,5", "20.5", "7"], {"decimal": ",", "thousands": "."}, "line 3: column `x`: `20.5` has a point"),
        (["1.5 C", "20.5 C", "2 C"], {}, "line 2: column `x`: `1.5 C` is a number with its unit; remove units"),
        (["1.5", "Bad Input", "2"], {}, "line 3: column `x`: `Bad Input` is not a number; set `dataset.na_values: ["),
    ],
)
def test_numbers_in_doubt_are_refused(cells: list[str], options: dict[str, str], expected: str, tmp_path: Path) -> None:
    text = "\n".join(["n;x", *(f"{i};{cell}" for i, cell in enumerate(cells))])
    assert expected in refusal(wrote(tmp_path, text), TextOptions(**options))


def test_options_override_what_is_recognized(tmp_path: Path) -> None:
    file = wrote(tmp_path, "n;x\n1;1,234\n2;999\n3;1,000\n")
    assert values(file, TextOptions(thousands=","), ["x"])[:, 0].tolist() == [1234, 999, 1000]
    assert values(file, TextOptions(decimal=","), ["x"])[:, 0].tolist() == [1.234, 999, 1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
@pytest.mark.parametrize("delimiter", [";", " "])
def test_encodings_and_line_ends(encoding: str, delimiter: str, tmp_path: Path) -> None:
    text = "Wärme_°C;Öl\r\n1.5;2\r\n3.5;4\r\n".replace(";", delimiter)
    file = wrote(tmp_path, text, encoding)
    assert recognize(file).names == ("Wärme_°C", "Öl")
    np.testing.assert_array_equal(values(file), [[1.5, 2], [3.5, 4]])


def test_letters_after_the_first_bytes_need_the_encoding(tmp_path: Path) -> None:
    text = "x,unit\n" + "1.5,C\n" * 60_000 + "2.5,°C\n"
    file = wrote(tmp_path, text, "latin-1")
    assert "correct `dataset.delimiter` and `dataset.encoding`" in refusal(file)
    assert values(file, TextOptions(encoding="latin-1"), ["x"])[-1, 0] == 2.5


@pytest.mark.parametrize(
    ("header", "names", "lines"),
    [
        (["x,u,r"], ("x", "u", "r"), 1),
        ([" x, u ,  r"], ("x", "u", "r"), 1),
        (['"x [m]",u,r'], ("x [m]", "u", "r"), 1),
        (["# x,u,r"], ("x", "u", "r"), 1),
        (["#x,u,r"], ("x", "u", "r"), 1),
        (["x,u,r", "m,N,-"], ("x", "u", "r"), 2),
        (["x,u,r", "m,,"], ("x", "u", "r"), 2),
        (["Device: A7", "Serial,17", "", "x,u,r", "m,N,-", "position,force,kpi"], ("x", "u", "r"), 6),
        (["My test,,", "x,u,r"], ("x", "u", "r"), 2),
        (["room,room,plant", "x,u,x"], ("room x", "room u", "plant x"), 2),
        (["x,x,r"], ("x", "x.1", "r"), 1),
        (["Serial,17,18", "x,u,r"], ("x", "u", "r"), 2),
        (["Channels,2,", "Samples,10,10", "Unit,V,V", "x,u,r"], ("Unit x", "V u", "V r"), 4),
        (["# logger,v3", "# x,u,r"], ("x", "u", "r"), 2),
        (["room,room,plant", "x,u,x", "C,%,kPa"], ("room x", "room u", "plant x"), 3),
        ([",u,r"], ("column_1", "u", "r"), 1),
        (["u,r"], ("column_1", "u", "r"), 1),
        (["x,u,r,"], ("x", "u", "r"), 1),
        (['"x\n[m]",u,r'], ("x\n[m]", "u", "r"), 2),
        ([], ("column_1", "column_2", "column_3"), 0),
    ],
)
def test_lines_of_header(header: list[str], names: tuple[str, ...], lines: int, tmp_path: Path) -> None:
    file = wrote(tmp_path, "\n".join([*header, *ROWS, ""]))
    dialect = recognize(file)
    assert (dialect.names, dialect.header) == (names, lines)
    assert TableFile(file).place(0).endswith(f"line {lines + 1}")
    np.testing.assert_array_equal(values(file), TRUTH)


def test_what_the_user_should_know_is_noted(tmp_path: Path) -> None:
    def notes(*header: str) -> str:
        return " ".join(recognize(wrote(tmp_path, "\n".join([*header, *ROWS]))).notes)

    assert notes("x,u,r") == ""
    assert "line 1 holds numbers, not names: the columns are called column_1 to column_3" in notes()
    assert "not read as rows, because they are text above the numbers: line 2 (m, N, -)" in notes("x,u,r", "m,N,-")
    assert "1 repeated names of columns have a number added, such as x and x.1" in notes("x,x,r")
    assert "joined from lines 1, 2" in notes("a,a,b", "x,u,x")


def test_a_delimiter_at_the_end_of_lines_makes_no_column(tmp_path: Path) -> None:
    for header in ("x,u,r,", "x,u,r"):
        file = wrote(tmp_path, "\n".join([header, *(f"{row}," for row in ROWS)]))
        assert TableFile(file).names() == ["x", "u", "r"]
        np.testing.assert_array_equal(values(file), TRUTH)


def test_columns_and_rows_of_delimiters_alone_are_left_out(tmp_path: Path) -> None:
    """As in UCI's air quality table, which a spreadsheet wrote."""
    lines = ["x;u;r;;", *(row.replace(",", ";") + ";;" for row in ROWS)]
    file = wrote(tmp_path, "\n".join([*lines, *[";;;;"] * 3]))
    assert TableFile(file).names() == ["x", "u", "r"]
    np.testing.assert_array_equal(values(file), TRUTH)
    between = values(wrote(tmp_path, "\n".join([*lines, ";;;;", lines[1]])))
    np.testing.assert_array_equal(between, [*TRUTH, [np.nan] * 3, TRUTH[0]])


def test_column_names_for_a_file_without_any(tmp_path: Path) -> None:
    file = wrote(tmp_path, "\n".join(ROWS))
    assert TableFile(file, TextOptions(column_names=["a", "b", "c"])).names() == ["a", "b", "c"]
    assert "`dataset.column_names` has 2 names for 3 columns" in refusal(file, TextOptions(column_names=["a", "b"]))
    np.testing.assert_array_equal(values(file, TextOptions(column_names=["a", "b", "c"])), TRUTH)


def test_a_stated_header_counts(tmp_path: Path) -> None:
    file = wrote(tmp_path, "\n".join(["1,2,3", *ROWS]))
    assert recognize(file).header == 0
    assert TableFile(file, TextOptions(header=1)).names() == ["1", "2", "3"]
    np.testing.assert_array_equal(values(file, TextOptions(header=1)), TRUTH)


def test_rows_of_bad_cells_are_no_header(tmp_path: Path) -> None:
    """Text in all columns of a row is an outage of the logger, unless each cell has a text of its own."""
    lines = ["n,x,mode", "0,1,heat", "1,2,cool", "2,Bad,heat", "Bad,Bad,Bad", "4,3,off", "5,2,heat"]
    file = wrote(tmp_path, "\n".join(lines))
    assert recognize(file).header == 1
    found = values(file, TextOptions(na_values=["Bad"]), ["x"])[:, 0]
    np.testing.assert_array_equal(found, [1, 2, np.nan, np.nan, 3, 2])


@pytest.mark.parametrize("line", ["1,2", "1,2,3,4"])
def test_ragged_lines_are_named(line: str, tmp_path: Path) -> None:
    file = wrote(tmp_path, "\n".join(["x,u,r", "m,N,-", *ROWS, line, *ROWS]))
    expected = f"line 6: {len(line.split(','))} cells, but 3 in other lines (`{line}`); repair it"
    assert f"{file}: {expected}" in refusal(file)


def test_blanks_before_and_after_cells(tmp_path: Path) -> None:
    file = wrote(tmp_path, "  x   u  r  \n  1.5   2   -3 \n\t4.25\t 5 6\n0.125 8 9  \n", name="a.txt")
    np.testing.assert_array_equal(values(file), TRUTH)


def test_missing_values(tmp_path: Path) -> None:
    cells = ["1.5", "NaN", "NA", "null", "", " N/A ", "-9999", "-9999.00", "Bad Input", "2"]
    file = wrote(tmp_path, "\n".join(["n,x", *(f"{i},{cell}" for i, cell in enumerate(cells))]))
    found = values(file, TextOptions(na_values=[-9999.0, "Bad Input"]), ["x"])[:, 0]
    np.testing.assert_array_equal(found, [1.5, *[np.nan] * 8, 2])


def test_numbers_that_mean_missing_are_no_category(tmp_path: Path) -> None:
    file = TableFile(wrote(tmp_path, "n,gear\n0,1\n1,-9999\n2,-9999.0\n3,2\n"), TextOptions(na_values=[-9999.0]))
    (batch,) = file.batches(["gear"])
    assert labels(file, batch.column("gear")).to_pylist() == ["1", None, None, "2"]


def test_options_to_print_are_those_that_are_not_plain(tmp_path: Path) -> None:
    assert recognize(wrote(tmp_path, "\n".join(["x,u,r", *ROWS]))).options == {}
    text = "x;u\nm;N\n1,5;2\n2,5;3\n"
    assert recognize(wrote(tmp_path, text, "utf-16")).options == {
        "delimiter": ";",
        "decimal": ",",
        "encoding": "utf-16",
        "header": 2,
    }
    assert isinstance(recognize(wrote(tmp_path, text)), Dialect)
