"""The real trainer in this process, once or several times: verl's SFTTrainer, engines, optimizer and checkpoints.

Run as `python real_trainer.py CASES` with the ranks' usual environment, none for one rank. CASES is JSON with overrides
of the primary configuration by name; each case trains, and its folder, below that of CASES, gets verl's metrics.jsonl.
With KILLED_AFTER=N in the environment the process kills itself, as `kill -9` would, when N updates have been made.
"""

import gc
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from fpa_case import CPU, ENGINES


def train(name: str, folder: Path, engine: str, overrides: list[str]) -> None:
    """Trains one case as the program does."""
    from hydra import compose, initialize_config_module

    from frpo_verl.trainers import examination, fpa

    os.environ["VERL_FILE_LOGGER_PATH"] = str(folder / name / "metrics.jsonl")
    with initialize_config_module("frpo_verl.trainers.config", version_base=None):
        config = compose(
            "fpa_trainer", [*ENGINES[engine], *CPU, f"trainer.default_local_dir={folder / name / 'out'}", *overrides]
        )
    found = examination.examine(config, int(os.environ["WORLD_SIZE"]))
    assert not found.problems, found.problems
    (folder / name).mkdir(exist_ok=True)
    trainer = fpa.built(config, found)
    if "KILLED_AFTER" in os.environ:
        trainer.training_client.after_update = killed_after(int(os.environ["KILLED_AFTER"]))
    trainer.fit()
    parameters, _ = trainer.engine.get_per_tensor_param()
    squares = {key: float(value.double().square().sum()) for key, value in parameters}
    if os.environ["RANK"] == "0":
        (folder / name / "squares.json").write_text(json.dumps(squares))
    del trainer
    gc.collect()


def killed_after(updates: int) -> Callable[[], dict]:
    """Returns what ends this process after so many updates, before anything of the last is logged or saved."""
    made = itertools.count(1)

    def count() -> dict:
        if next(made) == updates:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    return count


def main(cases: Path) -> None:
    """Trains every case."""
    import frpo_verl.verl_plugin  # noqa: F401

    for name, (engine, overrides) in json.loads(cases.read_text()).items():
        train(name, cases.parent, engine, overrides)


if __name__ == "__main__":
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29541"}
    os.environ.update({key: value for key, value in alone.items() if key not in os.environ})
    main(Path(sys.argv[1]))
