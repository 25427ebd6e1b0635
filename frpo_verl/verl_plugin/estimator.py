"""Changes the advantages of verl's batches: verl's estimator makes them, weights multiply, the term is subtracted."""

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.masking import zero_where_masked
from frpo_verl.preflight import contract, native, settings
from frpo_verl.preflight.errors import BatchError
from frpo_verl.preflight.methods import TOKEN_WEIGHT
from frpo_verl.rows import row_blocks
from frpo_verl.verl_plugin import figures, note, outcome, run, sampled, term, token_file, token_weights
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

        w_{i,t} · Â_{i,t} − β · reg_{i,t}                            (arXiv 2601.10201, Theorem 4.1; 2509.21154, eq. 9)

    Subtracts after whatever the estimator does: normalising, whitening, baselines. Token weights multiply the
    estimator's advantages alone: the divergence's part, divided by them, would be the gradient of nothing. Returns, the
    critic's targets among them, stay the host's. With `kl=current` the actor workers are told to subtract the term of
    the current policy.
    """
    if (nested := _nested.get()) is not None:
        return nested(host, *args, **kwargs)
    call = inspect.signature(host).bind(*args, **kwargs)
    name, given = call.arguments["adv_estimator"], call.arguments.get("config")
    algorithm = _asked() if given is None else given
    asks = name == settings.ESTIMATOR or settings.asks_for_future(algorithm)
    regularises, weigh = asks and not native.is_left_to_host(name), token_weights.chosen(algorithm)
    if not regularises and weigh is None:
        call.arguments["data"].batch.pop(sampled.FIELD, None)
        return _call(host, call)
    if given is None:
        raise BatchError(
            f"adv_estimator={name} without verl's algorithm section, which has what is done to the advantages: pass it "
            "to compute_advantage as config"
        )
    contract.refuse_if_changed()
    this = run.of(algorithm) if regularises else None
    if "batch_keys" in call.arguments:
        term.name_rollouts(call.arguments["data"], call.arguments["batch_keys"])
    data, of_responses = (_call(host, call), None) if this is None else _outcome(host, call, this)
    # Once: to make it of a host's integers takes as long as a pass over the advantages.
    valid = data.batch["response_mask"].bool()
    if of_responses is None and (weigh is not None or this.beta.value != 0):
        _refuse_unfit(data.batch["advantages"], valid, call.arguments["adv_estimator"])
    advantages, seen, told = data.batch["advantages"] if of_responses is None else of_responses, {}, {}
    if weigh is not None:
        weights, seen = token_weights.of_batch(weigh, data, valid)
        advantages = token_weights.times(advantages, weights, valid)
        told["token_weight"] = algorithm[TOKEN_WEIGHT]
    if this is not None:
        advantages, of_term, told_of_term = _regularised(data, advantages, valid, this)
        seen, told = seen | of_term, told | told_of_term
    if told.get("beta") is None:
        data.batch.pop(sampled.FIELD, None)
    run.outbox.put(seen, _noted(data, told))
    return _written(data, advantages, of_responses)


def _outcome(host: Callable, call: inspect.BoundArguments, this: Run) -> tuple[Any, Tensor | None]:
    """Returns the data with verl's advantages, or, of grpo, the data and (bs,), the advantage of each response."""
    std = this.settings.variant.std
    is_grpo = call.arguments["adv_estimator"] in (settings.ESTIMATOR, settings.OUTCOME_ESTIMATOR)
    if is_grpo:
        call.arguments["adv_estimator"] = settings.OUTCOME_ESTIMATOR
    if is_grpo and not (this.beta.value == 0 and std == "sample"):
        return _with_outcome(host, call, std)
    return _call(host, call), None


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


def _regularised(
    data: Any, outcome: Tensor, valid: Tensor, this: Run
) -> tuple[Tensor, dict[str, float], dict[str, Any]]:
    """Returns Â − β·reg, or Â where the workers are to subtract, less a baseline; with figures and what to note."""
    beta, chosen = this.beta.value, this.settings
    if beta == 0:
        return outcome, {"frpo/beta": 0.0}, {}
    rejects = sampled.FIELD in data.batch
    if rejects and outcome.dim() == 2:
        outcome = zero_where_masked(outcome, valid)
    done = term.regularised(data, outcome, chosen, beta, this.memory.moments)
    of_step = figures.of_step(done, outcome, data, chosen, beta)
    run.outbox.put_tokens(
        token_file.traced(data, outcome, done.advantages, valid, beta) if run.dumps_rollouts() else None
    )
    if done.baseline is not None:
        this.memory.observe(done.baseline)
    this.beta.observe(of_step["frpo/divergence_to_ref/token_mean"], int((done.sums.tokens > 0).sum()))
    in_workers = chosen.variant.kl == "current"
    told = {"chosen": chosen, "beta": beta if in_workers else None}
    if in_workers and done.baseline is None:
        return outcome.to(done.advantages.dtype), of_step, told
    return zero_where_masked(done.advantages, valid) if rejects else done.advantages, of_step, told


def _noted(data: Any, told: dict[str, Any]) -> str | None:
    """Leaves the note of what was done with the batch, and returns it; None where nothing was."""
    if not told:
        data.meta_info.pop(note.KEY, None)
        return None
    text = data.meta_info[note.KEY] = note.write(**{"chosen": None, **told})
    return text


def _asked() -> Mapping[str, Any] | None:
    return None if (config := run.asked()) is None else config.algorithm


def _written(data: Any, advantages: Tensor, of_responses: Tensor | None) -> Any:
    """Returns the data with its advantages and, of grpo, its returns, the outcomes."""
    mask = data.batch["response_mask"]
    if of_responses is not None:
        # A view, of no memory: verl reads returns in valid slots alone.
        data.batch["returns"] = of_responses.to(advantages.dtype)[:, None].expand(mask.shape)
    data.batch["advantages"] = term.spread(advantages, mask) if advantages.dim() == 1 else advantages
    return data


def _refuse_unfit(advantages: Tensor, valid: Tensor, estimator: str) -> None:
    if advantages.shape != valid.shape or not advantages.is_floating_point():
        raise BatchError(
            f"adv_estimator={estimator} returned advantages of shape {tuple(advantages.shape)} and {advantages.dtype}, "
            f"and a floating-point number is needed for each of {tuple(valid.shape)}: look at the estimator"
        )
    # NaN and infinity stay in a sum: one look at each block of rows in place of one at each token.
    sums = (zero_where_masked(advantages[rows], valid[rows]).sum() for rows in row_blocks(valid))
    if not all(torch.isfinite(total) for total in sums) and (unfit := valid & ~advantages.isfinite()).any():
        row, token = unfit.nonzero()[0].tolist()
        raise BatchError(
            f"adv_estimator={estimator} returned {advantages[row, token]:g} for row {row} at token {token}: look at "
            "the estimator and the reward function"
        )
