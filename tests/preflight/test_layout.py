"""Counts that are none, and what does not fit on the trainer's GPUs."""

import functools
import json

import pytest

pytest.importorskip("verl")
from command_lines import FRPO, changed, composed, refused

from frpo_verl.preflight import examination, layout, regulariser

pytestmark = pytest.mark.usefixtures("verls_defaults_are_there")

RUNS = (
    *FRPO,
    "actor_rollout_ref.actor.use_dynamic_bsz=True",
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=2048",
)
SPLIT = "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size"


@functools.cache
def of_engine(*words):
    return composed([*words, *RUNS])


def compose(*overrides):
    return changed(of_engine(), *overrides)


def said(*overrides) -> list[str]:
    return list(layout.problems(compose(*overrides)))


def of_engine_with(key):
    return of_engine(*(["--config-name", "ppo_megatron_trainer"] if ".megatron." in key else []))


@pytest.mark.parametrize(("key", "least"), layout.LEAST.items())
@pytest.mark.parametrize("value", ["2.5", "true", "-1"])
def test_what_is_no_count_is_named(key, least, value):
    config = changed(of_engine_with(key), f"{key}={value}")
    said = value.replace("true", "True")
    assert layout.not_counts(config) == [f"{key}={said}: set it to a whole number of {least} or more"]


@pytest.mark.parametrize(("key", "least"), layout.LEAST.items())
def test_it_is_the_same_sentence_everywhere(key, least):
    config = changed(of_engine_with(key), f"{key}=eight")
    sentence = f"{key}=eight: set it to a whole number of {least} or more"
    assert layout.not_counts(config) == [sentence]
    assert refused(config) == [sentence]
    assert examination.examine(config).problems == [sentence]


def test_a_baselines_counts_are_named_once_too():
    # Of this one verl says something else.
    key = "actor_rollout_ref.actor.ulysses_sequence_parallel_size"
    config = compose("algorithm.adv_estimator=grpo", f"{key}=two")
    assert examination.examine(config).problems == [f"{key}=two: set it to a whole number of 1 or more"]


def test_the_least_is_a_count_and_what_is_not_set_is_left_to_verl():
    assert layout.not_counts(compose(*(f"{key}={least}" for key, least in layout.LEAST.items()))) == []
    assert layout.not_counts(compose("actor_rollout_ref.rollout.tensor_model_parallel_size=null")) == []


def test_ranks_that_share_a_sequence_or_a_model_take_one_part_of_a_batch():
    of_fsdp = compose("trainer.n_gpus_per_node=8", f"{SPLIT}=2").actor_rollout_ref.actor
    assert layout.data_parallel(compose("trainer.n_gpus_per_node=8"), of_fsdp) == 4
    sizes = {"tensor_model": 2, "pipeline_model": 3, "context": 5}
    megatron = [f"actor_rollout_ref.actor.megatron.{name}_parallel_size={size}" for name, size in sizes.items()]
    config = changed(of_engine("--config-name", "ppo_megatron_trainer"), *megatron, "trainer.n_gpus_per_node=60")
    assert layout.data_parallel(config, config.actor_rollout_ref.actor) == 2


def test_servers_take_a_divisor_of_the_trainers_gpus():
    # Two is verl's own default.
    assert said("trainer.n_gpus_per_node=1") == [
        "actor_rollout_ref.rollout.tensor_model_parallel_size=2: a server takes 2 GPUs, and the trainer's 1 "
        "(trainer.nnodes × trainer.n_gpus_per_node) are not divisible by 2; set it to a divisor of 1"
    ]
    (problem,) = said("actor_rollout_ref.rollout.data_parallel_size=8")
    assert "tensor_model_parallel_size=2, data_parallel_size=8: a server takes 16 GPUs, and the trainer's 8 " in problem
    assert said("actor_rollout_ref.rollout.data_parallel_size=4") == []


