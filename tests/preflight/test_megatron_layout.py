"""Megatron layouts and packages that do not fit, before Ray starts."""

import json
from pathlib import Path

import pytest
from command_lines import FRPO, composed, refused

from frpo_verl.preflight import examination, megatron_layout

verl = pytest.importorskip("verl")

MEGATRON = "actor_rollout_ref.actor.megatron."


@pytest.fixture
def compose(monkeypatch):
    from hydra import compose, initialize_config_dir

    monkeypatch.setattr(megatron_layout, "_is_there", lambda module: True)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        yield lambda *overrides: compose(
            "ppo_trainer",
            [
                "model_engine=megatron",
                "algorithm.adv_estimator=frpo",
                "actor_rollout_ref.rollout.n=5",
                "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
                "trainer.n_gpus_per_node=8",
                *overrides,
            ],
        )


@pytest.mark.parametrize(
    "layout",
    [
        [],
        [f"{MEGATRON}tensor_model_parallel_size=2", f"{MEGATRON}pipeline_model_parallel_size=4"],
        [f"{MEGATRON}context_parallel_size=2", "trainer.nnodes=3"],
        [f"{MEGATRON}pipeline_model_parallel_size=3", "trainer.nnodes=3"],
        [f"{MEGATRON}expert_model_parallel_size=4", f"{MEGATRON}pipeline_model_parallel_size=2"],
        [
            f"{MEGATRON}tensor_model_parallel_size=2",
            f"{MEGATRON}expert_model_parallel_size=8",
            f"{MEGATRON}expert_tensor_parallel_size=1",
        ],
    ],
    ids=str,
)
def test_layouts_that_the_ranks_hold(compose, layout):
    assert refused(compose(*layout)) == []


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        (
            [f"{MEGATRON}tensor_model_parallel_size=4", f"{MEGATRON}pipeline_model_parallel_size=3"],
            "tensor × pipeline × context parallel is 4 × 3 × 1 = 12, and the 8 ranks of",
        ),
        (
            [f"{MEGATRON}expert_model_parallel_size=8", f"{MEGATRON}pipeline_model_parallel_size=2"],
            "expert_model_parallel_size=8: with expert_tensor_parallel_size=1 it does not divide the 4 ranks of a",
        ),
        (
            [f"{MEGATRON}tensor_model_parallel_size=2", f"{MEGATRON}expert_model_parallel_size=8"],
            "expert_model_parallel_size=8: with expert_tensor_parallel_size=2 it does not divide the 8 ranks of a",
        ),
        (
            [f"{MEGATRON}tensor_model_parallel_size=4", f"{MEGATRON}context_parallel_size=3"],
            "tensor × pipeline × context parallel is 4 × 1 × 3 = 12, and the 8 ranks of",
        ),
    ],
    ids=["too many", "experts", "experts that are split", "context"],
)
def test_a_layout_that_the_ranks_cannot_hold_is_named(compose, layout, sentence):
    (problem,) = refused(compose(*layout))
    assert sentence in problem


@pytest.mark.parametrize(("key", "value"), [("vocab_size", 331), ("num_attention_heads", 7)])
def test_a_model_that_does_not_split_is_named(compose, tmp_path, key, value):
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 328, "num_attention_heads": 8, key: value}))
    model = (f"actor_rollout_ref.model.path={tmp_path}", f"{MEGATRON}vanilla_mbridge=True")
    (problem,) = refused(compose(*model, f"{MEGATRON}tensor_model_parallel_size=2"))
    assert f"tensor_model_parallel_size=2: the model's {key} of {value} is not divisible by it; choose" in problem
    assert refused(compose(*model)) == []


def test_megatron_bridge_may_pad_the_vocabulary(compose, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 331, "num_attention_heads": 8}))
    layout = [f"{MEGATRON}vanilla_mbridge=False", f"{MEGATRON}tensor_model_parallel_size=2"]
    assert refused(compose(f"actor_rollout_ref.model.path={tmp_path}", *layout)) == []


@pytest.mark.parametrize(
    ("missing", "vanilla", "sentence"),
    [
        ("megatron.core", True, r"megatron-core is not installed; pip install 'frpo-verl[megatron]'"),
        ("mbridge", True, "vanilla_mbridge=True: mbridge, which carries the weights"),
        ("megatron.bridge", False, "vanilla_mbridge=False: megatron-bridge, which carries the weights"),
    ],
)
def test_a_missing_package_is_named(compose, monkeypatch, missing, vanilla, sentence):
    monkeypatch.setattr(megatron_layout, "_is_there", lambda module: module != missing)
    (problem,) = refused(compose(f"{MEGATRON}vanilla_mbridge={vanilla}"))
    assert sentence in problem


def test_on_a_cluster_the_driver_needs_no_packages(compose, monkeypatch):
    monkeypatch.setattr(megatron_layout, "_is_there", lambda module: False)
    assert len(refused(compose())) == 1
    assert refused(compose("+ray_kwargs.ray_init.address=10.0.0.1:6379")) == []
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert refused(compose()) == []


def test_other_engines_are_left_alone(compose):
    assert refused(compose("model_engine=dp", "trainer.n_gpus_per_node=7")) == []


@pytest.mark.parametrize(
    ("key", "overrides"),
    [
        ("actor_rollout_ref.actor", ["algorithm.adv_estimator=grpo"]),
        ("actor_rollout_ref.actor", [f"+{MEGATRON}tensor_model_parallel_size=2"]),
        ("actor_rollout_ref.ref", []),
        ("critic", ["algorithm.adv_estimator=gae"]),
    ],
)
def test_a_strategy_without_its_section_is_one_sentence(key, overrides):
    config = composed([*FRPO, f"{key}.strategy=megatron", *overrides])
    found = examination.examine(config, look_at_machine=False).problems
    (problem,) = [problem for problem in found if "no section" in problem]
    assert problem == (
        f"{key}.strategy=megatron: the configuration has no section {key}.megatron of verl's; set "
        "model_engine=megatron, which brings it for every role"
    )


@pytest.mark.parametrize("key", ["actor_rollout_ref.ref", "critic"])
def test_a_role_that_does_not_run_needs_no_section(key):
    assert (
        list(megatron_layout.without_section(composed(["algorithm.adv_estimator=grpo", f"{key}.strategy=megatron"])))
        == []
    )
