"""Changes the advantages of verl's batches: verl's own estimator makes them, then the term is subtracted."""

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.preflight import contract, native, settings
from frpo_verl.preflight.errors import BatchError
from frpo_verl.verl_plugin import figures, note, outcome, run, term, token_weights
from frpo_verl.verl_plugin.run import Run


def compute_frpo_advantage(
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: np.ndarray,
    config: Mapping[str, Any],
    batch: TensorDict | None = None,
    non_tensor_batch: dict | None = None,
    reward_baselines: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns FRPO's advantages and, as returns, the outcome advantages, under verl's convention for estimators.

        Â^FRPO_{i,t} = Â^GRPO_i − β · reg_{i,t}                     (arXiv 2601.10201, eq. 5.1)

    For hosts that pass `batch` to estimators. Released verl does not; there `with_changes` runs instead.
    """
    from verl.protocol import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    # Without our wrapper around it, verl's function would call this one again.
    contract.refuse_if_changed()
    given = {} if batch is None else dict(batch.items())
    tensors = {**given, "token_level_rewards": token_level_rewards, "response_mask": response_mask}
    data = DataProto(batch=TensorDict(tensors, len(response_mask)), non_tensor_batch={"uid": index})
    norm = config.get("norm_adv_by_std_in_grpo", True)
    done = compute_advantage(data, settings.ESTIMATOR, norm_adv_by_std_in_grpo=norm, config=config)
    return done.batch["advantages"], done.batch["returns"]


def with_changes(host: Callable, *args: Any, **kwargs: Any) -> Any:
    """Runs one of verl's `compute_advantage` functions, and changes the advantages as the run's settings ask for.

        Â_{i,t} − β · reg_{i,t}                                      (arXiv 2601.10201, Theorem 4.1)

    Subtracts after whatever the estimator does: normalising, whitening, baselines. Returns, the critic's targets among
    them, stay the host's. With `kl=current` the advantages stay the host's, and the actor workers are told to subtract
    the term of the current policy. Token weights come last.
    """
    if (nested := _nested.get()) is not None:
        return nested(host, *args, **kwargs)
    call = inspect.signature(host).bind(*args, **kwargs)
    name, algorithm = call.arguments["adv_estimator"], call.arguments.get("config")
    asks = name == settings.ESTIMATOR or settings.asks_for_future(algorithm)
    if not asks or native.is_left_to_host(name):
        data = _call(host, call)
    elif algorithm is None:
        raise BatchError(f"adv_estimator={name} without verl's algorithm section: pass it to the function as config")
    else:
        contract.refuse_if_changed()
        data = _with_future_term(host, call, run.of(algorithm))
    return token_weights.weighed(data, algorithm)


def _with_future_term(host: Callable, call: inspect.BoundArguments, this: Run) -> Any:
    beta, std = this.beta.value, this.settings.variant.std
    is_grpo = call.arguments["adv_estimator"] in (settings.ESTIMATOR, settings.OUTCOME_ESTIMATOR)
    if is_grpo:
        call.arguments["adv_estimator"] = settings.OUTCOME_ESTIMATOR
    if not is_grpo or (beta == 0 and std == "sample"):
        data, of_responses = _call(host, call), None
        if beta != 0:
            _refuse_unfit(data.batch, call.arguments["adv_estimator"])
    else:
        data, of_responses = _with_outcome(host, call, std)
    if beta != 0:
        return _subtract(data, of_responses, this, beta)
    this.outbox.put({"frpo/beta": 0.0})
    if of_responses is not None:
        data.batch["advantages"] = data.batch["returns"] = term.spread(of_responses, data.batch["response_mask"])
    return data


def _with_outcome(host: Callable, call: inspect.BoundArguments, std: str) -> tuple[Any, Tensor]:
    """Returns the data and (bs,), grpo's advantage of each response; nothing of the batch's size is computed."""
    data = call.arguments["data"]
    if "response_mask" not in data.batch:
        from verl.trainer.ppo.ray_trainer import compute_response_mask

        data.batch["response_mask"] = compute_response_mask(data)
    column = outcome.column(data)
    of_column = partial(outcome.of_column, norm=call.arguments.get("norm_adv_by_std_in_grpo", True), std=std)
    if "batch_keys" in call.arguments:
        # Rollouts with several outputs: verl groups them and calls its other function.
        call.arguments["data"] = column
        done = _call(host, call, lambda inner, data, *args, **kwargs: of_column(data))
    else:
        done = of_column(column)
    return data, done.batch["advantages"][:, 0]


def _as_it_is(host: Callable, *args: Any, **kwargs: Any) -> Any:
    return host(*args, **kwargs)


_nested: ContextVar[Callable | None] = ContextVar("nested", default=None)
"""Answers in place of `with_changes`, where verl's function calls verl's other one."""


def _call(host: Callable, call: inspect.BoundArguments, nested: Callable = _as_it_is) -> Any:
    token = _nested.set(nested)
    try:
        return host(*call.args, **call.kwargs)
    finally:
        _nested.reset(token)


def _subtract(data: Any, of_responses: Tensor | None, this: Run, beta: float) -> Any:
    batch, chosen = data.batch, this.settings
    before = batch["advantages"] if of_responses is None else of_responses
    done = term.regularised(data, before, chosen, beta)
    of_step = figures.of_step(done, before, batch, chosen, beta)
    this.beta.observe(of_step["frpo/divergence_to_ref/token_mean"], int((done.sums.tokens > 0).sum()))
    in_workers = chosen.variant.kl == "current"
    told = note.write(chosen, beta if in_workers else None)
    this.outbox.put(of_step, told)
    data.meta_info[note.KEY] = told
    if of_responses is not None:
        batch["returns"] = batch["advantages"] = _outcomes(of_responses.to(done.advantages.dtype), batch, in_workers)
    if not in_workers:
        batch["advantages"] = done.advantages
    return data


def _outcomes(outcome: Tensor, batch: TensorDict, as_advantages: bool) -> Tensor:
    if as_advantages:
        return term.spread(outcome, batch["response_mask"])
    # A view, of no memory: verl reads returns in valid slots alone.
    return outcome[:, None].expand(batch["response_mask"].shape)


def _refuse_unfit(batch: TensorDict, estimator: str) -> None:
    advantages, mask = batch["advantages"], batch["response_mask"]
    if advantages.shape != mask.shape or not advantages.is_floating_point():
        raise BatchError(
            f"adv_estimator={estimator} returned advantages of shape {tuple(advantages.shape)} and {advantages.dtype}, "
            f"and kl_mode={settings.MODE} needs a floating-point number for each of {tuple(mask.shape)}: look at the "
            "estimator"
        )
    unfit = mask.bool() & ~torch.isfinite(advantages)
    if unfit.any():
        row, token = unfit.nonzero()[0].tolist()
        raise BatchError(
            f"adv_estimator={estimator} returned {advantages[row, token]:g} for row {row} at token {token}: look at "
            "the estimator and the reward function"
        )
