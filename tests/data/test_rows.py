"""Files that are long, cut or broken: what is sound in them is still read, and what is not is noted."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r1reward import files
from r1reward.data import rows
from r1reward.data.rows import MAX_DETAIL, Quarantine, Sifted, scan_json_list, scan_parquet, sift
from r1reward.files import RefusedRow, scan_jsonl


def test_rows_that_are_lost_together_keep_their_numbers() -> None:
    """As those of a broken part of a parquet file."""
    lost = RefusedRow("f, row 2", "broken", rows=3)
    rows = [("f, row 1", {}), ("f, row 2", lost), ("f, row 5", {})]
    assert sift(rows, lambda number, row, origin: number) == Sifted([0, 4], {"broken": 3})


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 100)
    exact = b'{"a": "' + b"x" * 90 + b'"}'
    path = tmp_path / "rows.jsonl"
    path.write_bytes(exact + b"\n" + b"y" * 5000 + b"\n" + b'{"a": 3}\n' + b"z" * 101)
    found = list(scan_jsonl(path))
    assert len(exact) == 99 and [origin[-5:] for origin, _ in found] == [f"row {n}" for n in (1, 2, 3, 4)]
    assert [row.reason if isinstance(row, RefusedRow) else len(row) for _, row in found] == [
        1,
        "line too long",
        1,
        "line too long",
    ]


def test_faulty_lines_stand_between_good_ones(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [b'\xef\xbb\xbf{"a": 1}', b"", b"{", b"[1]", b'{"a": "\xff"}', b"[" * 100_000, b'{"a": NaN}']
    path.write_bytes(b"\n".join(lines))
    found = [row.reason if isinstance(row, RefusedRow) else [*row] for _, row in scan_jsonl(path)]
    assert found == [["a"], "not JSON", "not an object", "not JSON", "not JSON", ["a"]]


def test_a_wrong_byte_in_a_list_spoils_only_its_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"a": "good"}, {"a": "\xff"}, 3, {"a": "good"}]')
    found = [row.reason if isinstance(row, RefusedRow) else row["a"] for _, row in scan_json_list(path)]
    assert found == ["good", "\udcff", "not an object", "good"]


def test_a_list_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_LIST_BYTES", 10)
    (tmp_path / "rows.json").write_text("[1, 2, 3, 4]")
    ((_, fault),) = scan_json_list(tmp_path / "rows.json")
    assert isinstance(fault, RefusedRow) and fault.reason == "file too large"


def test_a_broken_row_group_does_not_move_the_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"a": [f"{index} " + "text " * 100 for index in range(6)]})
    pq.write_table(table, path, row_group_size=2, use_dictionary=False, compression="zstd")
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    end = chunk.data_page_offset + chunk.total_compressed_size
    data[end - 40 : end] = b"\0" * 40
    path.write_bytes(data)
    found = list(scan_parquet(path, ["a"]))
    assert [origin.removeprefix(f"{path}, ") for origin, _ in found] == [
        "row 1",
        "row 2",
        "rows 3 to 4",
        "row 5",
        "row 6",
    ]
    fault = found[2][1]
    assert isinstance(fault, RefusedRow) and fault.rows == 2


def test_text_of_a_column_that_is_not_unicode(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    column = pa.array([b"good", b"\xff", b"good"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"a": column}), path)
    found = [row.reason if isinstance(row, RefusedRow) else row["a"] for _, row in scan_parquet(path, ["a"])]
    assert found == ["good", "unreadable value", "good"]


def test_rows_before_the_fault_of_a_list_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(' [{"a": 1} ,\n7, {"a": 2}, {"a"')
    rows = [row for _, row in scan_json_list(path)]
    assert [row for row in rows if isinstance(row, dict)] == [{"a": 1}, {"a": 2}]
    assert [fault.rows for fault in rows if isinstance(fault, RefusedRow)] == [1, 0]
    assert "not JSON after row 3" in str(rows[-1])


@pytest.mark.parametrize("text", ["[]", " [ ] \n"])
def test_an_empty_list_has_no_rows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    assert list(scan_json_list(path)) == []


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Eight rows in two groups, of numbers, texts, lists and bytes."""
    rows = [{"a": index, "b": f"text {index}", "c": [index] * 3, "d": b"bytes"} for index in range(8)]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4)
    return path


def test_any_flipped_byte_of_a_footer_is_a_fault_of_the_file(table: Path) -> None:
    """The footer says where everything is and how large: what it says wrongly leads the reader anywhere."""
    whole = table.read_bytes()
    length = int.from_bytes(whole[-8:-4], "little") + 8
    rng = np.random.default_rng(0)
    faults = 0
    for place in range(len(whole) - length, len(whole)):
        data = bytearray(whole)
        data[place] ^= int(rng.integers(1, 256))
        table.write_bytes(data)
        for origin, row in scan_parquet(table, ["a", "b", "c", "d"]):
            assert origin.startswith(str(table))
            assert isinstance(row, RefusedRow | dict)
            faults += isinstance(row, RefusedRow)
    assert faults > length / 4


@pytest.mark.parametrize("error", [MemoryError(), pa.ArrowMemoryError("malloc of size 65536 failed")])
def test_no_memory_is_no_fault_of_a_row(
    error: Exception, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows.pq, "ParquetFile", fail)
        with pytest.raises(MemoryError):
            list(scan_parquet(table, ["a"]))
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    with pytest.raises(MemoryError):
        list(scan_parquet(table, ["a"]))


def test_a_size_that_no_machine_has_is_a_fault_of_the_file(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 9223372036854775807 failed")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    found = [row for _, row in scan_parquet(table, ["a"])]
    assert [row.reason for row in found if isinstance(row, RefusedRow)] == ["broken parquet data"] * 2


def test_rows_are_counted_and_written_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "quarantine.jsonl"
    with Quarantine(path) as quarantine:
        for _ in range(2):
            quarantine.add("dropped", "povid", "a.json, row 1", "tie")
            quarantine.add("refused", "povid", "a.json, row 2", "not JSON", "not JSON: line 1")
        quarantine.add("dropped", "rlaif_v", "a.json, row 1", "tie")
    assert quarantine.counts["povid"] == {"dropped": Counter(tie=1), "refused": Counter({"not JSON": 1})}
    assert quarantine.counts["rlaif_v"] == {"dropped": Counter(tie=1), "refused": Counter()}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["source"] for row in rows] == ["povid", "povid", "rlaif_v"]
    assert rows[1] == {
        "source": "povid",
        "kind": "refused",
        "origin": "a.json, row 2",
        "reason": "not JSON",
        "detail": "not JSON: line 1",
    }


def test_long_and_broken_text_is_written_short_and_whole(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        quarantine.add("refused", "povid", "\udcff.json, row 1", "picture not found", "x" * 100_000)
    line = (tmp_path / "q.jsonl").read_bytes()
    assert len(line) < MAX_DETAIL + 300
    assert json.loads(line)["detail"].endswith("… (100000 characters)")


def test_a_refusal_names_its_row() -> None:
    assert str(RefusedRow("a.json, row 3", "not JSON", "line 1")) == "a.json, row 3: line 1"
    assert str(RefusedRow("a.json, row 3", "not JSON")) == "a.json, row 3: not JSON"
