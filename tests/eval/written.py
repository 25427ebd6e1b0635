"""Writes what the command reads: verl's dumps, and files of graded responses."""

import json
from pathlib import Path

ANSWERS = {"1+1": "2", "2+2": "4", "3+3": "6"}


def line(asked="1+1", said=r"\boxed{2}", score=None, step=20, **more):
    """Returns a line of verl's V1 trainer."""
    score = float(said == rf"\boxed{{{ANSWERS[asked]}}}") if score is None else score
    return {"input": asked, "output": said, "gts": ANSWERS[asked], "score": score, "step": step, **more}


def dump(folder: Path, step: int, lines, end="\n") -> Path:
    """Writes STEP.jsonl; `end` is what the last line ends with."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    (folder / f"{step}.jsonl").write_text(text + (end if text else ""))
    return folder / f"{step}.jsonl"


def samples(said, step=20, **more):
    """Returns a line for each response: asked -> the boxes said to it."""
    return [line(asked, rf"\boxed{{{box}}}", step=step, **more) for asked, boxes in said.items() for box in boxes]
