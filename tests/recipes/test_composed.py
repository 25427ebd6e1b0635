"""Every recipe's overrides through verl's real configuration trees and dataclasses: a renamed key fails here."""

import re
import subprocess
from pathlib import Path

import pytest
from composed import RECIPES, caught, composed

from frpo_verl.doctor import configuration
from frpo_verl.preflight import inputs
from frpo_verl.quickstart import tiny

pytestmark = pytest.mark.verl

SCRIPTS = sorted(RECIPES.glob("*.sh"))
LAUNCHERS = {"run_on_cluster.sh", "slurm.sh", "run_smollm2_cpu.sh", "setup_cpu.sh", "study_cpu.sh"}
"""Scripts that start another recipe, nothing of verl's, or many runs: `test_study.py` composes those."""
OFFLINE = {script.name for script in SCRIPTS if "_fpa_" in script.name}
"""Scripts of the trainer of ours; `test_offline.py` composes them."""
OF_VERL = [script.name for script in SCRIPTS if script.name not in LAUNCHERS | OFFLINE]
PAPER = [name for name in OF_VERL if name.startswith("run_qwen3_")]
METHODS = {
    "frpo": ("frpo", "kl", False, False),
    "no_kl": ("grpo", "kl", False, False),
    "kl_loss": ("grpo", "kl", True, False),
    "kl_reward": ("grpo", "kl", False, True),
    "gae_kl_reward": ("gae", "kl", False, True),
    "reverse_k3": ("frpo", "low_var_kl", False, False),
    "reverse_k3_baseline": ("frpo", "low_var_kl", False, False),
    "forward_k1": ("frpo", "forward_kl", False, False),
    "forward_k3": ("frpo", "forward_kl_k3", False, False),
    "forward_k3_baseline": ("frpo", "forward_kl_k3", False, False),
    "lambda_grpo": ("grpo", "kl", False, False),
    "drpo": ("grpo", "kl", False, False),
}
BY_METHOD = "run_qwen3_1.7b_methods_fsdp2.sh"


def knobs_of(recipe: str, folder: Path) -> dict[str, str]:
    if recipe != "run_cpu.sh":
        return {}
    return {
        "MODEL_PATH": str(folder),
        "TRAIN_FILES": "train.parquet",
        "VAL_FILES": "val.parquet",
        "VERL_PLATFORM": "cpu",
    }


@pytest.fixture(autouse=True)
def a_machine_with_all_that_it_needs(monkeypatch):
    # Model, data and GPUs; whether they are there has tests of its own.
    monkeypatch.setattr(inputs, "problems", lambda config: iter(()))
    monkeypatch.delenv("VERL_PLATFORM", raising=False)


@pytest.fixture(scope="module")
def configuration_of(tmp_path_factory):
    """Composed once for all tests of a recipe."""
    known = {}

    def of(recipe: str, *overrides: str, **knobs: str):
        key = (recipe, overrides, tuple(knobs.items()))
        if key not in known:
            folder = tmp_path_factory.mktemp("recipe")
            known[key] = composed(caught(recipe, folder, *overrides, **knobs_of(recipe, folder), **knobs))
        return known[key]

    return of


def refusals(config) -> list[str]:
    """Lists what our start-up checks and verl's own have against a configuration; its dataclasses are made there."""
    found = configuration.examine(config)
    assert found.rows["advantage estimator"] == config.algorithm.adv_estimator
    return found.problems


@pytest.mark.parametrize("recipe", OF_VERL)
def test_verl_composes_it_and_makes_its_dataclasses(configuration_of, recipe):
    assert refusals(configuration_of(recipe)) == []


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A critic's configuration reads its model's; verl's others do not."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny.make_tokenizer()
    tokenizer.save_pretrained(folder)
    model = tiny.make_model(tokenizer)
    # Set where weights are saved.
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_what_it_says(configuration_of, model, method):
    config = configuration_of(BY_METHOD, METHOD=method, MODEL_PATH=model)
    assert refusals(config) == []
    algorithm = config.algorithm
    estimator, penalty, in_loss, in_reward = METHODS[method]
    assert (algorithm.adv_estimator, algorithm.kl_penalty) == (estimator, penalty)
    assert (config.actor_rollout_ref.actor.use_kl_loss, algorithm.use_kl_in_reward) == (in_loss, in_reward)
    strength = config.actor_rollout_ref.actor.kl_loss_coef if in_loss else algorithm.kl_ctrl.kl_coef
    assert strength == 0.01
    assert algorithm.get("frpo", {}).get("baseline") == ("length" if method.endswith("_baseline") else None)


