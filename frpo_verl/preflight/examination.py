"""Runs every check of a configuration in order: the only place that knows the order."""

import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from frpo_verl.preflight import (
    cpu,
    environment,
    estimators,
    inputs,
    layout,
    losses,
    machine,
    megatron_layout,
    methods,
    micro_batches,
    older_reward,
    regulariser,
    rehearsal,
    settings,
    unread_keys,
    verls_own,
)

SECTIONS = ("algorithm", "actor_rollout_ref", "trainer")


class Found(NamedTuple):
    """Holds what the checks found, a sentence each.

    Attributes:
        problems: what keeps the run from working.
        warnings: what works and is probably not meant.
        summary: what a run with a method of ours will do; empty where there are problems.
    """

    problems: list[str]
    warnings: list[str]
    summary: list[str]


def examine(config: Any, *, look_at_machine: bool = True, starting: bool = False) -> Found:
    """Checks a configuration before Ray starts.

    Args:
        config: verl's whole configuration.
        look_at_machine: False leaves out what changes from minute to minute: ports, memory, another run.
        starting: True at a run's start. verl validates by itself then, and a run that is not ours is left to it.

    Returns:
        All problems at once, warnings, and a summary.
    """
    if starting and not is_ours(config):
        return Found(list(unread_keys.problems(config)), [], [])
    if sentence := unusable(config):
        return Found([sentence], [], [])
    problems = list(dict.fromkeys(_problems(config, look_at_machine, starting)))
    return Found(problems, list(_warnings(config, starting)), [] if problems else list(_summary(config)))


def is_ours(config: Any) -> bool:
    """Returns True for a run that uses a method of ours, one of our recipes or the CPU platform."""
    has_method = settings.asks_for_future(config.algorithm) or methods.are_chosen(config)
    return has_method or inputs.RECIPE in os.environ or environment.is_on_cpu()


def unusable(config: Any) -> str | None:
    """Returns why nothing can be read from a configuration, or None."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if absent := [name for name in SECTIONS if name not in config]:
        return f"no section {', '.join(absent)}: main_ppo cannot run this configuration; choose another --config-name"
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        return f"an interpolation cannot be resolved: {' '.join(str(error).split())}; set what it needs"
    return None


def settings_problems(config: Any) -> Iterator[str]:
    """Yields what the configuration alone shows; V0 repeats these checks inside an actor."""
    yield from unread_keys.problems(config)
    yield from methods.problems(config)
    yield from estimators.problems(config)
    with_frpo = settings.asks_for_future(config.algorithm)
    if with_frpo:
        yield from regulariser.problems(config)
    wrong = [*layout.not_counts(config), *megatron_layout.without_section(config)]
    yield from wrong
    if with_frpo and not wrong:
        yield from megatron_layout.problems(config)


def _problems(config: Any, look_at_machine: bool, starting: bool) -> Iterator[str]:
    config = older_reward.moved(config)
    refused = list(settings_problems(config))
    if not layout.not_counts(config):
        refused += micro_batches.problems(config)
    yield from refused
    # verl repeats in its own words what the settings' checks have said.
    if not starting and not refused:
        refused += verls_own.problems(config)
        yield from refused
    # Ray shows no GPU to an actor, and its driver holds the ports and the memory.
    if _is_inside_ray() or layout.not_counts(config):
        return
    yield from inputs.problems(config)
    # Of what is refused already verl would speak once more, in its own words.
    if not refused:
        yield from rehearsal.problems(config)
    if environment.is_on_cpu():
        yield from cpu.problems(config)
        if look_at_machine:
            yield from machine.problems(config)


def _summary(config: Any) -> Iterator[str]:
    if settings.asks_for_future(config.algorithm):
        yield from regulariser.summary(config)
    yield from methods.summary(config)


def _warnings(config: Any, starting: bool) -> Iterator[str]:
    yield from losses.warnings(config)
    yield from older_reward.warnings(config)
    if settings.asks_for_future(config.algorithm):
        yield from regulariser.warnings(config)
    elif not (starting or methods.are_chosen(config) or inputs.RECIPE in os.environ or _has_unread_keys(config)):
        yield (
            f"algorithm.adv_estimator={config.algorithm.adv_estimator}: this command line does not use FRPO; to use "
            "it, set algorithm.adv_estimator=frpo"
        )


def _has_unread_keys(config: Any) -> bool:
    return next(unread_keys.problems(config), None) is not None


def _is_inside_ray() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
