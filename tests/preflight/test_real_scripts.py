"""Public run scripts of verl, in our words, with FRPO switched on: nothing legal is refused, nothing illegal accepted.

A row has the source, the model, the overrides that matter to a check, and a word of the refusal where verl 0.9.1 cannot
run it. That was decided by reading verl's source, not by what our checks say; the comment names the place. What a
refusal asks for is set then, and the script must pass. Left out: what no check looks at (rates, lengths of a log,
loggers, paths), and keys that verl 0.9.1 no longer has, which Hydra refuses by name (`megatron.grad_offload`,
`actor.model_engine`, `rollout.n_agent`, `reward_model.overlong_buffer`, `actor_rollout_ref.agent`, `azr`,
`val_sample_size`, …). Mains of other projects are replaced by verl's own.

Sources: verl-project/verl at tag v0.9.0 (483b8a00) and at 1dda039b (`verl@main`), verl-project/verl-recipe at 48ea0a79,
TIGER-AI-Lab/verl-tool at 980962b4, LeapLabTHU/Absolute-Zero-Reasoner at a82124e5, ltzheng/SimpleTIR at e7b5b443,
Unakar/Logic-RL at 9d2c4575, PeterGriffinJin/Search-R1 at a14dc3a4.
"""

import copy
import functools
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("verl")
from command_lines import composed
from omegaconf import OmegaConf, open_dict

from frpo_verl.preflight import examination, inputs, megatron_layout, older_reward

ARR, ACTOR, ROLLOUT = "actor_rollout_ref", "actor_rollout_ref.actor", "actor_rollout_ref.rollout"

SECTIONS = {
    "A": ACTOR,
    "M": f"{ACTOR}.megatron",
    "R": ROLLOUT,
    "F": f"{ARR}.ref",
    "L": f"{ARR}.model",
    "D": "data",
    "T": "trainer",
}
"""Beginnings of the keys in the table below."""

MAINS = {
    "main_ppo": (),
    "megatron": ("model_engine=megatron",),
    "fully_async": ("-m", "verl.experimental.fully_async_policy.fully_async_main"),
    "one_step_off": ("-m", "verl.experimental.one_step_off_policy.main_ppo"),
    "one_step_off_megatron": (
        *("-m", "verl.experimental.one_step_off_policy.main_ppo"),
        *("--config-name", "one_step_off_ppo_megatron_trainer"),
    ),
    "fully_async_megatron": (
        *("-m", "verl.experimental.fully_async_policy.fully_async_main"),
        *("--config-name", "fully_async_ppo_megatron_trainer"),
    ),
}
MODELS = {
    # heads, vocabulary, experts
    "0.6B": (16, 151936, None),
    "3B": (16, 151936, None),
    "7B": (28, 152064, None),
    "8B": (32, 151936, None),
    "12B": (32, 131072, None),
    "14B": (40, 151936, None),
    "32B": (40, 152064, None),
    "30B-A3B": (32, 151936, 128),
    "235B-A22B": (64, 151936, 128),
    "671B": (128, 129280, 256),
    "gpt-oss-20b": (64, 201088, 32),
}


class Script(NamedTuple):
    """A public script: where it is, its main and model, what it sets; why it cannot run, and what it then lacks."""

    source: str
    main: str
    model: str
    words: str
    refused: str | None = None
    mended: str = ""


BY_TOKENS = "A.use_dynamic_bsz=True A.ppo_max_token_len_per_gpu=24576"
SHORT = "D.train_batch_size=1024 D.max_prompt_length=1024 D.max_response_length=2048 R.tensor_model_parallel_size=2"
SMALL = f"{SHORT} A.ppo_mini_batch_size=256 {BY_TOKENS} R.n=5"
OF_30B = (
    "D.train_batch_size=256 D.max_prompt_length=2048 D.max_response_length=8192 A.ppo_mini_batch_size=32 R.n=16 "
    "A.use_dynamic_bsz=True A.ppo_max_token_len_per_gpu=30720 R.tensor_model_parallel_size=4"
)
EXPERTS = "M.tensor_model_parallel_size=2 M.expert_model_parallel_size=8 M.expert_tensor_parallel_size=1"
LONG = (
    "D.max_prompt_length=2048 D.max_response_length=8192 A.use_dynamic_bsz=True A.ppo_max_token_len_per_gpu=20480 "
    "A.clip_ratio_low=0.2 A.clip_ratio_high=0.28 A.clip_ratio_c=10.0 A.ppo_mini_batch_size=32"
)
APART = "actor_rollout_ref.hybrid_engine=False R.calculate_log_probs=True"
FULLY = f"{APART} D.train_batch_size=0 D.gen_batch_size=1"
TOOLS = (
    "R.multi_turn.enable=True R.multi_turn.max_assistant_turns=8 R.multi_turn.tool_config_path={folder}/tools.yaml "
    "R.multi_turn.format=hermes"
)
OLDER_DAPO = "reward_model.reward_manager=dapo +reward_model.reward_kwargs.overlong_buffer_cfg.len=4096"
OWN_ROWS = "D.custom_cls.path={folder}/rows.py D.custom_cls.name=Rows"