def test_lambda_grpos_settings(configuration_of):
    """arXiv 2509.21154, Table 2 and equation 9."""
    config = configuration_of(BY_METHOD, METHOD="lambda_grpo")
    assert (config.algorithm.token_weight, config.algorithm.norm_adv_by_std_in_grpo) == ("lambda_grpo", True)
    actor = config.actor_rollout_ref.actor
    assert (config.actor_rollout_ref.rollout.n, actor.loss_agg_mode) == (6, "token-mean")
    # one update per batch
    assert (actor.ppo_mini_batch_size, actor.ppo_epochs) == (config.data.train_batch_size, 1)
    assert actor.policy_loss.loss_mode == "vanilla"
    divided = configuration_of(BY_METHOD, METHOD="kl_loss", TOKEN_WEIGHT="lambda_grpo", BETA="0.04")
    assert refusals(divided) == []
    assert (divided.actor_rollout_ref.actor.kl_loss_coef, divided.algorithm.token_weight) == (0.04, "lambda_grpo")


def test_drpos_settings(configuration_of):
    """arXiv 2606.09821, as released."""
    config = configuration_of(BY_METHOD, METHOD="drpo")
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert actor.policy_loss.loss_mode == "drpo"
    assert (actor.clip_ratio_low, actor.clip_ratio_high, actor.clip_ratio_c) == (12.5, 12.5, 10000)
    assert (actor.loss_agg_mode, actor.loss_scale_factor) == ("seq-mean-token-sum-norm", 8192)
    assert (config.algorithm.norm_adv_by_std_in_grpo, actor.entropy_coeff) == (False, 0)
    assert (config.algorithm.rollout_correction.bypass_mode, rollout.calculate_log_probs) == (True, True)
    assert (config.data.train_batch_size, rollout.n, actor.ppo_mini_batch_size) == (64, 8, 16)
    assert (actor.optim.lr, actor.optim.weight_decay, actor.optim.clip_grad) == (1e-6, 0.01, 1.0)
    assert "token_weight" not in config.algorithm


@pytest.mark.parametrize(
    ("loss", "delta"),
    [("drpo", 12.5), ("spo", 12.5), ("drpo_outside", 0.15), ("dppo_tv", 0.15), ("dppo_kl", 0.05)],
)
def test_a_token_weight_and_a_policy_loss_on_top_of_frpo(configuration_of, loss, delta):
    config = configuration_of(BY_METHOD, TOKEN_WEIGHT="lambda_grpo", LOSS_MODE=loss)
    assert refusals(config) == []
    assert (config.algorithm.adv_estimator, config.algorithm.token_weight) == ("frpo", "lambda_grpo")
    actor = config.actor_rollout_ref.actor
    assert (actor.policy_loss.loss_mode, actor.clip_ratio_low, actor.clip_ratio_high) == (loss, delta, delta)
    chosen = configuration_of(BY_METHOD, METHOD="drpo", LOSS_MODE=loss, DELTA="0.2").actor_rollout_ref.actor
    assert (chosen.policy_loss.loss_mode, chosen.clip_ratio_low) == (loss, 0.2)


@pytest.mark.parametrize("trainer", ["colocate_async", "separate_async", "one_step_off", "fully_async"])
@pytest.mark.parametrize("engine", ["fsdp2", "megatron"])
def test_run_cpu_in_every_trainer_and_engine(configuration_of, trainer, engine):
    config = configuration_of("run_cpu.sh", TRAINER=trainer, ENGINE=engine)
    assert config.actor_rollout_ref.actor.strategy == engine
    assert config.trainer.device == "cpu"


