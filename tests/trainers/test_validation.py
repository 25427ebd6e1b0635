"""Tests what is made of samples: grades, dumps as verl's, figures; and the sampler's lines, with a tiny vLLM."""

import json
import sys
import tempfile
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow")

from pyarrow import Table, parquet  # noqa: E402

from frpo_verl.evaluation import dumps  # noqa: E402
from frpo_verl.trainers import offline_data, sampling, validation  # noqa: E402

PROMPTS = [
    {"prompt": "ab", "data_source": "letters", "reward_model": {"ground_truth": "x"}},
    {"prompt": [{"role": "user", "content": "c"}], "data_source": "words", "reward_model": {"ground_truth": "y"}},
]
LINES = [
    {"row": 0, "prompt_ids": [1, 2], "responses": ["x", "z"], "response_ids": [[3], [4, 0]], "log_probs": [[-1.0]] * 2},
    {"row": 1, "prompt_ids": [5], "responses": ["y", "y"], "response_ids": [[6], []], "log_probs": [[-1.0], []]},
]


def reward(data_source, solution_str, ground_truth, extra_info):
    assert extra_info == {}
    return float(solution_str == ground_truth)


def test_every_response_is_graded_and_dumped_as_the_report_reads_it(tmp_path):
    dumped = list(validation.graded(LINES, PROMPTS, reward))
    assert [line["score"] for line in dumped] == [1.0, 0.0, 1.0, 1.0]
    validation.dump(dumped, tmp_path / "validation", 3)
    asked = json.dumps(PROMPTS[1]["prompt"])
    ((step, file),) = dumps.files(tmp_path / "validation").items()
    rows = [(row["input"], row["score"]) for _, row in dumps.samples(file, step)]
    assert step == 3 and sorted(rows) == sorted([("ab", 1.0), ("ab", 0.0), (asked, 1.0), (asked, 1.0)])
    assert validation.figures(dumped, 2) == {
        "val-core/letters/reward/mean@2": 0.5,
        "val-core/words/reward/mean@2": 1.0,
    }


def test_a_reward_may_answer_with_details():
    def detailed(**asked):
        return {"score": 0.25, "acc": True}

    (line, *_) = validation.graded(LINES, PROMPTS, detailed)
    assert line["score"] == 0.25 and line["acc"] is True and line["gts"] == "x"


def test_samples_to_measure_are_spread_over_all_and_have_tokens():
    rows = [row for (row,) in offline_data.of_samples(LINES, 100)]
    assert [row["input_ids"].tolist() for row in rows] == [[1, 2, 3], [1, 2, 4, 0], [5, 6]]
    assert [row["loss_mask"].sum().item() for row in rows] == [1, 2, 1]
    assert {row["advantages"].item() for row in rows} == {1.0}
    assert [row["input_ids"].tolist() for (row,) in offline_data.of_samples(LINES, 2)] == [[1, 2, 3], [5, 6]]


def test_lines_come_in_the_order_of_their_prompts(tmp_path):
    # the last line is being written
    (tmp_path / "part-0.jsonl").write_text('{"row": 3}\n{"row": 1}\n{"row": 4')
    (tmp_path / "part-1.jsonl").write_text('{"row": 2}\n{"row": 0}\n')
    assert [line["row"] for line in sampling.read(tmp_path / "part-0.jsonl")] == [1, 3]
    assert [line["row"] for line in validation.read_all(tmp_path)] == [0, 1, 2, 3]
    assert sampling.read(tmp_path / "nothing.jsonl") == []


class Letters:
    def __call__(self, text):
        return {"input_ids": [ord(letter) for letter in text]}

    def apply_chat_template(self, messages, add_generation_prompt, tokenize, return_dict, **more):
        assert add_generation_prompt and tokenize and return_dict
        return {"input_ids": [ord(letter) for letter in messages[0]["content"] + more.get("suffix", "")]}


class Vllm(types.ModuleType):
    """Answers each prompt with its first id, as often as asked, and counts what it was asked."""

    def __init__(self):
        super().__init__("vllm")
        self.asked, self.arguments, self.fail_after, self.shut = [], None, None, 0
        self.sampling_params = types.ModuleType("vllm.sampling_params")
        self.sampling_params.RequestOutputKind = types.SimpleNamespace(FINAL_ONLY="final")
        self.usage_lib = types.ModuleType("vllm.usage.usage_lib")
        self.usage_lib.UsageContext = types.SimpleNamespace(LLM_CLASS="offline")
        self.AsyncLLMEngine = types.SimpleNamespace(from_engine_args=self.started)

    def AsyncEngineArgs(self, **arguments):
        self.arguments = arguments

    def started(self, _, usage_context):
        assert usage_context == "offline"
        return self

    @staticmethod
    def SamplingParams(**how):
        assert how["output_kind"] == "final" and how["logprobs"] == 0
        return types.SimpleNamespace(**how)

    async def generate(self, prompt, how, request):
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise ConnectionError
        ids = prompt["prompt_token_ids"]
        self.asked.append(ids)
        said = types.SimpleNamespace(
            text=chr(ids[0]),
            token_ids=[ids[0]],
            logprobs=[{ids[0]: types.SimpleNamespace(logprob=-0.5)}],
            finish_reason="stop",
        )
        yield types.SimpleNamespace(prompt_token_ids=ids, outputs=[said] * how.n)

    def shutdown(self):
        self.shut += 1


