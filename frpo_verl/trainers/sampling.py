"""Samples responses from a model by vLLM, in a process of its own: `python -m frpo_verl.trainers.sampling SPEC`.

SPEC is a JSON file with the fields of `Spec`. A line of the output is a prompt; lines that are there already are kept,
so that what was stopped goes on. vLLM takes its settings for the CPU from the environment, as in `recipes/lib/cpu.sh`.
With `tied` as a second argument it ends, and all that it started, as soon as its standard input is closed.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

AT_ONCE = 4096
"""Responses that vLLM has at a time, more than it computes at a time, so that none waits for the longest of a batch."""


class Spec(NamedTuple):
    """Says what to sample.

    Attributes:
        model: folder of the model and its tokenizer.
        prompts: parquet file with a column `prompt`, chat messages or text.
        out: the file of lines: `row`, `prompt_ids`, and lists of `responses`, `response_ids`, `log_probs`, `ends`.
        n: responses to a prompt.
        temperature: of sampling; `log_probs` are the model's own, at temperature 1.
        top_p: of sampling.
        max_tokens: the longest response.
        max_prompt_tokens: the longest prompt; longer ones are refused.
        seed: of sampling; each part, and what goes on after a stop, has random numbers of its own.
        rows: numbers of the prompts to sample; None: all.
        engine: further arguments of vLLM's `LLM`.
        template: further arguments of the chat template.
    """

    model: str
    prompts: str
    out: str
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    max_prompt_tokens: int = 1024
    seed: int = 1
    rows: Sequence[int] | None = None
    engine: dict[str, Any] = {}
    template: dict[str, Any] = {}


def sample(spec: Spec) -> int:
    """Samples what is not there yet, writes a line for each prompt as soon as it is done, and returns how many."""
    rows = _to_do(spec)
    if not rows:
        return 0
    from transformers import AutoTokenizer

    tokenizer, texts = AutoTokenizer.from_pretrained(spec.model), _prompts(spec)
    encoded = {row: prompt_ids(tokenizer, texts[row], **spec.template) for row in rows}
    longest = max(map(len, encoded.values()))
    if longest > spec.max_prompt_tokens:
        raise SystemExit(
            f"frpo-verl: {spec.prompts}: a prompt of {longest} tokens, and the limit is {spec.max_prompt_tokens}"
        )
    asyncio.run(_sample(spec, encoded))
    return len(rows)


async def _sample(spec: Spec, encoded: dict[int, list[int]]) -> None:
    from vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams
    from vllm.sampling_params import RequestOutputKind
    from vllm.usage.usage_lib import UsageContext

    # A seed of each request is not for vLLM's CPU build, which cannot rewind its generators.
    seed = (spec.seed * 1_000_003 + next(iter(encoded))) % 2**31
    longest = max(map(len, encoded.values())) + spec.max_tokens
    arguments = AsyncEngineArgs(
        **{"model": spec.model, "max_model_len": longest, "seed": seed, "disable_log_stats": True, **spec.engine}
    )
    # vLLM's batches are larger where nobody waits for the single answer: 1024 responses in place of 128 on an H100.
    engine = AsyncLLMEngine.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS)
    room = asyncio.Semaphore(max(1, AT_ONCE // spec.n))
    how = SamplingParams(
        n=spec.n,
        temperature=spec.temperature,
        top_p=spec.top_p,
        max_tokens=spec.max_tokens,
        logprobs=0,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )

    async def one(row: int) -> dict[str, Any]:
        async with room:
            async for output in engine.generate({"prompt_token_ids": encoded[row]}, how, str(row)):
                return _line(row, output)

    tasks = [asyncio.create_task(one(row)) for row in encoded]
    try:
        with Path(spec.out).open("a", encoding="utf-8") as out:
            for done in asyncio.as_completed(tasks):
                out.write(json.dumps(await done) + "\n")
                out.flush()
    finally:
        engine.shutdown()


def prompt_ids(tokenizer: Any, prompt: Any, **template: Any) -> list[int]:
    """Tokenizes a text as it stands, or chat messages by the tokenizer's template."""
    if isinstance(prompt, str):
        return tokenizer(prompt)["input_ids"]
    made = tokenizer.apply_chat_template(
        prompt, add_generation_prompt=True, tokenize=True, return_dict=True, **template
    )
    return made["input_ids"]


def read(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of an output in the order of their rows; half of a last line is left out."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        return sorted((json.loads(line) for line in file if line.endswith(b"\n")), key=lambda line: line["row"])


def mend(path: Path) -> None:
    """Cuts off half of a last line, which a process left that was killed; makes the file if there is none."""
    with path.open("a+b") as file:
        size = end = file.tell()
        while end > 0:
            start = max(0, end - 2**20)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def _to_do(spec: Spec) -> list[int]:
    mend(Path(spec.out))
    done = {line["row"] for line in read(Path(spec.out))}
    rows = range(len(_prompts(spec))) if spec.rows is None else spec.rows
    return [row for row in rows if row not in done]


def _prompts(spec: Spec) -> list[Any]:
    from pyarrow import parquet

    return parquet.read_table(spec.prompts, columns=["prompt"])["prompt"].to_pylist()


def _line(row: int, output: Any) -> dict[str, Any]:
    responses = output.outputs
    return {
        "row": row,
        "prompt_ids": list(output.prompt_token_ids),
        "responses": [response.text for response in responses],
        "response_ids": [list(response.token_ids) for response in responses],
        "log_probs": [
            [float(said[token].logprob) for token, said in zip(response.token_ids, response.logprobs, strict=True)]
            for response in responses
        ],
        "ends": [response.finish_reason for response in responses],
    }


def _end_with_parent() -> None:
    """Waits for the end of standard input, then kills the group of this process, which is its own."""
    # not sys.stdin, whose lock this thread would hold when the interpreter ends
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Samples as the file of the command line says."""
    if "tied" in arguments:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    spec = Spec(**json.loads(Path(arguments[0]).read_text()))
    print(f"sampled {sample(spec)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