@pytest.mark.parametrize("recipe", PAPER)
def test_the_papers_settings(configuration_of, recipe):
    """Tables 6 and 7."""
    config = configuration_of(recipe)
    section, data = config.actor_rollout_ref, config.data
    assert (section.rollout.n, section.rollout.temperature, section.rollout.name) == (5, 1.0, "vllm")
    assert config.algorithm.kl_ctrl.kl_coef == 0.01
    # four updates a rollout: not the paper's, except where its comparison is
    assert config.algorithm.get("frpo", {}).get("kl") == (None if "methods" in recipe else "current")
    assert section.actor.optim.lr == (1e-5 if "lora" in recipe else 1e-6)
    assert section.actor.ppo_mini_batch_size == 64
    assert section.actor.ppo_epochs == 1
    prompts = data.train_batch_size
    if "fully_async" in recipe:
        prompts = config.async_training.require_batches * section.actor.ppo_mini_batch_size
        assert config.rollout.total_rollout_steps == 470 * 256
    assert prompts == 256
    assert (data.max_prompt_length, data.max_response_length) == (2048, 8192)
    # a response has to fit into a micro-batch
    assert section.actor.ppo_max_token_len_per_gpu >= 2048 + 8192
    assert section.rollout.max_model_len == 2048 + 8192


def test_the_papers_placement_is_one_knob_away(configuration_of):
    assert "frpo" not in configuration_of("run_qwen3_4b_fsdp2.sh", KL="rollout").algorithm
    assert configuration_of(BY_METHOD, KL="current").algorithm.frpo.kl == "current"


@pytest.mark.parametrize("size", ["1.7b", "4b", "30b_a3b"])
def test_the_twins_differ_in_their_engine_alone(configuration_of, size):
    from omegaconf import OmegaConf

    fsdp2, megatron = (
        OmegaConf.to_container(
            configuration_of(f"run_qwen3_{size}_{engine}.sh", EXPERIMENT_NAME="twin", RUN_DIR="/run")
        )
        for engine in ("fsdp2", "megatron")
    )
    assert fsdp2["actor_rollout_ref"]["actor"]["strategy"] == "fsdp2"
    assert megatron["actor_rollout_ref"]["actor"]["strategy"] == "megatron"
    for section in ("algorithm", "data", "reward", "trainer"):
        assert fsdp2[section] == megatron[section]
    assert fsdp2["actor_rollout_ref"]["rollout"] == megatron["actor_rollout_ref"]["rollout"]


@pytest.mark.parametrize("recipe", OF_VERL)
def test_what_the_user_adds_comes_last(tmp_path, recipe):
    run = caught(recipe, tmp_path, "trainer.project_name=mine", **knobs_of(recipe, tmp_path))
    assert run.words[-1] == "trainer.project_name=mine"


def test_megatrons_own_names_are_in_its_configuration(configuration_of):
    pytest.importorskip("megatron.core")
    from megatron.core.transformer import TransformerConfig

    given = configuration_of("run_qwen3_4b_megatron.sh").actor_rollout_ref.actor.megatron.override_transformer_config
    assert given.recompute_granularity == "full"
    assert set(given) <= set(TransformerConfig.__dataclass_fields__)


def test_the_penalty_of_overlong_responses_is_read_by_verls_manager(configuration_of):
    from verl.experimental.reward_loop.reward_manager.dapo import DAPORewardManager

    config = configuration_of("run_qwen3_4b_dapo_fsdp2.sh")
    manager = DAPORewardManager(config, tokenizer=None, compute_score=None)
    assert manager.overlong_buffer_cfg.enable
    assert (manager.max_resp_len, manager.overlong_buffer_cfg.len) == (8192, 2048)
    assert (config.actor_rollout_ref.actor.clip_ratio_low, config.actor_rollout_ref.actor.clip_ratio_high) == (
        0.2,
        0.28,
    )


