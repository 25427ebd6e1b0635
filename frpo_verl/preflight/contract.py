"""Every verl symbol that the plugin touches, with the signature that it was written for.

A host that changed one of them is told about at once and by name, instead of failing far away.
"""

import importlib.metadata
import inspect
import os
import sys
from types import ModuleType
from typing import NamedTuple

from packaging.version import Version

from frpo_verl.preflight.errors import HostError

TESTED_VERL = ("0.8.0", "0.9.0", "0.9.1")


class Symbol(NamedTuple):
    """A function or method of verl and what the plugin relies on.

    Attributes:
        module: the module that defines it.
        name: its name there, `Class.method` for methods.
        parameters: the parameters that must exist, in any order.
        use: what the plugin does with it.
        since: the first version of verl that has it.
    """

    module: str
    name: str
    parameters: tuple[str, ...]
    use: str
    since: str = TESTED_VERL[0]


_ADVANTAGE_PARAMETERS = (
    "data",
    "adv_estimator",
    "gamma",
    "lam",
    "num_repeat",
    "norm_adv_by_std_in_grpo",
    "config",
)

CONTRACT = (
    Symbol("verl.trainer.ppo.core_algos", "register_adv_est", ("name_or_enum",), "registers the estimator"),
    Symbol("verl.trainer.ppo.core_algos", "get_adv_estimator_fn", ("name_or_enum",), "looks for a native frpo"),
    Symbol(
        "verl.trainer.ppo.core_algos",
        "compute_grpo_outcome_advantage",
        ("token_level_rewards", "response_mask", "index", "norm_adv_by_std_in_grpo"),
        "the outcome advantage",
    ),
    Symbol("verl.trainer.ppo.ray_trainer", "compute_response_mask", ("data",), "where the host has not computed it"),
    Symbol("verl.trainer.ppo.ray_trainer", "compute_advantage", _ADVANTAGE_PARAMETERS, "adds the future term"),
    Symbol(
        "verl.trainer.ppo.v1.utils",
        "compute_advantage_for_multi_trajectories",
        (*_ADVANTAGE_PARAMETERS, "batch_keys"),
        "groups rollouts as grpo does, then adds the future term",
        since="0.9.0",
    ),
    Symbol(
        "verl.trainer.ppo.v1.trainer_base",
        "PPOTrainer._compute_advantage",
        ("batch", "metrics"),
        "the way out for metrics (V1)",
        since="0.9.0",
    ),
    Symbol(
        "verl.trainer.ppo.ray_trainer", "RayPPOTrainer._update_actor", ("batch",), "hears whether the workers did it"
    ),
    Symbol(
        "verl.trainer.ppo.v1.trainer_base",
        "PPOTrainer._update_actor",
        ("batch", "metrics"),
        "hears whether the workers did it",
        since="0.9.0",
    ),
    Symbol(
        "verl.trainer.ppo.metric_utils",
        "compute_data_metrics",
        ("batch", "use_critic"),
        "the way out for metrics (V0)",
    ),
    *(
        Symbol(module, f"{trainer}.{method}", ("self",), use, since)
        for module, trainer, since in (
            ("verl.trainer.ppo.ray_trainer", "RayPPOTrainer", "0.8.0"),
            ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer", "0.9.0"),
        )
        for method, use in (
            ("_save_checkpoint", "saves the state of an adaptive beta"),
            ("_load_checkpoint", "resumes the state of an adaptive beta"),
        )
    ),
    Symbol(
        "verl.experimental.fully_async_policy.fully_async_trainer",
        "FullyAsyncTrainer.__ray_metadata__.modified_class._save_checkpoint",
        ("self",),
        "saves the state of an adaptive beta",
    ),
    Symbol(
        "verl.experimental.fully_async_policy.fully_async_trainer",
        "FullyAsyncTrainer.__ray_metadata__.modified_class.load_checkpoint",
        ("self",),
        "resumes the state of an adaptive beta",
    ),
    Symbol(
        "verl.workers.utils.losses",
        "ppo_loss",
        ("config", "model_output", "data", "dp_group"),
        "the divergence of the current policy, inside the actor workers",
    ),
    Symbol(
        "verl.single_controller.ray.base",
        "ResourcePoolManager.create_resource_pool",
        ("self",),
        "asks every node for its frpo-verl before workers are placed",
    ),
    Symbol("verl.trainer.constants_ppo", "get_ppo_ray_runtime_env", (), "the plugin in every worker"),
    Symbol("verl.trainer.ppo.utils", "need_reference_policy", ("config",), "loads the reference policy"),
    Symbol(
        "verl.utils.config",
        "validate_config",
        ("config", "use_reference_policy", "use_critic"),
        "checks settings before Ray starts",
    ),
)


def of_this_host() -> list[Symbol]:
    """The rows of the table that the installed verl should have.

    Returns:
        Rows whose `since` is not newer.

    Raises:
        HostError: verl is not installed.
    """
    installed = Version(verl_version())
    return [symbol for symbol in CONTRACT if Version(symbol.since) <= installed]


problems: list[str] = []
"""What kept a hook from its module in this process."""


def refuse_if_changed() -> None:
    """Ends a frpo run in a process whose verl differs from the table.

    Raises:
        HostError: the first difference found.
    """
    if problems:
        raise HostError(problems[0])


def mismatch(symbol: Symbol, module: ModuleType) -> str | None:
    """What is wrong with a symbol of the host.

    Args:
        symbol: a row of the table.
        module: the imported module that it names.

    Returns:
        A clause that names the difference, or None when the symbol is as expected.
    """
    target = module
    for part in symbol.name.split("."):
        target = getattr(target, part, None)
    if target is None:
        return f"{symbol.module}.{symbol.name} is gone"
    missing = [name for name in symbol.parameters if name not in inspect.signature(target).parameters]
    if missing:
        return f"{symbol.module}.{symbol.name} has no parameter {', '.join(missing)}"
    return None


def require(module: ModuleType) -> None:
    """Checks every row of the table that belongs to a module.

    Args:
        module: an imported verl module.

    Raises:
        HostError: a symbol is gone or has lost a parameter.
    """
    rows = [symbol for symbol in CONTRACT if symbol.module == module.__name__]
    problems = [problem for symbol in rows if (problem := mismatch(symbol, module))]
    if problems:
        raise HostError(
            f"verl {verl_version()} differs from what frpo-verl was written for: {'; '.join(problems)}; "
            f"install verl {TESTED_VERL[-1]} or a newer frpo-verl"
        )


def verl_version() -> str:
    """The installed verl's version.

    Returns:
        For instance `0.9.1`.

    Raises:
        HostError: verl is not installed.
    """
    try:
        return importlib.metadata.version("verl")
    except importlib.metadata.PackageNotFoundError:
        raise HostError(f"verl is not installed; pip install 'verl=={TESTED_VERL[-1]}'") from None


def is_strict() -> bool:
    """Whether an untested host is an error rather than a warning.

    Returns:
        True when FRPO_VERL_STRICT=1.
    """
    return os.environ.get("FRPO_VERL_STRICT") == "1"


def check_version() -> None:
    """Says on stderr when verl is not a version that was tested; with FRPO_VERL_STRICT=1, refuses it.

    Raises:
        HostError: verl is missing, or untested and FRPO_VERL_STRICT=1.
    """
    version = verl_version()
    if version in TESTED_VERL:
        return
    message = f"verl {version} is not tested with this frpo-verl; install verl {TESTED_VERL[-1]}"
    if is_strict():
        raise HostError(f"{message}, or unset FRPO_VERL_STRICT")
    print(f"frpo-verl: {message}", file=sys.stderr)
