"""The future divergence on verl's batches: verl's own estimator makes the advantage, then the term is subtracted."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.advantage import (
    RegularisedBatch,
    diagnose,
    normalise_by_group_population,
    number_groups,
    regularise_batch,
    sample_slots,
)
from frpo_verl.checks import InvalidInput, NonFiniteToken
from frpo_verl.masking import zero_where_masked
from frpo_verl.preflight import contract, settings
from frpo_verl.preflight.errors import BatchError
from frpo_verl.preflight.settings import Settings
from frpo_verl.verl_plugin import control, metrics, worker


class OutcomeOnly(NamedTuple):
    """Stands for the configuration where verl's grpo is asked for the outcome advantage alone.

    Attributes:
        std: `sample`, verl's, or `population`.
    """

    std: str


def compute_frpo_advantage(
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: np.ndarray,
    config: Mapping[str, Any],
    batch: TensorDict | None = None,
    non_tensor_batch: dict | None = None,
    reward_baselines: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The estimator under verl's keyword convention, for hosts that pass `batch` to estimators.

        Â^FRPO_{i,t} = Â^GRPO_i − β · reg_{i,t}                     (arXiv 2601.10201, eq. 5.1)

    Released verl passes no batch; there the plugin runs `add_future_term` instead.

    Args:
        token_level_rewards: (bs, response_length).
        response_mask: (bs, response_length), nonzero for the tokens that the policy produced.
        index: (bs,), the prompt (group) of each response.
        config: verl's `algorithm` section.
        batch: holds `old_log_probs` and `ref_log_prob`, each (bs, response_length).
        non_tensor_batch: accepted because hosts pass it; not used.
        reward_baselines: accepted because hosts pass it; not used.

    Returns:
        The FRPO advantages and, as returns, the outcome advantages without the divergence.

    Raises:
        BatchError: β is not 0 and the log-probs are missing or not finite.
        HostError: this verl is not one that the plugin fits.
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


def add_future_term(host: Callable, call: inspect.BoundArguments) -> Any:
    """Runs one of verl's `compute_advantage` functions, and subtracts β·reg from the advantages that it made.

        Â_{i,t} − β · reg_{i,t}                                      (arXiv 2601.10201, Theorem 4.1)

    After whatever the estimator does: normalising, whitening, baselines. Returns, the critic's targets among them, are
    the host's. `frpo` is verl's `grpo`.

    Args:
        host: `compute_advantage` or `compute_advantage_for_multi_trajectories`.
        call: its arguments. `data` is a DataProto whose batch holds what the estimator needs and, unless β is 0,
            `old_log_probs` and `ref_log_prob`, each (bs, response_length); `config` is verl's `algorithm` section.

    Returns:
        The host's DataProto, with the regularised `advantages`; with `kl=current` the host's advantages, and a note to
        the actor workers, which subtract the term of the current policy.

    Raises:
        BatchError: β is not 0 and the log-probs are missing or not finite.
    """
    contract.refuse_if_changed()
    if call.arguments.get("config") is None:
        raise BatchError("adv_estimator=frpo without verl's algorithm section: pass it to compute_advantage as config")
    chosen = settings.read(call.arguments["config"])
    is_grpo = call.arguments["adv_estimator"] in (settings.ESTIMATOR, settings.OUTCOME_ESTIMATOR)
    if is_grpo:
        call.arguments["adv_estimator"] = settings.OUTCOME_ESTIMATOR
    beta = control.coefficient(chosen, call.arguments["config"])
    if is_grpo and (beta != 0 or chosen.variant.std == "population"):
        data, outcome = _grpo(host, call, chosen)
    else:
        # The grouping of several outputs calls compute_advantage, and with it our wrapper, once more.
        config = call.arguments["config"]
        call.arguments["config"] = OutcomeOnly("sample") if is_grpo else settings.without_mode(config)
        data, outcome = host(*call.args, **call.kwargs), None
        if beta != 0:
            _refuse_unfit(data.batch, call.arguments["adv_estimator"])
    if beta != 0:
        return _subtract(data, outcome, chosen, beta)
    metrics.publish({"frpo/beta": 0.0})
    if outcome is not None:
        data.batch["advantages"] = data.batch["returns"] = _spread(outcome, data.batch["response_mask"])
    return data


def compute_population_outcome(data: Any) -> Any:
    """grpo's outcome advantage with the population's standard deviation, where verl computes it with the sample's.

    Args:
        data: DataProto of one column: `token_level_rewards`, `response_mask`, each (bs, 1), and `uid`.

    Returns:
        The same DataProto with `advantages` and `returns`.
    """
    scores = data.batch["token_level_rewards"].sum(-1)
    outcome = normalise_by_group_population(scores, number_groups(data.non_tensor_batch["uid"]))
    data.batch["advantages"] = data.batch["returns"] = outcome[:, None] * data.batch["response_mask"]
    return data


def _grpo(host: Callable, call: inspect.BoundArguments, chosen: Settings) -> tuple[Any, Tensor]:
    """verl's grpo on one column, the sum of a response's rewards.

    So grouping (rollouts with several outputs too) and normalisation are verl's to the bit, and nothing of the batch's
    size is computed that is not needed.
    """
    data = call.arguments["data"]
    if "response_mask" not in data.batch:
        from verl.trainer.ppo.ray_trainer import compute_response_mask

        data.batch["response_mask"] = compute_response_mask(data)
    rewards = data.batch["token_level_rewards"].sum(-1, keepdim=True)
    if not torch.isfinite(rewards).all():
        row = int((~torch.isfinite(rewards)).nonzero()[0, 0])
        raise BatchError(f"the reward of row {row} is {rewards[row, 0]:g}: look at the reward function")
    any_valid = (data.batch["response_mask"] != 0).any(-1, keepdim=True).long()
    column = TensorDict({"token_level_rewards": rewards, "response_mask": any_valid}, batch_size=len(rewards))
    call.arguments["data"] = type(data)(batch=column, non_tensor_batch={"uid": data.non_tensor_batch["uid"]})
    call.arguments["config"] = OutcomeOnly(chosen.variant.std)
    if chosen.variant.std == "population" and "batch_keys" not in call.arguments:
        done = compute_population_outcome(call.arguments["data"])
    else:
        done = host(*call.args, **call.kwargs)
    return data, done.batch["advantages"][:, 0]


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


def _spread(outcome: Tensor, response_mask: Tensor) -> Tensor:
    return zero_where_masked(outcome[:, None].expand(response_mask.shape), response_mask.bool())


def _subtract(data: Any, outcome: Tensor | None, chosen: Settings, beta: float) -> Any:
    batch = data.batch
    for key, fix in (
        ("old_log_probs", "let verl recompute them"),
        ("ref_log_prob", "check that every process has loaded frpo-verl, so that verl loads the reference policy"),
    ):
        if key not in batch:
            raise BatchError(f"frpo needs {key!r} in the batch, which holds {sorted(batch.keys())}: {fix}")
    try:
        done = _regularised(data, outcome, chosen, beta)
    except NonFiniteToken as error:
        raise _not_finite(error, batch) from None
    except InvalidInput as error:
        raise BatchError(f"frpo cannot regularise this batch: {error}") from None
    figures = _figures(done, outcome, batch, chosen, beta)
    control.observe(chosen, figures["frpo/divergence_to_ref/token_mean"], int((done.sums.tokens > 0).sum()))
    in_workers = chosen.variant.kl == "current"
    note = worker.note(chosen, beta if in_workers else None)
    metrics.publish(figures, note)
    data.meta_info[worker.NOTE] = note
    if outcome is not None:
        batch["returns"] = batch["advantages"] = _spread(outcome.to(done.advantages.dtype), batch["response_mask"])
    if not in_workers:
        batch["advantages"] = done.advantages
    return data


def _figures(
    done: RegularisedBatch, outcome: Tensor | None, batch: TensorDict, chosen: Settings, beta: float
) -> dict[str, float]:
    mask = batch["response_mask"]
    found = diagnose(done, batch["advantages"] if outcome is None else outcome, mask, beta)
    slots = sample_slots(*mask.shape)
    old, reference, valid = (part.reshape(-1)[slots] for part in (batch["old_log_probs"], batch["ref_log_prob"], mask))
    seen = done.sums.tokens[slots // mask.shape[1]] > 0
    return metrics.of_batch(found, beta) | metrics.of_tokens(old, reference, valid.bool(), seen, chosen.variant)


def _regularised(data: Any, outcome: Tensor | None, chosen: Settings, beta: float) -> RegularisedBatch:
    old, reference, mask = (data.batch[key] for key in ("old_log_probs", "ref_log_prob", "response_mask"))
    before = data.batch["advantages"] if outcome is None else outcome
    group = number_groups(data.non_tensor_batch["uid"]) if chosen.variant.centring == "group" else None
    return regularise_batch(before, old, reference, mask, beta, chosen.generator, chosen.variant, group)


def _not_finite(error: NonFiniteToken, batch: TensorDict) -> BatchError:
    row, token = error.sample, error.token
    old, reference = batch["old_log_probs"][row, token], batch["ref_log_prob"][row, token]
    return BatchError(
        f"{error.count} of {int(batch['response_mask'].bool().sum())} response tokens have a log-ratio to the "
        f"reference that is not finite, the first in row {row} at token {token} (old_log_probs {old:g}, ref_log_prob "
        f"{reference:g}): the policy has diverged or the two models differ in vocabulary; lower the learning rate or "
        "check the reference's path"
    )
