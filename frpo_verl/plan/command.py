"""`frpo-verl plan`: configuration on standard output, everything else on standard error."""

import argparse
import contextlib
import sys
from typing import Any

from frpo_verl.plan import memory, model
from frpo_verl.preflight import command_line, findings, probe, sentences
from frpo_verl.preflight.errors import SettingsError

OFFLINE = "frpo_verl.trainers.fpa"
"""The trainer of ours that has a configuration and checks of its own."""

EPILOG = """\
Everything after -- is a command line of verl.trainer.main_ppo, or of another of verl's mains from python -m on, for
instance
  frpo-verl plan -- algorithm.adv_estimator=frpo actor_rollout_ref.rollout.n=5
or of this project's own frpo_verl.trainers.fpa.

exit status: 0 without problems, 1 with problems, 2 for a command line that cannot be read
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "plan",
        help="print what a verl command line resolves to and the memory that it needs of each GPU at least",
        description="Prints the resolved configuration as YAML; on standard error, a rough lower bound of the memory "
        "that the run takes of each GPU, and what keeps it from running.",
        usage="frpo-verl plan [--gpu-memory GIB] -- [python -m MAIN] OVERRIDE ...",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(for_verl=None)
    parser.add_argument(
        "--gpu-memory",
        metavar="GIB",
        type=float,
        help="what one GPU has, for instance 80; a plan that does not fit it is a warning",
    )


def run(options: argparse.Namespace) -> int:
    """Prints the resolved configuration, the memory it needs at least, and its problems; returns 1 if it has any.

    A plan that does not fit the GPU is a warning, not a problem.
    """
    line = command_line.parse(options.for_verl or [])
    with contextlib.redirect_stdout(sys.stderr):
        config, problems, warnings = _composed(line)
    if config is not None:
        print(_yaml(config), end="", flush=True)
        with contextlib.redirect_stdout(sys.stderr):
            print(f"\n{_memory(config, options.gpu_memory, warnings)}\n")
    print(sentences.as_text(warnings, problems), file=sys.stderr)
    return 1 if problems else 0


def _composed(line: command_line.CommandLine) -> tuple[Any, list[str], list[str]]:
    """Returns the configuration, None where it cannot be resolved, with problems and warnings."""
    here = probe.examine()
    problems = findings.problems(here, "here")
    if not findings.can_load(here):
        return None, problems, []
    from frpo_verl.preflight import examination

    config, refused = command_line.compose(line)
    if config is None:
        return None, [*problems, *refused], []
    if line.main == OFFLINE:
        return config, [*problems, *_of_offline(config)], []
    # A plan is not a run: what this machine has in use now is another matter.
    found = examination.examine(config, look_at_machine=False)
    if examination.unusable(config):
        config = None
    return config, [*problems, *found.problems], found.warnings


def _of_offline(config: Any) -> list[str]:
    from frpo_verl.trainers import examination

    return examination.examine(config, config.trainer.nnodes * config.trainer.n_gpus_per_node).problems


def _yaml(config: Any) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(config, resolve=True)


def _memory(config: Any, gpu_memory: float | None, warnings: list[str]) -> str:
    """Returns the table, or why there is none; adds what does not fit to the warnings."""
    from frpo_verl.preflight import environment, layout, verls_own

    if "fpa" in config:
        return "Memory: not estimated for the offline trainer"
    if layout.not_counts(config):
        return "Memory per GPU: not estimated, see below"
    if environment.is_on_cpu():
        return _on_the_cpu(config)
    loaded, gpu = verls_own.loaded(config), None if gpu_memory is None else gpu_memory * memory.GIB
    try:
        actor = model.read(config.actor_rollout_ref.model)
        critic = model.read(config.critic.model, "critic.model") if loaded.critic else None
        phases = memory.estimate(config, actor, critic, loaded.reference, gpu)
    except SettingsError as error:
        warnings.append(str(error))
        return "Memory per GPU: not estimated, see below"
    warnings.extend(memory.doubts(config, phases, actor, gpu))
    return memory.table(config, phases, gpu)


def _on_the_cpu(config: Any) -> str:
    """Returns the CPU platform's own estimate, for the whole machine."""
    from frpo_verl.preflight import cpu_memory

    size = cpu_memory.model_size(config.actor_rollout_ref.model.path)
    if size is None:
        return "Memory of this machine: not estimated, actor_rollout_ref.model.path is not a folder with safetensors"
    needed, available = cpu_memory.estimate(config, size) / memory.GIB, cpu_memory.available_bytes() / memory.GIB
    return f"Memory of this machine, estimated: {needed:.1f} GiB, of {available:.1f} GiB available"
