"""A run whose figures can be worked out by hand."""

import json
import struct
from pathlib import Path

from frpo_verl.evaluation.command_line import parse_command
from frpo_verl.evaluation.learned import Learned, learned
from frpo_verl.evaluation.metrics import Log, Step
from frpo_verl.evaluation.runs import Run

COMMAND = (
    "python -m verl.trainer.main_ppo algorithm.adv_estimator=frpo data.seed=7 "
    "data.train_files=~/data/gsm8k/train.parquet data.val_files=~/data/gsm8k/test.parquet "
    "actor_rollout_ref.model.path=Qwen/Qwen2.5-0.5B-Instruct"
)
STEPS = [
    Step(0, {"val-core/acc": 0.2}),
    Step(1, {"critic/score/mean": 0.125, "actor/entropy": 1.5, "frpo/divergence_to_ref/token_mean": 0.0}),
    Step(2, {"critic/score/mean": 0.5, "actor/entropy": 1.25, "frpo/divergence_to_ref/token_mean": 0.004}),
]
# Two problems of 8 samples. Step 0: 0 and 4 correct. Step 2: 2 and 8 correct.
DUMPS = {
    0: {"p": [0.0] * 8, "q": [1.0] * 4 + [0.0] * 4},
    2: {"p": [1.0] * 2 + [0.0] * 6, "q": [1.0] * 8},
}
# pass@1: (0 + 4/8)/2 = 0.25, then (2/8 + 1)/2 = 0.625; pass@8 asks for any correct sample: (0 + 1)/2, then 1.
# The standard error of two values a and b is |a - b|/2: 0.25 and 0.375, then 0.5 and 0.
TABLE = f"""\
Qwen2.5-0.5B-Instruct on gsm8k, estimator frpo

                                before  step          after  step     change  unit         source
reward (training)                0.125     1          0.500     2     +0.375  score        critic/score/mean
held-out pass@1          0.250 ± 0.250     0  0.625 ± 0.375     2     +0.375  probability  2 problems x 8 samples
held-out pass@8          0.500 ± 0.500     0  1.000 ± 0.000     2     +0.500  probability  2 problems x 8 samples
divergence to reference          0.000     1       4.00e-03     2  +4.00e-03  nats/token   \
frpo/divergence_to_ref/token_mean
entropy                          1.500     1          1.250     2     -0.250  nats/token   actor/entropy

pass@k: unbiased estimator; ± is one standard error over problems; correct from score 1 on
seed: data.seed=7; one run
command: {COMMAND}"""


def read_of(steps=STEPS, dumps=DUMPS, command=COMMAND, name="runs/a", **about) -> Run:
    """Returns a run as it is read; `about` are the log's notes, what was not finite, single tokens."""
    tokens = about.pop("tokens", [])
    log = Log(Path(name, "metrics.jsonl"), steps, about.pop("notes", []), about.pop("not_finite", {}))
    return Run(Path(name), log, dumps, parse_command(command), log.notes, tokens)


def run_of(steps=STEPS, dumps=DUMPS, command=COMMAND, correct_at=1.0) -> Learned:
    return learned(read_of(steps, dumps, command), correct_at)


def write_metrics(folder: Path, steps: list[Step]) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"step": step.step, "data": step.metrics}) + "\n" for step in steps]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def write_run(folder: Path, steps=STEPS, dumps=DUMPS, key="score", command=COMMAND) -> Path:
    write_metrics(folder, steps)
    if command:
        (folder / "command.txt").write_text(command + "\n")
    for step, problems in dumps.items():
        (folder / "validation").mkdir(exist_ok=True)
        rows = [
            {"input": text, "output": "", "score": -1.0} | {key: score} for text, of in problems.items() for score in of
        ]
        (folder / "validation" / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def size_of_png(path: Path) -> tuple[int, int]:
    # The PNG signature, then the header chunk: length 13, its name, width and height (ISO/IEC 15948, 5.2 and 11.2.2).
    content = path.read_bytes()
    assert content[:16] == b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR"
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])
