"""Runs several configurations of verl's trainer with one start of Ray and vLLM: `python -m study.runs RUN_DIR…`.

RUN_DIR/overrides.txt has a run's overrides of `main_ppo`, a line each. Every run is verl's own: its task runner,
trainer, workers, TransferQueue, reward and agent loops are made for it and ended with it. Ray and the vLLM server stay;
a run's first act is to load its weights into the server, which empties the cache, and each response has a seed of its
own.
"""

import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

FINISHED = "finished"


def main(folders: Sequence[str], actor: "type[Runs] | None" = None) -> None:
    """Composes and checks all runs, then does them in turn; a folder gets `finished`, with the seconds it took."""
    import ray
    from verl.trainer import main_ppo
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    configs = [composed(Path(folder)) for folder in folders]
    for config in configs:
        validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    refuse_other_servers(folders, configs)
    runs = ray.remote(actor or Runs)
    main_ppo.run_ppo(configs[0], SimpleNamespace(remote=lambda: runs.remote(list(zip(folders, configs, strict=True)))))


def composed(folder: Path) -> Any:
    """Composes verl's configuration of a run."""
    from frpo_verl.preflight import command_line

    words = (folder / "overrides.txt").read_text().splitlines()
    config, refused = command_line.compose(command_line.parse(words))
    if refused:
        raise SystemExit(f"{folder}: {refused[0]}")
    return config


def refuse_other_servers(folders: Sequence[str], configs: Sequence[Any]) -> None:
    """Ends the program where a run wants another vLLM server than the first; seeds are each response's own."""
    of_its_own = {"seed": 0, "trace": None}
    asked = [
        {"model": config.actor_rollout_ref.model, **config.actor_rollout_ref.rollout, **of_its_own}
        for config in configs
    ]
    for folder, one in zip(folders, asked, strict=True):
        if other := [key for key in one if one[key] != asked[0][key]]:
            raise SystemExit(f"{folder} has other {', '.join(other)} than {folders[0]}: call it apart")


class Runs:
    """An actor that does run after run, each as verl's task runner would."""

    def __init__(self, runs: list[tuple[str, Any]]) -> None:
        self.runs = runs

    def run(self, _: Any) -> None:
        """Does all runs."""
        servers = Servers()
        for folder, config in self.runs:
            started = time.monotonic()
            os.environ["VERL_FILE_LOGGER_PATH"] = f"{folder}/metrics.jsonl"
            runner = task_runner()
            with servers.kept(), of_its_own(config):
                runner.run(config)
            self.look_at(Path(folder), runner)
            end(runner)
            (Path(folder) / FINISHED).write_text(f"{time.monotonic() - started:.1f}\n")
            print(f"study: {folder} took {time.monotonic() - started:.1f} s", flush=True)

    def look_at(self, folder: Path, runner: Any) -> None:
        """Is there for who measures: a run has ended and its workers still live."""


def task_runner() -> Any:
    """Makes verl's task runner, which is an actor's class, in this process."""
    from verl.trainer.main_ppo import TaskRunnerV1

    return TaskRunnerV1.__ray_metadata__.modified_class()


@contextmanager
def of_its_own(config: Any) -> Iterator[None]:
    """Gives a run fresh random states, a fresh plugin, and what it asks for beyond verl's keys."""
    import numpy as np
    import torch

    from frpo_verl.verl_plugin import run
    from study.shuffled import shuffling

    seed = config.data.seed
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    run.end()
    with shuffling(seed) if config.get("study", {}).get("shuffled") else nullcontext():
        yield


def end(runner: Any) -> None:
    """Kills a run's workers and gives their place back."""
    import ray
    from ray.util import remove_placement_group

    trainer = runner.trainer
    for actor in (
        *trainer.actor_rollout_wg.workers,
        *trainer.reward_loop_manager.reward_loop_workers,
        *runner.agent_loop_manager.agent_loop_workers,
    ):
        ray.kill(actor)
    for pool in trainer.resource_pool_manager.resource_pool_dict.values():
        for group in pool.pgs:
            remove_placement_group(group)
    for name, space in (("TransferQueueController", "transfer_queue"), ("reward_loop_worker_0", None)):
        wait_for_the_end_of(name, space)


def wait_for_the_end_of(name: str, space: str | None) -> None:
    """Waits until a killed actor's name is free for the next run's."""
    import ray

    while True:
        try:
            ray.get_actor(name, namespace=space)
        except ValueError:
            return
        time.sleep(0.1)


class Servers:
    """Holds vLLM's servers from the first run on, and gives them to the trainers after it."""

    def __init__(self) -> None:
        self.manager: Any = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Makes verl's trainer take the servers that are there."""
        from verl.workers.rollout.llm_server import LLMServerManager

        host = LLMServerManager.create

        def create(config: Any, worker_group: Any, **rest: Any) -> Any:
            if self.manager is None:
                self.manager = host(config=config, worker_group=worker_group, **rest)
            self.manager.config, self.manager.worker_group = config, worker_group
            for replica in self.manager.rollout_replicas:
                replica.workers = worker_group.workers
            return self.manager

        LLMServerManager.create = create
        try:
            yield
        finally:
            LLMServerManager.create = host


if __name__ == "__main__":
    main(sys.argv[1:])
