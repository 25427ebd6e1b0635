"""Files of graded responses, and what is said of wrong ones."""

import json

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

from frpo_verl.trainers import graded  # noqa: E402
from frpo_verl.trainers.ragged import Ragged  # noqa: E402

LONGEST = 100


class Letters:
    """A tokenizer with an id for each small letter, and 0 for the end."""

    eos_token_id = 0

    def __len__(self):
        return 27

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [25] * add_special_tokens + [ord(letter) - 96 for letter in text]}

    def apply_chat_template(self, messages, add_generation_prompt, tokenize, return_dict):
        assert add_generation_prompt and tokenize and return_dict
        return self("".join(message["role"][0] + message["content"] for message in messages) + "a", False)

    def get_vocab(self):
        return {chr(96 + i): i for i in range(27)}


ROWS = {
    "prompt_ids": [[1, 2], [3]],
    "response_ids": [[[4, 5, 0], [6]], [[7, 0]]],
    "scores": [[1.0, 0.0], [0.5]],
}


@pytest.fixture
def written(tmp_path):
    """Writes a file of columns; with `metadata`, that is its own."""

    def write(columns, metadata=None, name="rows.parquet"):
        table = pa.table(columns)
        if metadata is not None:
            table = table.replace_schema_metadata({"frpo_verl": json.dumps(metadata)})
        parquet.write_table(table, tmp_path / name)
        return str(tmp_path / name)

    return write


def read(*files, longest=LONGEST):
    return graded.read(files, Letters(), longest)


def refused(*files, longest=LONGEST):
    found = read(*files, longest=longest)
    assert found.graded is None
    return found.problems


def rows_of(ragged):
    return [ragged.row(i).tolist() for i in range(len(ragged))]


@pytest.mark.parametrize("lone", ["prompt_ids", "response_ids"])
def test_ids_without_their_other_half_are_not_read(written, lone):
    texts = {"prompt": ["ab", "c"], "responses": [["d", "e"], ["f"]]}
    found, expected = (
        read(written({**texts, **ids, "scores": ROWS["scores"]})).graded for ids in ({lone: ROWS[lone]}, {})
    )
    assert rows_of(found.prompts) == rows_of(expected.prompts)
    assert rows_of(found.responses) == rows_of(expected.responses)


def test_ids_are_taken_as_they_stand(written):
    found = read(written(ROWS)).graded
    assert rows_of(found.prompts) == [[1, 2], [3]]
    assert rows_of(found.responses) == [[4, 5, 0], [6], [7, 0]]
    assert found.scores.tolist() == [1.0, 0.0, 0.5]
    assert found.first.tolist() == [0, 2, 3]
    assert found.prompt_of().tolist() == [0, 0, 1]


def test_texts_are_tokenized_and_only_the_prompt_begins_and_only_the_response_ends(written):
    columns = {"prompt": ["ab", "c"], "responses": [["d", "e"], ["fg"]], "scores": [[1, 0], [1]]}
    found = read(written(columns)).graded
    assert rows_of(found.prompts) == [[25, 1, 2], [25, 3]]
    assert rows_of(found.responses) == [[4, 0], [5, 0], [6, 7, 0]]


def test_chat_messages_get_the_template(written):
    columns = {"prompt": [[{"role": "user", "content": "b"}]], "responses": [["d"]], "scores": [[1.0]]}
    assert rows_of(read(written(columns)).graded.prompts) == [[21, 2, 1]]


def test_files_follow_one_another(written):
    found = read(written(ROWS, name="a.parquet"), written(ROWS, name="b.parquet")).graded
    assert rows_of(found.prompts) == [[1, 2], [3]] * 2
    assert found.first.tolist() == [0, 2, 3, 5, 6]
    assert found.prompt_of().tolist() == [0, 0, 1, 2, 2, 3]


def test_a_file_in_several_row_groups_is_read_in_order(tmp_path):
    parquet.write_table(pa.table(ROWS), tmp_path / "groups.parquet", row_group_size=1)
    assert rows_of(read(str(tmp_path / "groups.parquet")).graded.responses) == [[4, 5, 0], [6], [7, 0]]


