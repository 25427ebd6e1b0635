"""Local files of every kind, and the hub's layout."""

import csv
import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
from problem_rows import jsonl, sums

from frpo_verl.data import catalogue, sources
from frpo_verl.data.errors import DataError

PART = catalogue.parts("math500")[0]
ROWS = sums(2500)


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
@pytest.mark.parametrize("start", [0, 1, 699, 700, 1500, 2500, 2501])
def test_every_kind_of_file_has_its_rows_from_any_position_on(tmp_path, name, start):
    write(tmp_path / f"rows.{name}", ROWS)
    assert list(sources.find(PART, str(tmp_path / f"rows.{name}")).rows(start)) == ROWS[start:]


def test_lines_in_a_file_that_is_called_json(tmp_path):
    assert list(sources.find(PART, jsonl(tmp_path / "rows.json", ROWS)).rows(0)) == ROWS


def test_a_mark_of_the_byte_order_is_no_text(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("\ufeffproblem,answer\nx,1\n".encode())
    assert list(sources.find(PART, str(path)).rows(0)) == [{"problem": "x", "answer": "1"}]


def test_another_file_of_the_same_name_is_another_source(tmp_path):
    path = tmp_path / "rows.jsonl"
    first = sources.find(PART, jsonl(path, ROWS[:2])).identity
    assert sources.find(PART, str(path)).identity == first
    assert sources.find(PART, jsonl(path, ROWS[:3])).identity != first


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.jsonl", b'{"problem": "x"}\n{"prob', r"line 2: not JSON \(.*\); mend it, or take it out"),
        ("rows.jsonl", b"[1, 2]\n", "line 1: a JSON list where an object with columns should be"),
        ("rows.jsonl", b"\xff\xfe{", "not UTF-8 text, or cut off"),
        ("rows.jsonl.gz", b"\x1f\x8b\x08cut", "not UTF-8 text, or cut off"),
        ("rows.jsonl.gz", b"no gzip at all", "not UTF-8 text, or cut off"),
        ("rows.csv", b"problem\n\xff\xfe", "not a table in UTF-8 text"),
        ("rows.json", b'[{"problem": 1},', "not a JSON array"),
        ("rows.json", b"[1]", "not every element of the array is an object"),
        ("rows.parquet", b"PAR1 and no more", "not a parquet file, or cut off"),
        ("rows.jsonl", b"", "the file is empty; download it again from https://huggingface.co/datasets/HuggingFaceH4"),
        ("rows.xlsx", b"x", r"files of this kind cannot be read; give one of \.jsonl"),
        ("rows.parquet.gz", b"x", "files of this kind cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_fix(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        list(sources.find(PART, str(tmp_path / name)).rows(0))
    assert str(tmp_path / name) in str(error.value)


def test_a_file_that_does_not_exist():
    with pytest.raises(DataError, match=r"--source no/such/file.jsonl: there is no such file; give a .jsonl"):
        sources.find(PART, "no/such/file.jsonl")


@pytest.fixture
def clone(tmp_path):
    """A repository with two configurations, as `openai/gsm8k` is laid out on the hub."""
    splits = "".join(f"  - split: {split}\n    path: main/{split}.jsonl\n" for split in ("train", "test"))
    (tmp_path / "main").mkdir()
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: main\n  data_files:\n{splits}---\n")
    jsonl(tmp_path / "main" / "train.jsonl", ROWS[:20])
    jsonl(tmp_path / "main" / "test.jsonl", ROWS[20:25])
    return tmp_path


def test_a_clone_of_a_repository_is_read_as_the_hub_is(clone):
    test, train = catalogue.parts("gsm8k")
    assert list(sources.find(test, str(clone)).rows(0)) == ROWS[20:25]
    assert list(sources.find(train, str(clone)).rows(13)) == ROWS[13:20]


def test_a_changed_clone_is_another_source(clone):
    part = catalogue.parts("gsm8k_test")[0]
    first = sources.find(part, str(clone)).identity
    assert sources.find(part, str(clone)).identity == first
    jsonl(clone / "main" / "test.jsonl", ROWS[:1])
    assert sources.find(part, str(clone)).identity != first


def test_a_clone_of_something_else(clone, tmp_path_factory):
    olympiad = catalogue.parts("olympiad_bench")[0]
    with pytest.raises(DataError, match="olympiad_bench is not in it as config=OE_TO_maths_en_COMP, split=train"):
        sources.find(olympiad, str(clone)).connect()
    with pytest.raises(
        DataError, match="no data file is in this folder; clone https://huggingface.co/datasets/math-ai"
    ):
        sources.find(catalogue.parts("amc23")[0], str(tmp_path_factory.mktemp("empty"))).connect()


@pytest.fixture
def hub(monkeypatch):
    """The hub's outermost edge: what was asked for, and what it answers."""
    import datasets

    asked = []

    def load(repository, config, *, split, streaming):
        asked.append((repository, config, split, streaming))
        return datasets.Dataset.from_list(ROWS[:10]).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def test_the_hub_is_asked_for_the_sets_own_repository_or_a_known_or_unknown_other_one(hub):
    part = catalogue.parts("aime24")[0]
    assert list(sources.find(part, None).rows(4)) == ROWS[4:10]
    sources.find(part, "math-ai/aime24").connect()
    sources.find(part, "somebody/aime-2024").connect()
    assert hub == [
        ("HuggingFaceH4/aime_2024", None, "train", True),
        ("math-ai/aime24", None, "test", True),
        ("somebody/aime-2024", None, "test", True),
    ]


def test_a_hub_out_of_reach_says_what_to_download_and_how_to_give_it(monkeypatch):
    import datasets

    def load(*args, **options):
        raise ConnectionError("Couldn't reach the Hub\nin any way")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError) as error:
        sources.find(PART, None).connect()
    assert str(error.value) == (
        "HuggingFaceH4/MATH-500: the hub cannot be reached, or has no such repository; download the data file from "
        "https://huggingface.co/datasets/HuggingFaceH4/MATH-500 where there is a network, and give it: frpo-verl data "
        "math500 --source FILE (Couldn't reach the Hub)"
    )


def test_a_hub_that_goes_away_says_where(monkeypatch):
    import datasets

    def rows():
        yield from ROWS[:3]
        raise ConnectionError("gone")

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.IterableDataset.from_generator(rows))
    got = sources.find(PART, None).rows(0)
    assert [next(got) for _ in range(3)] == ROWS[:3]
    with pytest.raises(DataError, match=r"reading stopped after row 3 \(.*gone.*\); give the same command again"):
        next(got)