def test_servers_of_their_own_do_not_count_the_trainers_gpus():
    apart = "trainer.v1.trainer_mode=separate_async", "trainer.n_gpus_per_node=1"
    pool = "actor_rollout_ref.rollout.nnodes=1", "actor_rollout_ref.rollout.n_gpus_per_node=2"
    assert said(*apart, *pool) == []


def test_sequences_are_split_over_a_divisor_of_the_gpus():
    assert said(f"{SPLIT}=4") == []
    assert said(f"{SPLIT}=3") == [
        f"{SPLIT}=3: the trainer's 8 GPUs (trainer.nnodes × trainer.n_gpus_per_node) are not divisible by it; set it "
        "to a divisor of 8"
    ]
    (problem,) = said("actor_rollout_ref.actor.ulysses_sequence_parallel_size=3")
    assert problem.startswith("actor_rollout_ref.actor.ulysses_sequence_parallel_size=3: ")
    assert said(f"{SPLIT}=3", "trainer.n_gpus_per_node=6") == []


def test_sequences_are_split_by_heads(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 12}))
    model = f"actor_rollout_ref.model.path={tmp_path}"
    assert said(model, f"{SPLIT}=4") == []
    assert said(model, f"{SPLIT}=8") == [
        f"{SPLIT}=8: the model's num_attention_heads of 12 is not divisible by it; choose a divisor"
    ]


def test_what_fsdp_would_split_by_is_left_alone_by_other_engines():
    actor = compose(f"{SPLIT}=2", "actor_rollout_ref.actor.strategy=megatron").actor_rollout_ref.actor
    assert layout.sequence_parallel(actor)[1] == 1
    of_megatron = of_engine("--config-name", "ppo_megatron_trainer")
    for section in (of_megatron.actor_rollout_ref.actor, of_megatron.actor_rollout_ref.ref, of_megatron.critic):
        assert layout.sequence_parallel(section)[1] == 1


def test_each_role_splits_by_a_key_of_its_own():
    config = compose(f"{SPLIT}=2", "critic.fsdp.ulysses_sequence_parallel_size=4")
    assert layout.sequence_parallel(config.actor_rollout_ref.actor) == ("fsdp_config.ulysses_sequence_parallel_size", 2)
    assert layout.sequence_parallel(config.actor_rollout_ref.ref) == ("fsdp_config.ulysses_sequence_parallel_size", 1)
    assert layout.sequence_parallel(config.critic) == ("fsdp.ulysses_sequence_parallel_size", 4)


def test_a_pool_is_counted_where_a_trainer_starts_one():
    section = "actor_rollout_ref.rollout.nnodes=2", "actor_rollout_ref.rollout.n_gpus_per_node=3"
    assert layout.pool_gpus(compose(*section)) == 0
    assert layout.pool_gpus(compose(*section, "trainer.v1.trainer_mode=separate_async")) == 6
    assert layout.pool_gpus(compose("rollout.nnodes=2", "rollout.n_gpus_per_node=4")) == 8


def test_a_micro_batch_too_small_for_a_full_sequence_is_a_warning():
    lengths = "data.max_prompt_length=1024", "data.max_response_length=2048"
    (warning,) = list(regulariser.warnings(compose(*lengths)))
    assert warning.startswith(
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=2048: a micro-batch has room for 2048 "
    )
    assert warning.endswith("data.max_prompt_length and data.max_response_length allow 3072")
    assert list(regulariser.warnings(compose(*lengths, f"{SPLIT}=2"))) == []
    assert list(regulariser.warnings(compose(*lengths, "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=3072"))) == []
    assert list(regulariser.warnings(compose(*lengths, "trainer.nnodes=two"))) == []
    by_rows = ("actor_rollout_ref.actor.use_dynamic_bsz=False", "actor_rollout_ref.ref.log_prob_micro_batch_size=8")
    assert list(regulariser.warnings(compose(*lengths, *by_rows))) == []