@pytest.fixture
def vllm(monkeypatch):
    module = Vllm()
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", module.sampling_params)
    monkeypatch.setitem(sys.modules, "vllm.usage", types.ModuleType("vllm.usage"))
    monkeypatch.setitem(sys.modules, "vllm.usage.usage_lib", module.usage_lib)
    transformers = types.ModuleType("transformers")
    transformers.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda model: Letters())
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    return module


def spec_of(tmp_path, prompts, **more):
    parquet.write_table(Table.from_pylist([{"prompt": prompt} for prompt in prompts]), tmp_path / "prompts.parquet")
    return sampling.Spec(model="m", prompts=str(tmp_path / "prompts.parquet"), out=str(tmp_path / "out.jsonl"), **more)


def test_a_line_for_each_prompt(vllm, tmp_path):
    spec = spec_of(tmp_path, ["abc", "de"], n=2, max_tokens=7, engine={"dtype": "float32"})
    assert sampling.sample(spec) == 2 and vllm.shut == 1
    arguments = {"model": "m", "max_model_len": 10, "seed": 1_000_003, "disable_log_stats": True, "dtype": "float32"}
    assert vllm.arguments == arguments
    assert sampling.read(tmp_path / "out.jsonl")[1] == {
        "row": 1,
        "prompt_ids": [100, 101],
        "responses": ["d", "d"],
        "response_ids": [[100], [100]],
        "log_probs": [[-0.5], [-0.5]],
        "ends": ["stop", "stop"],
    }


def test_chat_messages_get_the_template_and_its_arguments(vllm, tmp_path):
    spec = spec_of(tmp_path, [[{"role": "user", "content": "a"}]], template={"suffix": "!"})
    sampling.sample(spec)
    assert vllm.asked[0] == [97, 33]


def test_parts_are_all_prompts_once_with_random_numbers_of_their_own(vllm, tmp_path):
    prompts, seeds = ["a", "b", "c", "d", "e"], []
    for first in range(2):
        spec = spec_of(tmp_path, prompts, rows=list(range(5))[first::2])
        sampling.sample(spec._replace(out=str(tmp_path / f"{first}")))
        seeds.append(vllm.arguments["seed"])
    assert sorted(vllm.asked) == [[97], [98], [99], [100], [101]]
    assert len(set(seeds)) == 2
    sampling.sample(spec_of(tmp_path, prompts, seed=2))
    assert vllm.arguments["seed"] not in seeds


def test_goes_on_where_it_was_stopped(vllm, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "AT_ONCE", 1)
    spec = spec_of(tmp_path, ["a", "b", "c", "d", "e"])
    vllm.fail_after = 2
    with pytest.raises(ConnectionError):
        sampling.sample(spec)
    seed = vllm.arguments["seed"]
    assert vllm.shut == 1 and vllm.asked == [[97], [98]]
    with (tmp_path / "out.jsonl").open("a") as out:
        out.write('{"row": 2, "promp')  # stopped in the middle of a line
    vllm.fail_after = None
    assert sampling.sample(spec) == 3
    assert vllm.asked == [[97], [98], [99], [100], [101]]
    assert vllm.arguments["seed"] != seed
    assert [line["row"] for line in sampling.read(tmp_path / "out.jsonl")] == [0, 1, 2, 3, 4]
    vllm.asked.clear()
    assert sampling.sample(spec) == 0 and vllm.asked == []


@settings(max_examples=50)
@given(st.binary(max_size=12).map(lambda text: text.replace(b"b", b"\n")), st.sampled_from([0, 2**20]))
def test_what_was_stopped_in_the_middle_of_a_line_is_cut_off(text, long):
    with tempfile.TemporaryDirectory() as folder:
        path, written = Path(folder) / "lines", text + b"x" * long
        path.write_bytes(written)
        sampling.mend(path)
        *whole, _ = written.split(b"\n")
        assert path.read_bytes() == b"".join(line + b"\n" for line in whole)


def test_a_prompt_that_is_too_long_is_refused(vllm, tmp_path):
    with pytest.raises(SystemExit, match="a prompt of 3 tokens, and the limit is 2"):
        sampling.sample(spec_of(tmp_path, ["a", "abc"], max_prompt_tokens=2))


def test_every_source_is_tried_once():
    asked = []

    def reward(data_source, **_):
        asked.append(data_source)
        raise KeyError(data_source)

    rows = [{"data_source": source, "reward_model": {"ground_truth": "1"}} for source in ("a", "a", "b")]
    assert list(validation.unfit(reward, rows, [0, 5, 6])) == [
        "it raises KeyError: 'a' on an empty response to the prompt of row 0, of source a",
        "it raises KeyError: 'b' on an empty response to the prompt of row 6, of source b",
    ]
    assert asked == ["a", "b"]
    assert [said.partition("row ")[2] for said in validation.unfit(reward, rows)] == [
        "0, of source a",
        "2, of source b",
    ]
