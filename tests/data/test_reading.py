"""Tests that files of every kind, clones and the hub are read, and that what cannot be read is named with the fix."""

import csv
import gzip
import json

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from problem_rows import jsonl, sums

from frpo_verl.data import catalogue, reading
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Problem

PART = catalogue.parts("math500")[0]
ROWS = sums(2500)


def problems(rows):
    return [Problem(row["problem"], row["answer"], row["id"]) for row in rows]


def read(source, part=PART):
    return list(reading.find(part, None if source is None else str(source)).problems())


def write(path, rows):
    opener = gzip.open if path.suffix == ".gz" else open
    kind = path.name.split(".")[1]
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=700)
        return
    with opener(path, "wt", newline="") as file:
        if kind in ("csv", "tsv"):
            table = csv.DictWriter(file, list(rows[0]), delimiter={"csv": ",", "tsv": "\t"}[kind])
            table.writeheader()
            table.writerows(rows)
        elif kind == "json":
            json.dump(rows, file, indent=1)
        else:
            file.writelines(json.dumps(row) + "\n\n" for row in rows)


@pytest.mark.parametrize("name", ["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "jsonl.gz", "json.gz", "csv.gz"])
def test_every_kind_of_file_has_its_rows(tmp_path, name):
    write(tmp_path / f"rows.{name}", ROWS)
    assert read(tmp_path / f"rows.{name}") == problems(ROWS)


def test_lines_in_a_file_that_is_called_json(tmp_path):
    assert read(jsonl(tmp_path / "rows.json", ROWS)) == problems(ROWS)


def test_cells_of_a_table_stay_text_and_a_byte_order_mark_is_skipped(tmp_path):
    cells = ["0.50", "NA", "3.14159265358979323846", "007"]
    (tmp_path / "rows.csv").write_text("\ufeffproblem,answer\n" + "".join(f"x,{cell}\n" for cell in cells))
    assert [each.answer for each in read(tmp_path / "rows.csv")] == cells


def test_numbers_lists_and_texts_may_be_answers_of_one_file(tmp_path):
    answers = [1, "a", ["b", "c"], 2.0, 2.5]
    path = jsonl(tmp_path / "rows.jsonl", [{"problem": "x", "answer": answer} for answer in answers])
    assert [each.answer for each in read(path)] == ["1", "a", "b, c", "2", "2.5"]


def test_a_number_that_lost_digits_is_refused(tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", [{"problem": "x", "answer": 12345678901234567890}])
    with pytest.raises(DataError, match=r"row 1: the answer 1.23457e\+19 has lost digits as a number; write it as tex"):
        read(path)
    path = jsonl(tmp_path / "rows.jsonl", [{"problem": "x", "answer": 1234567890123456789}])
    assert read(path)[0].answer == "1234567890123456789"


def test_another_file_of_the_same_name_is_another_source(tmp_path):
    path = tmp_path / "rows.jsonl"
    first = reading.find(PART, jsonl(path, ROWS[:2])).identity
    assert reading.find(PART, str(path)).identity == first
    assert reading.find(PART, jsonl(path, ROWS[:3])).identity != first


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.jsonl", b'{"problem": "x"}\n{"prob', r"cannot be read \(JSON parse error: .* in row 1\); correct the"),
        ("rows.jsonl", b"[1, 2]\n", "row 1: there is no column problem or question with the problem"),
        ("rows.jsonl", b"\xff\xfe{", "cannot be read .*; correct the file, or download it again from https://hugg"),
        ("rows.jsonl", b'{"problem": "\\ud800", "answer": 1}', "cannot be read .*surrogate"),
        ("rows.jsonl.gz", b"\x1f\x8b\x08cut", "cannot be read .*end-of-stream"),
        ("rows.jsonl.gz", b"no gzip at all", "cannot be read .*Not a gzipped file"),
        ("rows.csv", b"problem,answer\nx,1\n\xff\xfe", "cannot be read .*can't decode"),
        ("rows.json", b'[{"problem": 1},', "cannot be read"),
        ("rows.parquet", b"PAR1 and no more", "cannot be read .*not a parquet file"),
        ("rows.jsonl", b"", "the file is empty; download it again from https://huggingface.co/datasets/HuggingFaceH4"),
        ("rows.xlsx", b"x", r"files of this kind cannot be read; give one of \.jsonl"),
        ("rows.parquet.gz", b"x", "files of this kind cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_fix(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_a_file_that_does_not_exist():
    with pytest.raises(DataError, match=r"--source no/such/file.jsonl: there is no such file; give a .jsonl"):
        read("no/such/file.jsonl")


@pytest.fixture
def clone(tmp_path):
    """A repository with two splits, as `openai/gsm8k` is laid out on the hub."""
    splits = "".join(f"  - split: {split}\n    path: main/{split}.jsonl\n" for split in ("train", "test"))
    (tmp_path / "main").mkdir()
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: main\n  data_files:\n{splits}---\n")
    jsonl(tmp_path / "main" / "train.jsonl", ROWS[:20])
    jsonl(tmp_path / "main" / "test.jsonl", ROWS[20:25])
    return tmp_path


def test_a_clone_of_a_repository_is_read_as_the_hub_is(clone):
    test, train = catalogue.parts("gsm8k")
    assert read(clone, test) == problems(ROWS[20:25])
    assert read(clone, train) == problems(ROWS[:20])


def test_a_changed_clone_is_another_source(clone):
    part = catalogue.parts("gsm8k_test")[0]
    first = reading.find(part, str(clone)).identity
    assert reading.find(part, str(clone)).identity == first
    jsonl(clone / "main" / "test.jsonl", ROWS[:1])
    assert reading.find(part, str(clone)).identity != first


def test_a_clone_of_something_else(clone, tmp_path_factory):
    says = (
        r"cannot be read \(BuilderConfig.*\); olympiad_bench is read as split train of config OE_TO_maths_en_COMP; give"
    )
    with pytest.raises(DataError, match=says):
        read(clone, catalogue.parts("olympiad_bench")[0])
    with pytest.raises(
        DataError, match="is read as split test; give a clone of https://huggingface.co/datasets/math-ai/amc23, or"
    ):
        read(tmp_path_factory.mktemp("empty"), catalogue.parts("amc23")[0])


def test_the_hub_is_asked_for_the_sets_own_repository_or_a_known_or_unknown_other_one(monkeypatch):
    def load(repository, config, *, split):
        asked.append((repository, config, split))
        return datasets.Dataset.from_list(ROWS[:10])

    asked, part = [], catalogue.parts("aime24")[0]
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read(None, part) == problems(ROWS[:10])
    read("math-ai/aime24", part)
    read("somebody/aime-2024", part)
    assert asked == [
        ("HuggingFaceH4/aime_2024", None, "train"),
        ("math-ai/aime24", None, "test"),
        ("somebody/aime-2024", None, "test"),
    ]


def test_without_a_network_the_message_says_what_to_download_and_how_to_give_it(monkeypatch):
    """The real `datasets`, which asks nobody when it is told to stay offline."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as error:
        read("frpo-verl/there-is-no-such-set")
    assert str(error.value) == (
        "frpo-verl/there-is-no-such-set: cannot be read (Couldn't reach 'frpo-verl/there-is-no-such-set' on the Hub "
        "(OfflineModeIsEnabled)); check the network and that it has a split test, or download the data file "
        "from https://huggingface.co/datasets/frpo-verl/there-is-no-such-set and give it: frpo-verl data math500 "
        "--source FILE"
    )


def test_a_hub_that_goes_away_says_where(monkeypatch):
    def rows():
        yield from ROWS[:3]
        raise ConnectionError("gone\nin some way")

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows())
    got = reading.find(PART, None).problems()
    assert [next(got) for _ in range(3)] == problems(ROWS[:3])
    with pytest.raises(DataError, match=r"MATH-500: cannot be read after row 3 \(gone\); check the network and that"):
        next(got)
