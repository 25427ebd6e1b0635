"""`frpo-verl plan`: configuration on standard output, everything else on standard error."""

import argparse
import contextlib
import sys
from typing import Any

from frpo_verl.doctor import configuration
from frpo_verl.doctor.report import Report, Section
from frpo_verl.plan import memory, model, report
from frpo_verl.plan.memory import GIB, Roles
from frpo_verl.preflight import command_line, findings, probe

EPILOG = """\
Everything after -- is a command line of verl.trainer.main_ppo, or of another of verl's mains from python -m on, for
instance
  frpo-verl plan -- algorithm.adv_estimator=frpo actor_rollout_ref.rollout.n=5

exit status: 0 without problems, 1 with problems, 2 for a command line that cannot be read
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "plan",
        help="print what a verl command line resolves to and the memory that it expects per GPU",
        description="Prints the resolved configuration as YAML; on standard error, the memory that the run is expected "
        "to take of each GPU, and what keeps it from running.",
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
    """Prints the resolved configuration, its expected memory, and what keeps it from running; returns 1 with problems.

    A plan that does not fit the GPU is a warning, not a problem.
    """
    line = command_line.parse(options.for_verl or [])
    with contextlib.redirect_stdout(sys.stderr):
        config, found = _composed(line)
    if config is not None:
        print(_yaml(config), end="", flush=True)
        with contextlib.redirect_stdout(sys.stderr):
            print(f"\n{_memory(config, options.gpu_memory, found)}\n")
    print(Report([found]).as_sentences(), file=sys.stderr)
    return 1 if found.problems else 0


def _composed(line: command_line.CommandLine) -> tuple[Any, Section]:
    """The configuration, None where it cannot be resolved, and what was found."""
    here = probe.examine()
    problems = findings.problems(here, "here")
    if here["frpo_verl_error"] or here["verl_error"] or here["plugin_error"]:
        return None, Section("Plan", {}, problems)
    from frpo_verl.preflight import cpu

    config, refused = command_line.compose(line)
    if config is None:
        return None, Section("Plan", {}, [*problems, *refused])
    found = configuration.examine(config)
    if not found.rows or list(found.rows) == ["sections"]:
        return None, found
    problems += found.problems + configuration.on_the_cpu_platform(config, cpu.check_settings)
    return config, found._replace(problems=problems, warnings=list(found.warnings))


def _yaml(config: Any) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(config, resolve=True)


def _memory(config: Any, gpu_memory: float | None, found: Section) -> str:
    """The table, or why there is none; what does not fit is added to the warnings."""
    from frpo_verl.preflight import environment, layout

    if layout.no_counts(config):
        return "Memory per GPU: not estimated, see below"
    if environment.is_on_cpu():
        return _on_the_cpu(config, found)
    gpu = None if gpu_memory is None else gpu_memory * GIB
    try:
        phases = memory.estimate(config, _roles(config), gpu)
    except (model.UnknownModel, memory.Unsupported) as error:
        found.warnings.append(str(error))
        return "Memory per GPU: not estimated, see below"
    found.warnings.extend(memory.doubts(config, phases, gpu))
    return report.table(phases, gpu, apart=not config.actor_rollout_ref.get("hybrid_engine", True))


def _roles(config: Any) -> Roles:
    loaded = configuration.loaded(config)
    section = config.actor_rollout_ref.model
    with_adapters = model.lora_rank(section) or section.get("lora_adapter_path")
    critic = model.read(config.critic.model) if loaded.critic else None
    return Roles(model.read(section), critic, loaded.reference and not with_adapters)


def _on_the_cpu(config: Any, found: Section) -> str:
    """The CPU platform's own estimate, for the whole machine."""
    from pathlib import Path

    from frpo_verl.preflight import cpu_memory as of_machine

    size = of_machine.model_size(Path(str(config.actor_rollout_ref.model.path)).expanduser())
    if size is None:
        return "Memory of this machine: not estimated, actor_rollout_ref.model.path is no folder of safetensors"
    needed, available = of_machine.estimate(config, size), of_machine.available_bytes()
    return f"Memory of this machine, estimated: {needed / GIB:.1f} GiB, of {available / GIB:.1f} GiB available"
