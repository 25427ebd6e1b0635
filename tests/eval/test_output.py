"""Table, JSON and CSV say the same."""

import csv
import json

from frpo_verl.eval import output
from frpo_verl.eval.measured import Estimate
from frpo_verl.eval.output import Result
from frpo_verl.evaluation.intervals import Interval

RESULTS = [
    Result(
        step=20,
        data_source="aime24",
        seeds=["runs/a", "runs/b"],
        problems=30,
        samples=(16, 16),
        estimates=[
            Estimate("mean@k", None, 0.25, Interval(0.125, 0.375), Interval(-0.5, 1.0), None, [0.2, 0.3]),
            Estimate("best@k", 4, 0.5, Interval(0.25, 0.75), Interval(0.5, 0.5), 0.125, [0.5, 0.5]),
        ],
    ),
    Result(None, "all", ["g.parquet"], 1, (2, 3), [Estimate("pass@k", 2, 1.0, None, None, None, [1.0])]),
]
TABLE = """\
step 20, aime24, 30 problems x 16 samples, 2 seeds
        value  95 % over problems  95 % over seeds  bootstrap deviation
mean@k  0.250  0.125 to 0.375      -0.500 to 1.000  -
best@4  0.500  0.250 to 0.750      0.500 to 0.500   0.125

1 problems x 2 to 3 samples, g.parquet
        value
pass@2  1.000"""


def test_the_table_leaves_out_columns_that_say_nothing():
    assert output.table(RESULTS) == TABLE


def test_json_has_every_digit_and_says_how(tmp_path):
    output.write_json(tmp_path / "o.json", RESULTS, {"sources": ["runs/a", "runs/b"]})
    said = json.loads((tmp_path / "o.json").read_text())
    assert said["sources"] == ["runs/a", "runs/b"] and "Student's t" in said["methods"]["over seeds"]
    assert said["results"][1] == {
        "step": 20,
        "data_source": "aime24",
        "quantity": "best@k",
        "k": 4,
        "value": 0.5,
        "problems_low": 0.25,
        "problems_high": 0.75,
        "seeds_low": 0.5,
        "seeds_high": 0.5,
        "deviation": 0.125,
        "by_seed": [0.5, 0.5],
        "seeds": ["runs/a", "runs/b"],
        "problems": 30,
        "least_samples": 16,
        "most_samples": 16,
    }
    assert said["results"][2]["problems_low"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["o.json"]


def test_csv_has_the_same_rows(tmp_path):
    output.write_csv(tmp_path / "o.csv", RESULTS)
    with (tmp_path / "o.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["quantity"] for row in rows] == ["mean@k", "best@k", "pass@k"]
    assert rows[0]["seeds"] == "runs/a;runs/b" and rows[0]["by_seed"] == "0.2;0.3"
    assert rows[0]["k"] == "" and rows[1]["k"] == "4" and rows[2]["step"] == ""


def test_without_results_the_files_are_there_and_say_so(tmp_path):
    output.write_csv(tmp_path / "o.csv", [])
    output.write_json(tmp_path / "o.json", [], {"problems": ["x"]})
    assert (tmp_path / "o.csv").read_text() == "step\n"
    assert json.loads((tmp_path / "o.json").read_text())["results"] == []