@pytest.mark.parametrize("recipe", ["run_qwen3_1.7b_fsdp2.sh", "run_cpu.sh"])
def test_paths_that_hydra_would_read_as_something_else(tmp_path, recipe):
    odd = tmp_path / "a=b, (c) é"
    odd.mkdir()
    files = {name: str(odd / f"{name.lower()}.parquet") for name in ("TRAIN_FILES", "VAL_FILES")}
    config = composed(caught(recipe, tmp_path, MODEL_PATH=str(odd / "model"), RUN_DIR=str(odd / "run"), **files))
    assert config.actor_rollout_ref.model.path == str(odd / "model")
    assert config.data.train_files == files["TRAIN_FILES"]
    assert config.data.val_files == files["VAL_FILES"]
    assert config.trainer.default_local_dir == str(odd / "run" / "checkpoints")
    metrics = config.ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH
    assert metrics == str(odd / "run" / "metrics.jsonl")


def test_all_benchmarks_are_validated_on(configuration_of):
    files = configuration_of("run_qwen3_1.7b_fsdp2.sh", DATA_DIR="/a=b/data").data.val_files
    names = ("math500", "aime24", "aime25", "amc23", "olympiad_bench", "minerva_math")
    assert list(files) == [f"/a=b/data/{name}.parquet" for name in names]


def test_an_earlier_run_of_the_same_folder_loses_nothing(tmp_path):
    run = tmp_path / "run"
    caught("run_qwen3_1.7b_fsdp2.sh", tmp_path, STEPS="10")
    (run / "metrics.jsonl").write_text("ten steps\n")
    longer = caught("run_qwen3_1.7b_fsdp2.sh", tmp_path, STEPS="20")
    assert (run / "earlier-1" / "metrics.jsonl").read_text() == "ten steps\n"
    assert (run / "earlier-1" / "command.txt").exists() and not (run / "metrics.jsonl").exists()
    assert "kept in earlier-1" in longer.said and "warning" not in longer.said
    other = caught("run_qwen3_1.7b_fsdp2.sh", tmp_path, STEPS="20", BETA="0.05")
    assert (run / "earlier-2").is_dir()
    assert "warning: that run had other settings" in other.said
    assert other.words


@pytest.mark.parametrize("recipe", ["run_qwen3_4b_fully_async_fsdp2.sh"])
def test_a_clusters_gpus_are_divided(configuration_of, recipe):
    config = configuration_of(recipe, NNODES="2", NGPUS_PER_NODE="8", CLUSTER_NGPUS_PER_NODE="8")
    assert (config.trainer.nnodes, config.trainer.n_gpus_per_node) == (2, 4)
    assert (config.rollout.nnodes, config.rollout.n_gpus_per_node) == (2, 4)


@pytest.mark.parametrize("script", sorted((RECIPES / "lib").glob("*.sh")), ids=lambda script: script.name)
def test_what_they_share_can_be_read(script):
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_can_be_run_and_says_what_it_is_for(script):
    text = script.read_text()
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True).stderr == ""
    assert "\nset -euo pipefail\n" in text
    head = text.split("\nset -euo pipefail\n")[0]
    wanted = (
        ["Purpose", "Time"] if script.name == "setup_cpu.sh" else ["Purpose", "Table", "Hardware", "Time", "Figure"]
    )
    assert [name for name in wanted if not re.search(rf"^# {name}: +\S", head, re.M)] == []
    if script.name != "setup_cpu.sh":
        assert re.search(r"^# verl: +0\.9\.1", head, re.M)
        assert "TINY=1" in head and "DRY_RUN=1" in head
        assert '"$@"' in text.splitlines()[-1]


def test_the_pin_of_the_recipes_is_the_plugins():
    from frpo_verl.preflight.contract import TESTED_VERL

    pin = re.search(r"^MADE_FOR=(.*)$", (RECIPES / "lib" / "check.sh").read_text(), re.M)[1]
    assert pin in TESTED_VERL