SCRIPTS = (
    Script(
        "verl examples/grpo_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        "D.train_batch_size=16 D.max_prompt_length=2048 D.max_response_length=32768 "
        f"A.ppo_mini_batch_size=16 {BY_TOKENS} R.tensor_model_parallel_size=4 R.n=5 "
        "L.use_remove_padding=True A.fsdp_config.ulysses_sequence_parallel_size=4 "
        "F.fsdp_config.ulysses_sequence_parallel_size=4",
    ),
    Script(
        "verl examples/grpo_trainer/run_qwen2_5_vl_7b_fsdp.sh",
        "main_ppo",
        "7B",
        f"{SMALL} D.train_batch_size=512 D.image_key=images A.ppo_mini_batch_size=128 "
        "A.strategy=fsdp2 +R.engine_kwargs.vllm.mm_processor_cache_gb=0",
    ),
    Script(
        "verl examples/cispo_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"{SMALL} A.policy_loss.loss_mode=cispo A.clip_ratio_low=10",
    ),
    Script(
        "verl examples/gmpo_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"{SMALL} A.policy_loss.loss_mode=geo_mean A.clip_ratio_low=0.4",
    ),
    Script(
        "verl examples/sapo_trainer/run_qwen3_30b_a3b_fsdp.sh",
        "main_ppo",
        "30B-A3B",
        f"{OF_30B} A.strategy=fsdp2 F.strategy=fsdp2 A.policy_loss.loss_mode=sapo",
    ),
    Script(
        "verl examples/gspo_trainer/run_qwen3_30b_a3b_megatron.sh",
        "megatron",
        "30B-A3B",
        f"{OF_30B} {EXPERTS} A.policy_loss.loss_mode=gspo A.clip_ratio_low=3e-4 A.loss_agg_mode=seq-mean-token-mean",
    ),
    Script(
        "verl examples/dppo_trainer/run_qwen3_30b_a3b_megatron.sh",
        "megatron",
        "30B-A3B",
        f"{OF_30B} {EXPERTS} A.policy_loss.loss_mode=dppo_tv A.clip_ratio_c=10000.0 "
        "A.loss_agg_mode=seq-mean-token-sum-norm algorithm.norm_adv_by_std_in_grpo=False",
    ),
    # A divergence in the reward goes through the estimator: our own refusal, by Proposition 3.2 of FRPO's paper.
    Script(
        "verl examples/rloo_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"algorithm.adv_estimator=rloo {SMALL} algorithm.use_kl_in_reward=True",
        "algorithm.use_kl_in_reward=True",
        "algorithm.use_kl_in_reward=False",
    ),
    Script(
        "verl examples/reinforce_plus_plus_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"algorithm.adv_estimator=reinforce_plus_plus {SMALL} A.ppo_mini_batch_size=1024 R.n=8 "
        "algorithm.use_kl_in_reward=True",
        "algorithm.use_kl_in_reward=True",
        "algorithm.use_kl_in_reward=False",
    ),
    # V1 hands none of these what it takes: compute_advantage of verl/trainer/ppo/v1/trainer_base.py.
    Script(
        "verl examples/remax_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"{SMALL} algorithm.adv_estimator=remax R.n=4 algorithm.use_kl_in_reward=True",
        "algorithm.adv_estimator=remax",
        "T.use_v1=False algorithm.use_kl_in_reward=False",
    ),
    Script(
        "verl examples/gdpo_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"{SMALL} algorithm.adv_estimator=gdpo +algorithm.gdpo_reward_keys=[accuracy_reward,format_reward] R.n=4 "
        "D.train_batch_size=128 A.ppo_mini_batch_size=32 reward.reward_manager.name=gdpo "
        "reward.custom_reward_function.path={folder}/reward.py reward.custom_reward_function.name=compute_score",
        "algorithm.adv_estimator=gdpo",
        "T.use_v1=False",
    ),
    Script(
        "verl examples/otb_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"{SMALL} algorithm.adv_estimator=optimal_token_baseline A.calculate_sum_pi_squared=True R.n=8 "
        "D.train_batch_size=128 A.ppo_mini_batch_size=128",
        "algorithm.adv_estimator=optimal_token_baseline",
        "T.use_v1=False",
    ),
    Script(
        "verl examples/gpg_trainer/run_qwen3_8b_megatron.sh",
        "megatron",
        "8B",
        f"algorithm.adv_estimator=gpg {SMALL} A.policy_loss.loss_mode=gpg M.tensor_model_parallel_size=2 "
        "M.pipeline_model_parallel_size=2",
    ),
    Script(
        "verl examples/ppo_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"algorithm.adv_estimator=gae {SMALL} R.n=1 critic.model.path={{model}} critic.use_dynamic_bsz=True",
    ),
    Script(
        "verl examples/ppo_trainer/run_qwen3_8b_megatron.sh",
        "megatron",
        "8B",
        f"algorithm.adv_estimator=gae {SMALL} R.n=1 critic.model.path={{model}} M.tensor_model_parallel_size=2 "
        "M.pipeline_model_parallel_size=2 critic.megatron.tensor_model_parallel_size=2 "
        "critic.megatron.pipeline_model_parallel_size=2",
    ),
    Script(
        "verl examples/grpo_trainer/run_deepseek_v3_671b_megatron.sh",
        "megatron",
        "671B",
        f"{OF_30B} D.train_batch_size=96 R.n=8 R.tensor_model_parallel_size=32 "
        "A.ppo_max_token_len_per_gpu=10240 M.tensor_model_parallel_size=8 M.pipeline_model_parallel_size=12 "
        "M.expert_model_parallel_size=8 M.expert_tensor_parallel_size=1 T.nnodes=12 reward.reward_manager.name=dapo "
        "+M.override_transformer_config.num_layers_in_last_pipeline_stage=6",
    ),
    Script(
        "verl examples/grpo_trainer/run_qwen3_235b_a22b_megatron.sh",
        "megatron",
        "235B-A22B",
        f"{OF_30B} D.max_prompt_length=8192 D.max_response_length=4096 "
        "D.train_batch_size=128 A.ppo_mini_batch_size=128 R.tensor_model_parallel_size=8 R.data_parallel_size=8 "
        "R.expert_parallel_size=64 M.tensor_model_parallel_size=4 M.pipeline_model_parallel_size=8 "
        "M.expert_model_parallel_size=4 T.nnodes=8 T.n_gpus_per_node=16",
    ),
    Script(
        "verl examples/tuning/lora/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"{SMALL} D.train_batch_size=64 A.ppo_mini_batch_size=32 R.layered_summon=True "
        "L.lora_rank=64 R.load_format=safetensors T.n_gpus_per_node=2",
    ),
    Script(
        "verl examples/tuning/lora/run_qwen3_30b_a3b_megatron.sh",
        "megatron",
        "30B-A3B",
        f"{SMALL} D.train_batch_size=128 D.max_response_length=1024 R.n=4 "
        "A.ppo_mini_batch_size=16 A.ppo_max_token_len_per_gpu=2048 R.tensor_model_parallel_size=8 "
        "L.lora.rank=32 M.tensor_model_parallel_size=2 M.pipeline_model_parallel_size=2 "
        "M.context_parallel_size=2 M.expert_model_parallel_size=4 M.expert_tensor_parallel_size=1",
    ),
    Script(
        "verl examples/router_replay/run_qwen3_30b_a3b_megatron.sh, with model_engine",
        "megatron",
        "30B-A3B",
        "D.train_batch_size=3 A.ppo_mini_batch_size=3 A.ppo_micro_batch_size_per_gpu=3 "
        "R.n=8 R.log_prob_micro_batch_size_per_gpu=3 F.log_prob_micro_batch_size_per_gpu=3 T.nnodes=6 "
        "R.tensor_model_parallel_size=4 R.calculate_log_probs=True R.enable_rollout_routing_replay=True "
        "R.skip_tokenizer_init=True M.router_replay.mode=R3 M.pipeline_model_parallel_size=6 "
        "M.expert_model_parallel_size=8 M.expert_tensor_parallel_size=1",
    ),
    # `validate_config` reads `actor.megatron`, which FSDP's section does not have: AttributeError.
    Script(
        "verl examples/tuning/scaling/run_qwen2_5_32b_megatron.sh, without model_engine",
        "main_ppo",
        "32B",
        f"{SMALL} D.train_batch_size=512 A.strategy=megatron",
        "set model_engine=megatron",
        "A.strategy=fsdp2",
    ),
    # The loss has no advantages then, and groups of one no spread.
    Script(
        "verl examples/on_policy_distillation_trainer/run_qwen3_8b_fsdp.sh",
        "main_ppo",
        "8B",
        f"{SMALL} D.train_batch_size=128 A.ppo_mini_batch_size=128 R.n=1 "
        "R.max_model_len=3073 distillation.enabled=True distillation.n_gpus_per_node=4 distillation.nnodes=1 "
        "distillation.teacher_models.teacher_model.model_path={model} "
        "distillation.teacher_models.teacher_model.inference.tensor_model_parallel_size=2 "
        "distillation.teacher_models.teacher_model.inference.name=vllm "
        "distillation.teacher_models.teacher_model.inference.max_model_len=3073 "
        "distillation.distillation_loss.loss_mode=k1 distillation.distillation_loss.use_policy_gradient=True "
        "distillation.distillation_loss.use_task_rewards=False",
        "use_task_rewards=False",
        "R.n=4 distillation.distillation_loss.use_task_rewards=True",
    ),
    Script(
        "verl examples/grpo_trainer/run_mistral_nemo_12b_skyworkrm_fsdp.sh",
        "main_ppo",
        "12B",
        "D.train_batch_size=512 A.ppo_mini_batch_size=128 R.n=5 "
        "A.ppo_micro_batch_size_per_gpu=10 R.log_prob_micro_batch_size_per_gpu=10 R.tensor_model_parallel_size=4 "
        "reward.reward_model.enable=True reward.reward_model.model_path={model} reward.reward_model.rollout.name=vllm "
        "reward.reward_model.rollout.tensor_model_parallel_size=1",
    ),
    Script(
        "verl tests/special_e2e/run_v1_colocate_async_disrm.sh",
        "main_ppo",
        "0.6B",
        "T.v1.trainer_mode=colocate_async T.v1.colocate_async.num_warmup_batches=1 "
        "D.train_batch_size=8 A.ppo_mini_batch_size=8 A.use_dynamic_bsz=True R.n=4 R.tensor_model_parallel_size=1 "
        "reward.reward_manager.name=dapo reward.reward_model.enable=True reward.reward_model.model_path={model} "
        "reward.reward_model.rollout.name=vllm T.n_gpus_per_node=2",
    ),
    Script(
        "verl@main tests/special_e2e/run_v1_separate_async.sh",
        "main_ppo",
        "0.6B",
        "T.v1.trainer_mode=separate_async T.v1.separate_async.parameter_sync_step=4 "
        "T.v1.sampler.max_off_policy_threshold=8 T.v1.sampler.max_off_policy_strategy=drop D.train_batch_size=4 "
        "D.gen_batch_size=1 A.ppo_mini_batch_size=1 A.use_dynamic_bsz=True A.strategy=fsdp2 R.n=4 R.nnodes=1 "
        "R.n_gpus_per_node=4 R.checkpoint_engine.backend=nccl reward.reward_manager.name=dapo T.n_gpus_per_node=4",
    ),
    Script(
        "verl verl/experimental/one_step_off_policy/shell/dapo_7b_math_megatron_4_12.sh",
        "one_step_off_megatron",
        "7B",
        f"{LONG} A.use_dynamic_bsz=False D.train_batch_size=512 R.n=12 "
        "A.ppo_micro_batch_size_per_gpu=2 R.log_prob_micro_batch_size_per_gpu=4 F.log_prob_micro_batch_size_per_gpu=4 "
        f"M.tensor_model_parallel_size=2 M.pipeline_model_parallel_size=2 {APART} T.nnodes=2 T.n_gpus_per_node=6 "
        "rollout.nnodes=2 rollout.n_gpus_per_node=2 reward.reward_manager.name=dapo",
    ),
    Script(
        "verl verl/experimental/one_step_off_policy/shell/grpo_0.6b_gsm8k_fsdp2_2_6.sh",
        "one_step_off",
        "0.6B",
        "D.train_batch_size=1152 A.ppo_mini_batch_size=192 R.n=5 "
        "A.ppo_micro_batch_size_per_gpu=32 R.log_prob_micro_batch_size_per_gpu=32 "
        "F.log_prob_micro_batch_size_per_gpu=32 R.layered_summon=True actor_rollout_ref.hybrid_engine=False "
        "T.n_gpus_per_node=6 rollout.nnodes=1 rollout.n_gpus_per_node=2",
    ),
    Script(
        "verl verl/experimental/fully_async_policy/shell/dapo_7b_async_retool.sh",
        "fully_async",
        "7B",
        f"{LONG} {FULLY} {TOOLS} {OWN_ROWS} A.ppo_mini_batch_size=16 R.n=16 "
        "reward.custom_reward_function.path={folder}/reward.py A.ulysses_sequence_parallel_size=4 "
        "L.use_remove_padding=True A.fsdp_config.fsdp_size=4 R.tensor_model_parallel_size=4 "
        "T.n_gpus_per_node=4 rollout.nnodes=1 rollout.n_gpus_per_node=4 async_training.staleness_threshold=0.5",
    ),
    Script(
        "verl verl/experimental/fully_async_policy/shell/geo3k_qwen25vl_7b_megatron_4_4.sh",
        "fully_async_megatron",
        "7B",
        f"{SMALL} {FULLY} A.ppo_mini_batch_size=128 M.tensor_model_parallel_size=2 R.n=4 "
        "T.n_gpus_per_node=4 rollout.nnodes=1 rollout.n_gpus_per_node=4",
    ),
    # `train_mini_batch` of verl's engine workers asserts that the ranks share a mini-batch: 32 · 16 over twelve.
    Script(
        "verl verl/experimental/fully_async_policy/shell/dapo_7b_math_fsdp2_4_12.sh",
        "fully_async",
        "7B",
        f"{LONG} {FULLY} R.n=16 R.tensor_model_parallel_size=1 A.fsdp_config.fsdp_size=2 T.nnodes=2 "
        "T.n_gpus_per_node=6 rollout.nnodes=2 rollout.n_gpus_per_node=2 reward.reward_manager.name=dapo",
        "12 ranks cannot share",
        "R.n=12",
    ),
    # `prepare_micro_batches` asserts that micro-batches of 8 fill the 4 responses of a rank.
    Script(
        "verl examples/rollout_correction/run_qwen2_5_7b_fsdp.sh",
        "main_ppo",
        "7B",
        "algorithm.adv_estimator=rloo D.train_batch_size=128 A.ppo_mini_batch_size=32 A.ppo_micro_batch_size_per_gpu=8 "
        "R.n=1 R.log_prob_micro_batch_size_per_gpu=8 R.calculate_log_probs=True "
        "algorithm.rollout_correction.bypass_mode=True algorithm.rollout_correction.loss_type=reinforce "
        "algorithm.rollout_correction.rollout_is=sequence",
        "a rank has 4 responses of a mini-batch",
        "A.ppo_micro_batch_size_per_gpu=4",
    ),
    # RolloutConfig.__post_init__ raises.
    Script(
        "recipe entropy/7b_clip_cov.sh",
        "main_ppo",
        "7B",
        f"{LONG} D.train_batch_size=256 R.n=8 R.mode=sync A.policy_loss.loss_mode=clip_cov A.clip_ratio_low=1 "
        "A.clip_ratio_high=1 algorithm.filter_groups.enable=True algorithm.filter_groups.metric=acc T.nnodes=4",
        "Rollout mode 'sync' has been removed",
        "R.mode=async",
    ),
    Script(
        "recipe dapo/run_dapo_qwen2.5_32b.sh",
        "main_ppo",
        "32B",
        f"{LONG} D.max_response_length=20480 D.gen_batch_size=1536 D.train_batch_size=512 "
        "A.ppo_max_token_len_per_gpu=22528 R.n=16 algorithm.filter_groups.enable=True "
        "algorithm.filter_groups.metric=acc "
        "A.ulysses_sequence_parallel_size=8 F.ulysses_sequence_parallel_size=8 R.tensor_model_parallel_size=4 "
        f"L.use_remove_padding=True T.nnodes=16 {OLDER_DAPO}",
    ),
    Script(
        "recipe dapo/test_dapo_7b_math_lora.sh",
        "main_ppo",
        "7B",
        f"{LONG} D.train_batch_size=512 R.n=16 L.lora_rank=8 "
        "A.ulysses_sequence_parallel_size=4 L.use_remove_padding=True A.fsdp_config.fsdp_size=32 "
        f"R.tensor_model_parallel_size=4 T.nnodes=8 {OLDER_DAPO}",
    ),
    Script(
        "recipe dapo/test_dapo_dspk_671b_megatron_96gb.sh",
        "megatron",
        "671B",
        f"{LONG} A.use_dynamic_bsz=False D.train_batch_size=256 R.n=16 "
        "A.ppo_micro_batch_size_per_gpu=2 R.log_prob_micro_batch_size_per_gpu=2 F.log_prob_micro_batch_size_per_gpu=2 "
        "M.pipeline_model_parallel_size=16 M.expert_model_parallel_size=32 R.tensor_model_parallel_size=32 "
        "+M.override_transformer_config.num_layers_in_first_pipeline_stage=3 "
        "+M.override_transformer_config.num_layers_in_last_pipeline_stage=2 T.nnodes=64",
    ),
    Script(
        "recipe retool/run_qwen2-32b_dapo.sh",
        "main_ppo",
        "32B",
        f"{LONG} {TOOLS} {OWN_ROWS} D.train_batch_size=512 A.ppo_mini_batch_size=64 R.n=16 "
        "custom_reward_function.path=recipe/retool/retool.py A.ulysses_sequence_parallel_size=8 "
        "L.use_remove_padding=True R.tensor_model_parallel_size=4 T.nnodes=2",
    ),
    Script(
        "recipe deepeyes/run_deepeyes_grpo.sh",
        "main_ppo",
        "7B",
        f"{TOOLS} D.train_batch_size=128 A.ppo_mini_batch_size=128 R.n=8 R.name=sglang "
        "A.ppo_micro_batch_size_per_gpu=1 R.log_prob_micro_batch_size_per_gpu=1 F.log_prob_micro_batch_size_per_gpu=1 "
        "R.tensor_model_parallel_size=1",
    ),
    # Sequences cannot be split over four of two GPUs.
    Script(
        "recipe langgraph_agent/example/run_gpt_oss_20b_bf16.sh",
        "main_ppo",
        "gpt-oss-20b",
        f"{LONG} D.train_batch_size=128 A.ppo_mini_batch_size=16 R.n=8 R.name=sglang "
        "A.ulysses_sequence_parallel_size=4 L.use_remove_padding=True T.n_gpus_per_node=2 "
        "R.tensor_model_parallel_size=2 R.agent.agent_loop_config_path={folder}/agent.yaml",
        "ulysses_sequence_parallel_size=4",
        "A.ulysses_sequence_parallel_size=2",
    ),
    Script(
        "recipe infigui-g1/run_7b.sh",
        "main_ppo",
        "7B",
        "algorithm.adv_estimator=rloo D.train_batch_size=128 A.ppo_mini_batch_size=128 R.n=8 D.image_key=images "
        "A.ppo_micro_batch_size_per_gpu=1 R.log_prob_micro_batch_size_per_gpu=4 F.log_prob_micro_batch_size_per_gpu=4 "
        "R.tensor_model_parallel_size=1 custom_reward_function.path=./recipe/infigui-g1/reward_fn.py R.name=sglang",
    ),
    Script(
        "verl-tool examples/train/search_r1/train_7b.sh",
        "main_ppo",
        "7B",
        "D.train_batch_size=512 D.max_prompt_length=4096 D.max_response_length=4096 "
        "A.ppo_mini_batch_size=64 A.ppo_micro_batch_size_per_gpu=1 A.use_dynamic_bsz=True R.n=16 "
        "A.ppo_max_token_len_per_gpu=8196 R.log_prob_use_dynamic_bsz=True R.tensor_model_parallel_size=1 "
        "reward_model.reward_manager=search_r1_qa_em",
    ),
    Script(
        "verl-tool examples/train/math_tir/train_7b_grpo_megatron.sh",
        "megatron",
        "7B",
        "D.train_batch_size=128 A.ppo_mini_batch_size=128 A.ppo_micro_batch_size_per_gpu=1 "
        "R.n=16 R.log_prob_micro_batch_size_per_gpu=8 F.log_prob_micro_batch_size_per_gpu=8 "
        "M.tensor_model_parallel_size=2 M.pipeline_model_parallel_size=2 R.tensor_model_parallel_size=1 "
        "reward_model.reward_manager=torl",
    ),
    # ActorConfig.validate: a mini-batch is part of a batch (that project multiplies its batches by itself).
    Script(
        "Absolute-Zero-Reasoner scripts/selfplay/7b.sh",
        "main_ppo",
        "7B",
        "algorithm.adv_estimator=reinforce_plus_plus D.train_batch_size=64 A.ppo_mini_batch_size=128 R.n=1 "
        "A.ppo_micro_batch_size_per_gpu=16 R.log_prob_micro_batch_size_per_gpu=64 "
        "F.log_prob_micro_batch_size_per_gpu=64 "
        "A.ulysses_sequence_parallel_size=4 L.use_remove_padding=True T.n_gpus_per_node=4 "
        "R.tensor_model_parallel_size=2",
        "train_batch_size (64) must be >=",
        "A.ppo_mini_batch_size=64",
    ),
    Script(
        "SimpleTIR train.sh",
        "main_ppo",
        "7B",
        f"{SMALL} D.train_batch_size=512 D.max_response_length=4096 R.n=16 "
        "A.ppo_mini_batch_size=128 algorithm.use_kl_in_reward=True",
        "algorithm.use_kl_in_reward=True",
        "algorithm.use_kl_in_reward=False",
    ),
    # `init_model` of verl's engine workers asserts that the sizes per GPU are set.
    Script(
        "Logic-RL main_grpo.sh",
        "main_ppo",
        "7B",
        "D.train_batch_size=64 A.ppo_mini_batch_size=32 A.ppo_micro_batch_size=16 R.n=16 "
        "R.log_prob_micro_batch_size=160 F.log_prob_micro_batch_size=160 R.tensor_model_parallel_size=1 "
        "T.n_gpus_per_node=4",
        "ppo_micro_batch_size_per_gpu=None",
        "A.ppo_micro_batch_size=null A.ppo_micro_batch_size_per_gpu=16 R.log_prob_micro_batch_size=null "
        "R.log_prob_micro_batch_size_per_gpu=16 F.log_prob_micro_batch_size=null "
        "F.log_prob_micro_batch_size_per_gpu=16",
    ),
    Script(
        "Search-R1 train_ppo.sh",
        "main_ppo",
        "3B",
        "algorithm.adv_estimator=gae D.train_batch_size=512 A.ppo_mini_batch_size=256 A.ppo_micro_batch_size=64 "
        "R.log_prob_micro_batch_size=128 F.log_prob_micro_batch_size=128 R.tensor_model_parallel_size=1 "
        "critic.model.path={model} critic.ppo_micro_batch_size_per_gpu=8",
        "log_prob_micro_batch_size_per_gpu=None",
        "A.use_dynamic_bsz=True",
    ),
)