def test_scores_may_be_integers_or_booleans(written):
    assert read(written({**ROWS, "scores": [[True, False], [True]]})).graded.scores.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"response_ids": [[[4], []], [[7]]]}, "row 0, column response_ids: a response without a token"),
        ({"prompt_ids": [[1], []]}, "row 1, column prompt_ids: a prompt without a token"),
        ({"response_ids": [[[4], [27]], [[7]]]}, "row 0, column response_ids: an id that is not one of the 27"),
        ({"response_ids": [[[4], [5]], [[-1]]]}, "row 1, column response_ids: an id that is not one of the 27"),
        ({"prompt_ids": [[99], [1]]}, "row 0, column prompt_ids: an id that is not one of the 27"),
        ({"scores": [[1.0], [0.5]]}, "row 0, column scores: 1 scores for 2 responses"),
        ({"scores": [[1.0, float("nan")], [0.5]]}, "row 0, column scores: a score that is not a finite number"),
        ({"scores": [[1.0, None], [0.5]]}, "row 0, column scores: nothing stands there"),
        ({"scores": [[1.0, 0.0], None]}, "row 1, column scores: nothing stands there"),
        ({"response_ids": [[[4], None], [[7]]]}, "row 0, column response_ids: nothing stands there"),
        ({"response_ids": [[[4], [5]], [[None]]]}, "row 1, column response_ids: nothing stands there"),
        ({"response_ids": [[[4], [5]], []], "scores": [[1.0, 1.0], []]}, "row 1, column response_ids: no response"),
        ({"scores": [1.0, 0.5]}, "column scores: it holds double, and must hold a list of numbers"),
        ({"response_ids": [[4], [5]]}, "column response_ids: it holds list<element: int64>, and must hold a list of"),
        ({"prompt_ids": ["a", "b"]}, "column prompt_ids: it holds string, and must hold a list of token ids"),
    ],
)
def test_says_file_row_and_column_of_what_is_wrong(written, change, sentence):
    path = written({**ROWS, **change})
    (found,) = refused(path)
    assert found.startswith(f"data.train_files={path}, {sentence}")


def test_counts_further_rows_with_the_same_mistake(written):
    rows = {"prompt_ids": [[1]] * 5, "response_ids": [[[]], [[1]], [[]], [[]], [[1]]], "scores": [[1.0]] * 5}
    (found,) = refused(written(rows))
    assert "row 0 (and 2 more rows), column response_ids: a response without a token" in found


def test_a_row_with_two_of_a_kind_is_one_row(written):
    rows = {"prompt_ids": [[1]] * 2, "response_ids": [[[], []], [[], [3]]], "scores": [[1.0, 0.0]] * 2}
    (found,) = refused(written(rows))
    assert "row 0 (and 1 more rows), column" in found


def test_all_mistakes_of_all_files_are_named_at_once(written, tmp_path):
    (tmp_path / "text.parquet").write_text("not parquet")
    problems = refused(
        written({**ROWS, "scores": [[1.0, np.inf], [0.5]], "prompt_ids": [[1], [50]]}, name="a.parquet"),
        str(tmp_path / "text.parquet"),
        str(tmp_path / "missing.parquet"),
        written({"prompt": ["a"]}, name="b.parquet"),
        written({name: column[:0] for name, column in ROWS.items()}, name="empty.parquet"),
    )
    told = "\n".join(problems)
    assert len(problems) == 6
    assert "an id that is not one of" in told and "not a finite number" in told
    assert "text.parquet: not a valid parquet file" in told
    assert "missing.parquet: there is no such file" in told
    assert "b.parquet: it has no column responses, scores, only prompt;" in told
    assert "empty.parquet: it has no rows" in told


def test_no_file_at_all_is_refused():
    assert refused() == ["data.train_files: it names no file; give a parquet file of graded responses"]


def test_a_prompt_and_response_must_fit(written):
    assert read(written(ROWS), longest=5).graded is not None
    (found,) = refused(written(ROWS), longest=4)
    assert "row 0, column response_ids: a prompt and response of 5 tokens, and data.max_length=4; raise it" in found


def test_ids_of_another_vocabulary_are_refused(written):
    own = graded.fingerprint(Letters())
    assert read(written(ROWS, {"tokenizer": own})).graded is not None
    (found,) = refused(written(ROWS, {"tokenizer": "another", "model": "llama"}))
    assert "its token ids are those of llama, whose vocabulary is not the policy's" in found


def test_a_fingerprint_is_of_ids_and_their_meaning():
    class Swapped(Letters):
        def get_vocab(self):
            return {**super().get_vocab(), "a": 2, "b": 1}

    class Reordered(Letters):
        def get_vocab(self):
            return dict(reversed(super().get_vocab().items()))

    assert graded.fingerprint(Swapped()) != graded.fingerprint(Letters())
    assert graded.fingerprint(Reordered()) == graded.fingerprint(Letters())


def test_ragged_rows_come_back():
    rows = [[1, 2], [], [3]]
    ragged = Ragged.of_rows(rows)
    assert rows_of(ragged) == rows and len(ragged) == 3 and ragged.lengths.tolist() == [2, 0, 1]
    assert rows_of(Ragged.joined([ragged, Ragged.of_rows([]), ragged])) == rows * 2
