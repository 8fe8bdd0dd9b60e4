import hashlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward import files


def test_write_atomic_makes_folders_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    files.write_atomic(path, "old")
    files.write_atomic(path, "neu ü".encode())
    assert path.read_text(encoding="utf-8") == "neu ü"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_write_atomic_keeps_the_old_file_when_the_disk_fails(tmp_path, monkeypatch):
    path = files.write_atomic(tmp_path / "file.txt", "old")

    def fail(handle):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_write_json_is_sorted_and_ends_with_a_newline(tmp_path):
    path = files.write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    assert path.read_text().startswith('{\n  "a"')
    assert path.read_text().endswith("}\n")
    assert files.read_json(path) == {"a": [1.5, None], "b": 1}


def test_read_json_names_the_file(tmp_path):
    path = files.write_atomic(tmp_path / "broken.json", "{")
    with pytest.raises(ValueError, match=r"broken\.json: not JSON"):
        files.read_json(path)


rows = st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=3), max_size=6)


@given(rows, rows)
def test_appended_rows_come_back(tmp_path_factory, first, second):
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    files.append_jsonl(path, first)
    for row in second:
        files.append_jsonl(path, row)
    assert (files.read_jsonl(path) if first + second else []) == first + second


@given(st.dictionaries(st.text(), st.text(), min_size=1, max_size=3), st.data())
def test_a_write_cut_anywhere_loses_only_the_cut_row(tmp_path_factory, row, data):
    whole = json.dumps(row, ensure_ascii=False).encode()
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    files.append_jsonl(path, {"kept": 1})
    path.write_bytes(path.read_bytes() + whole[:cut])
    survivors = [{"kept": 1}, row] if cut == len(whole) else [{"kept": 1}]

    assert files.read_jsonl(path, drop_partial=True) == survivors
    files.append_jsonl(path, {"next": 2})
    assert files.read_jsonl(path) == [*survivors, {"next": 2}]


def test_read_jsonl_names_file_and_row(tmp_path):
    path = files.write_atomic(tmp_path / "rows.jsonl", '{"a": 1}\n{"a": \n{"a": 3}\n')
    for drop_partial in (False, True):
        with pytest.raises(ValueError, match=r"rows\.jsonl, row 2: "):
            files.read_jsonl(path, drop_partial=drop_partial)


def test_read_jsonl_refuses_rows_that_are_not_objects(tmp_path):
    path = files.write_atomic(tmp_path / "rows.jsonl", "[1]\n")
    with pytest.raises(ValueError, match="row 1: expected a JSON object, got list"):
        files.read_jsonl(path)


def test_sha256_file(tmp_path):
    data = b"x" * (3 << 20)
    path = files.write_atomic(tmp_path / "big", data)
    assert files.sha256_file(path) == hashlib.sha256(data).hexdigest()