@functools.cache
def of_main(main):
    words = [*MAINS[main], f"{ROLLOUT}.name=vllm"]
    return composed([*words, "hydra.searchpath=[pkg://verl.trainer.config]"] if "-m" in words else words)


def spelled(word: str) -> str:
    plus, word = word[: word.startswith("+")], word.lstrip("+")
    section, dot, rest = word.partition(".")
    return f"{plus}{SECTIONS.get(section, section)}{dot}{rest}"


def keys(script: Script) -> list[str]:
    return [spelled(word).partition("=")[0] for word in f"{script.words} {script.mended}".split()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files that scripts name: rows, models of the table, code."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    made = tmp_path_factory.mktemp("scripts")
    row = {
        "prompt": [{"role": "user", "content": "1+1"}],
        "data_source": "openai/gsm8k",
        "reward_model": {"style": "rule", "ground_truth": "2"},
    }
    parquet.write_table(pa.Table.from_pylist([row] * 2048), made / "rows.parquet")
    dataset = "from torch.utils.data import Dataset\n\n\nclass Rows(Dataset):\n    pass\n"
    reward = "def compute_score(**_):\n    return 0.0\n"
    for name, text in {"rows.py": dataset, "reward.py": reward, "tools.yaml": "", "agent.yaml": ""}.items():
        (made / name).write_text(text)
    for name, (heads, vocabulary, experts) in MODELS.items():
        described = {
            "model_type": "qwen2",
            "architectures": ["Qwen2ForCausalLM"],
            "num_attention_heads": heads,
            "vocab_size": vocabulary,
            **({"num_experts": experts} if experts else {}),
        }
        (made / name).mkdir()
        (made / name / "config.json").write_text(json.dumps(described))
    return made


@pytest.fixture
def switched(folder, monkeypatch):
    """Composes a script with FRPO switched on by the README's diff, on a machine that has all that it needs."""
    for name in ("RAY_ADDRESS", "VERL_PLATFORM", inputs.RECIPE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(inputs, "_visible_gpus", lambda: 10**6)
    monkeypatch.setattr(megatron_layout, "_is_there", lambda module: True)
    # What servers apart need.
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found("json" if name == "cupy" else name))
    # By vLLM verl's validation rounds a rank of LoRA up.
    for name in ("verl.workers.rollout.vllm_rollout", "verl.workers.rollout.vllm_rollout.utils"):
        module = types.ModuleType(name)
        module.get_vllm_max_lora_rank = lambda rank: rank
        monkeypatch.setitem(sys.modules, name, module)

    def compose(script: Script, more: str = ""):
        rows, model = folder / "rows.parquet", folder / script.model
        words = [f"data.train_files={rows}", f"data.val_files={rows}", f"{ARR}.model.path={model}"]
        text = f"{script.words} {more}".replace("{model}", str(model)).replace("{folder}", str(folder))
        words += ["algorithm.adv_estimator=grpo", *(spelled(word).lstrip("+") for word in text.split())]
        config = copy.deepcopy(of_main(script.main))
        with open_dict(config):
            config.merge_with_dotlist(words)
        grpo = config.algorithm.adv_estimator == "grpo"
        diff = ["algorithm.adv_estimator=frpo" if grpo else "algorithm.kl_mode=future"]
        ref = config.actor_rollout_ref.ref
        if {config.actor_rollout_ref.actor.use_dynamic_bsz, ref.log_prob_micro_batch_size} == {False, None}:
            diff.append(f"{ARR}.ref.log_prob_micro_batch_size_per_gpu={ref.log_prob_micro_batch_size_per_gpu or 1}")
        with open_dict(config):
            config.merge_with_dotlist([*diff, f"{ACTOR}.use_kl_loss=False", "algorithm.kl_ctrl.kl_coef=0.01"])
        return config

    return compose


def parameters() -> list:
    """Rows, two thirds of those that are legal `thorough`: neighbours are of a kind."""
    marks = [pytest.mark.thorough if at % 3 and row.refused is None else () for at, row in enumerate(SCRIPTS)]
    return [pytest.param(row, marks=mark, id=row.source) for row, mark in zip(SCRIPTS, marks, strict=True)]


@pytest.mark.parametrize("script", parameters())
def test_what_is_legal_passes_and_what_is_not_is_refused(script, switched):
    problems = examination.examine(switched(script), look_at_machine=False).problems
    if script.refused is None:
        assert problems == []
    else:
        assert [problem for problem in problems if script.refused in problem]


@pytest.mark.thorough
@pytest.mark.parametrize("script", [row for row in SCRIPTS if row.refused], ids=lambda script: script.source)
def test_what_a_refusal_asks_for_is_enough(script, switched):
    assert examination.examine(switched(script, script.mended), look_at_machine=False).problems == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.source)
def test_the_rows_have_keys_of_verl(script):
    config = of_main(script.main)
    for key in keys(script):
        section, _, name = key.rpartition(".")
        assert key.startswith("+") or name in list(OmegaConf.select(config, section)), key


def test_an_older_reward_that_main_ppo_ignores_is_a_warning(switched):
    sections = older_reward.SECTIONS
    older = [script for script in SCRIPTS if any(key.lstrip("+").startswith(sections) for key in keys(script))]
    assert len(older) >= 5
    for script in older:
        warnings = list(older_reward.warnings(switched(script)))
        assert warnings and all("verl.trainer.main_ppo of this verl ignores" in said for said in warnings)
