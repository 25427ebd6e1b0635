"""Tests the look at a run's inputs and machine before it starts."""

from pathlib import Path

import pytest
from command_lines import changed

from frpo_verl.preflight import inputs
from frpo_verl.verl_plugin.ray import launch

verl = pytest.importorskip("verl")
pa = pytest.importorskip("pyarrow")


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """A data set of 4 rows as verl's recipes have it, a model's folder and a reward function."""
    from pyarrow import parquet

    rows = pa.table(
        {
            "data_source": ["sums"] * 4,
            "prompt": [[{"role": "user", "content": "1+1"}]] * 4,
            "reward_model": [{"style": "rule", "ground_truth": "2"}] * 4,
        }
    )
    made = {"data": tmp_path / "rows.parquet", "model": tmp_path / "model", "reward": tmp_path / "reward.py"}
    parquet.write_table(rows, made["data"])
    made["model"].mkdir()
    (made["model"] / "config.json").write_text("{}")
    made["reward"].write_text("def compute_score(**_):\n    return 0.0\n")
    return made


@pytest.fixture(scope="module")
def verls():
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        return compose("ppo_trainer")


@pytest.fixture
def compose(verls, files, monkeypatch):
    for name in ("RAY_ADDRESS", "VERL_PLATFORM", inputs.RECIPE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(inputs, "_visible_gpus", lambda: 8)
    there = [
        "algorithm.adv_estimator=grpo",
        "actor_rollout_ref.rollout.name=vllm",
        f"data.train_files={files['data']}",
        f"data.val_files=[{files['data']}]",
        "data.train_batch_size=4",
        f"actor_rollout_ref.model.path={files['model']}",
        f"reward.custom_reward_function.path={files['reward']}",
    ]

    return lambda *overrides: changed(verls, *there, *overrides)


def said(config) -> list[str]:
    return list(inputs.problems(config))


def without(files, column: str) -> Path:
    from pyarrow import parquet

    file = files["data"].parent / f"without_{column}.parquet"
    parquet.write_table(parquet.read_table(files["data"]).drop_columns([column]), file)
    return file


def test_a_rollout_without_an_engine(compose):
    assert said(compose("actor_rollout_ref.rollout.name=???")) == [
        "actor_rollout_ref.rollout.name is not set, and verl's configuration has no default for it; set "
        "actor_rollout_ref.rollout.name=vllm"
    ]


def test_a_run_that_has_everything_has_no_problem(compose):
    assert said(compose()) == []


def test_a_file_that_is_not_there(compose):
    assert said(compose("data.val_files=[/nowhere/test.parquet]")) == [
        "data.val_files=/nowhere/test.parquet: there is no such file; correct the path, or make it, for instance by "
        "`frpo-verl data NAME --output DIR`"
    ]


def test_a_format_that_verl_does_not_read(compose):
    assert said(compose("data.train_files=/nowhere/train.csv")) == [
        "data.train_files=/nowhere/train.csv: verl reads .parquet, .json and .jsonl; `frpo-verl data NAME --output "
        "DIR` makes parquet"
    ]


@pytest.mark.parametrize(
    ("column", "named"),
    [
        ("prompt", "prompt (data.prompt_key)"),
        ("data_source", "data_source"),
        ("reward_model", "reward_model"),
    ],
)
def test_a_missing_column(compose, files, column, named):
    file = without(files, column)
    left = ", ".join(name for name in ("data_source", "prompt", "reward_model") if name != column)
    assert said(compose(f"data.train_files={file}")) == [
        f"data.train_files={file}: it has no column {named}, only {left}; make it by `frpo-verl data NAME "
        "--output DIR`, or name the column that holds it"
    ]


def test_a_reward_model_without_a_gold_answer(compose, files, tmp_path):
    from pyarrow import parquet

    table = parquet.read_table(files["data"]).drop_columns(["reward_model"])
    file = tmp_path / "plain.parquet"
    parquet.write_table(table.append_column("reward_model", pa.array([{"style": "rule"}] * 4)), file)
    (problem,) = said(compose(f"data.train_files={file}"))
    assert "it has no column reward_model.ground_truth, only data_source, prompt, reward_model" in problem


@pytest.mark.parametrize(
    "override",
    [
        "reward.reward_model.enable=True",
        "reward.reward_manager.source=importlib",
        "actor_rollout_ref.rollout.agent.agent_loop_config_path=mine.yaml",
    ],
)
def test_rewards_that_come_from_elsewhere_need_no_columns(compose, files, override):
    assert said(compose(f"data.train_files={without(files, 'reward_model')}", override)) == []


def test_a_file_that_is_no_parquet(compose, tmp_path):
    file = tmp_path / "broken.parquet"
    file.write_text("PAR0")
    (problem,) = said(compose(f"data.train_files={file}"))
    assert problem.startswith(f"data.train_files={file}: not a valid parquet file (")
    assert problem.endswith("); regenerate it")


def test_fewer_rows_than_a_batch(compose):
    assert said(compose("data.train_batch_size=5")) == [
        "data.train_batch_size=5: data.train_files have 4 rows, and verl drops the last incomplete batch, so no batch "
        "would remain; set data.train_batch_size=4 or less, or give more rows"
    ]
    (problem,) = said(compose("data.train_max_samples=3"))
    assert "data.train_files have 3 rows" in problem


@pytest.mark.parametrize(
    "override", ["data.gen_batch_size=2", "trainer.v1.trainer_mode=colocate_async", "data.sampler.class_path=mine.py"]
)
def test_batches_that_verl_fills_otherwise(compose, override):
    assert said(compose("data.train_batch_size=8", override)) == []


@pytest.mark.parametrize(
    "override",
    [
        "data.train_files=hdfs://far/train.parquet",
        "data.train_files=/data/part-*.parquet",
        "data.train_files=[]",
        "data.val_files=null",
        "actor_rollout_ref.model.path=hdfs://far/model",
        "actor_rollout_ref.model.path=Qwen/Qwen3-1.7B",
        "reward.custom_reward_function.path=null",
        "reward.custom_reward_function.path=pkg://frpo_verl.quickstart.reward",
        "reward.custom_reward_function.path=pkg://verl/utils/reward_score/math_dapo",
        "ray_kwargs.ray_init.num_cpus=4",
    ],
)
def test_what_verl_may_find_is_left_alone(compose, override, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert said(compose(override)) == []


def test_a_data_set_class_of_ones_own_reads_what_it_likes(compose, tmp_path):
    (tmp_path / "mine.py").write_text("class Mine: ...\n")
    mine = f"data.custom_cls.path={tmp_path / 'mine.py'}", "data.custom_cls.name=Mine"
    assert said(compose(*mine, "data.train_files=anything")) == []


@pytest.mark.parametrize(
    ("path", "name", "sentence"),
    [
        (
            "pkg://no_such.module",
            "Mine",
            ".path=pkg://no_such.module: there is no module no_such.module; correct it, or",
        ),
        (
            "/nowhere/mine.py",
            "Mine",
            ".path=/nowhere/mine.py: there is no such file; correct the path, or name a module",
        ),
        ("pkg://json.decoder", "JSONDecoder", None),
        ("pkg://json.decoder", "Mine", ".name=Mine: "),
    ],
)
@pytest.mark.parametrize("section", ["data.custom_cls", "trainer.v1.sampler.custom_sampler"])
def test_code_of_the_users_own_is_looked_for(compose, section, path, name, sentence):
    found = said(compose(f"{section}.path={path}", f"{section}.name={name}"))
    assert [problem.startswith(f"{section}{sentence}") for problem in found] == ([] if sentence is None else [True])


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("def compute_score(): ...", True),
        ("from elsewhere import score as compute_score", True),
        ("from elsewhere import compute_score", True),
        ("from elsewhere import *", True),
        ("if here:\n    compute_score = print", True),
        ("def __getattr__(name): ...", True),
        ("def (", True),
        ("def score(): return 'compute_score'  # compute_score", False),
        ("import elsewhere\nelsewhere.compute_score = 1", False),
    ],
)
def test_a_name_is_missed_only_where_the_text_cannot_have_it(tmp_path, text, may):
    (tmp_path / "mine.py").write_text(text)
    assert inputs._may_define(tmp_path / "mine.py", "compute_score") is may


def test_what_is_not_here_may_be_on_the_cluster(compose, files, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    elsewhere = (
        "data.train_files=/far/train.parquet",
        "actor_rollout_ref.model.path=/far/model",
        "reward.custom_reward_function.path=/far/reward.py",
        "trainer.n_gpus_per_node=64",
    )
    assert said(compose(*elsewhere)) == []
    # What is here is looked into all the same.
    assert len(said(compose(f"data.train_files={without(files, 'prompt')}"))) == 1


def test_a_working_directory_that_ray_sends_may_hold_relative_paths(compose):
    sent = "ray_kwargs.ray_init.runtime_env.working_dir=."
    assert said(compose("reward.custom_reward_function.path=far/reward.py", sent)) == []
    assert len(said(compose("reward.custom_reward_function.path=/far/reward.py", sent))) == 1


@pytest.mark.parametrize("path", ["/nowhere/model", "./nowhere", "~/nowhere/model", "runs/nowhere/model"])
def test_a_model_that_is_not_there(compose, path):
    assert said(compose(f"actor_rollout_ref.model.path={path}")) == [
        f"actor_rollout_ref.model.path={path}: there is no such folder; correct the path, or give a model's name on "
        "the Hugging Face hub"
    ]


def test_the_model_of_a_critic_that_is_not_there(compose, files):
    path = "critic.model.path=~/nowhere/model"
    missing = [f"{path}: there is no such folder; correct the path, or give a model's name on the Hugging Face hub"]
    assert said(compose(path)) == []
    assert said(compose(path, "algorithm.adv_estimator=gae")) == missing
    assert said(compose(path, "algorithm.adv_estimator=gae", "critic.enable=False")) == []
    assert said(compose(path, "critic.enable=True")) == missing
    assert said(compose(f"critic.model.path={files['model']}", "algorithm.adv_estimator=gae")) == []


def test_a_folder_without_a_model(compose, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    assert said(compose(f"actor_rollout_ref.model.path={folder}")) == [
        f"actor_rollout_ref.model.path={folder}: the folder has no config.json; give the folder of a Hugging Face model"
    ]


@pytest.mark.parametrize("engine", ["fsdp2", "megatron"])
def test_a_folder_whose_description_is_broken(compose, files, engine):
    (files["model"] / "config.json").write_text('{"num_attention_heads": ')
    split = "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=2"
    assert said(compose(split, f"actor_rollout_ref.actor.strategy={engine}")) == [
        f"actor_rollout_ref.model.path={files['model']}: the folder's config.json is not a JSON object; download or "
        "save the model again"
    ]


def test_a_name_of_the_hub_that_is_not_in_the_cache_of_an_offline_machine(compose, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert said(compose("actor_rollout_ref.model.path=Qwen/Qwen3-1.7B")) == [
        "actor_rollout_ref.model.path=Qwen/Qwen3-1.7B: not a local folder and not in the Hugging Face cache, "
        "and HF_HUB_OFFLINE=1 forbids downloading it; unset HF_HUB_OFFLINE, or give a model's folder"
    ]
    snapshot = tmp_path / "models--Qwen--Qwen3-1.7B" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = tmp_path / "models--Qwen--Qwen3-1.7B" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    assert said(compose("actor_rollout_ref.model.path=Qwen/Qwen3-1.7B")) == []


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/nowhere/reward.py", "there is no such file; correct the path, or name a module by pkg://"),
        ("file://nowhere.py", "there is no such file; correct the path, or name a module by pkg://"),
        (
            "pkg://frpo_verl.rewards.no_such",
            "there is no module frpo_verl.rewards.no_such; correct it, or install it into the environment that has "
            "verl",
        ),
        (
            "pkg://no_such_package.reward",
            "there is no module no_such_package.reward; correct it, or install it into the environment that has verl",
        ),
    ],
)
def test_a_reward_function_that_is_not_there(compose, path, sentence):
    assert said(compose(f"reward.custom_reward_function.path={path}")) == [
        f"reward.custom_reward_function.path={path}: {sentence}"
    ]


def test_looking_for_a_module_does_not_import_it(tmp_path, monkeypatch):
    package = tmp_path / "raising_package"
    package.mkdir()
    for name in ("__init__.py", "reward.py"):
        (package / name).write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert inputs._can_be_found("raising_package.reward")
    assert not inputs._can_be_found("raising_package.other")
    assert not inputs._can_be_found("raising_package.reward.deeper")


def test_too_few_gpus(compose, monkeypatch):
    assert said(compose("trainer.nnodes=2")) == [
        "trainer.nnodes=2 and trainer.n_gpus_per_node=8: trainer and rollout ask for 16 GPUs and this machine shows 8; "
        "lower them, or set RAY_ADDRESS to a cluster that has them"
    ]
    apart = ["trainer.v1.trainer_mode=separate_async", "actor_rollout_ref.rollout.nnodes=1"]
    (problem,) = said(compose(*apart, "actor_rollout_ref.rollout.n_gpus_per_node=4"))
    assert "ask for 12 GPUs and this machine shows 8" in problem
    (problem,) = said(compose("ray_kwargs.ray_init.num_gpus=2"))
    assert "ask for 8 GPUs and ray_kwargs.ray_init.num_gpus=2; lower" in problem


@pytest.mark.parametrize("there", [None, 8])
def test_gpus_that_are_there_or_of_another_kind(compose, monkeypatch, there):
    monkeypatch.setattr(inputs, "_visible_gpus", lambda: there)
    assert said(compose()) == []


def test_places_of_the_cpu_platform_and_of_npus_are_not_gpus(compose, monkeypatch):
    assert said(compose("trainer.n_gpus_per_node=98", "trainer.device=npu")) == []
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    assert said(compose("trainer.n_gpus_per_node=98")) == []


def test_a_layout_that_does_not_fit(compose):
    (problem,) = said(compose("trainer.n_gpus_per_node=1"))
    assert problem.startswith("actor_rollout_ref.rollout.tensor_model_parallel_size=2: a server takes 2 GPUs, and the ")


def test_gpus_are_counted_as_ray_counts_them(monkeypatch):
    from ray._private.accelerators import NvidiaGPUAcceleratorManager

    monkeypatch.undo()
    monkeypatch.setattr(NvidiaGPUAcceleratorManager, "get_current_node_num_accelerators", staticmethod(lambda: 4))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert inputs._visible_gpus() == 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert inputs._visible_gpus() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert inputs._visible_gpus() == 0


@pytest.mark.parametrize(
    ("overrides", "recipe", "refused"),
    [
        (["algorithm.adv_estimator=frpo"], False, True),
        (["algorithm.adv_estimator=grpo"], False, False),
        (["algorithm.adv_estimator=grpo"], True, True),
        (["algorithm.adv_estimator=gae"], True, True),
    ],
)
def test_runs_with_frpo_and_those_of_recipes_are_refused_before_ray_starts(
    compose, monkeypatch, overrides, recipe, refused
):
    if recipe:
        monkeypatch.setenv(inputs.RECIPE, "recipes/run.sh")
    config = compose(
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.model.path=/nowhere/model",
        *overrides,
    )
    if not refused:
        assert launch._check(config) is False
        return
    with pytest.raises(SystemExit) as ended:
        launch._check(config)
    assert str(ended.value) == (
        "frpo-verl: actor_rollout_ref.model.path=/nowhere/model: there is no such folder; correct the path, or give a "
        "model's name on the Hugging Face hub"
    )


def test_an_actor_that_validates_once_more_is_not_judged(compose, monkeypatch):
    # Ray shows no GPU to an actor that asks for none.
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr(inputs, "_visible_gpus", lambda: 0)
    config = compose(
        "algorithm.adv_estimator=frpo",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
    )
    assert launch._check(config) is True


def test_every_problem_names_its_value(compose):
    values = ("/nowhere/a.parquet", "/nowhere/b.json", "/nowhere/model", "/nowhere/reward.py", "98")
    found = said(
        compose(
            f"data.train_files={values[0]}",
            f"data.val_files={values[1]}",
            f"actor_rollout_ref.model.path={values[2]}",
            f"reward.custom_reward_function.path={values[3]}",
            f"trainer.n_gpus_per_node={values[4]}",
        )
    )
    assert len(found) == len(values)
    for value, problem in zip(values, found, strict=True):
        assert value in problem and "\n" not in problem and "; " in problem


def test_packages_that_are_imported_after_the_models_are_named_before(compose, monkeypatch):
    found = inputs._can_be_found
    monkeypatch.setattr(inputs, "_can_be_found", lambda name: name not in ("math_verify", "cupy") and found(name))
    apart = ("trainer.v1.trainer_mode=separate_async", "actor_rollout_ref.rollout.nnodes=1")
    config = compose(
        f"reward.custom_reward_function.path={inputs.MATH_REWARD}",
        *apart,
        "actor_rollout_ref.rollout.n_gpus_per_node=1",
        "trainer.n_gpus_per_node=2",
        "actor_rollout_ref.rollout.checkpoint_engine.backend=nccl",
    )
    assert said(config) == [
        "reward.custom_reward_function.path=pkg://frpo_verl.rewards.math: it needs math_verify, which is not "
        "installed; pip install 'frpo-verl[math]'",
        "actor_rollout_ref.rollout.checkpoint_engine.backend=nccl: it needs cupy, which is not installed; install the "
        "cupy of your CUDA, for instance by verl's extra fsdp",
    ]
    # weights stay where they are without a pool
    together = compose("actor_rollout_ref.rollout.checkpoint_engine.backend=nccl")
    assert list(inputs.problems(together)) == []


def test_a_cluster_that_ray_would_join_unasked_is_looked_at_as_one(compose, files, monkeypatch):
    from ray._private import services

    gone = compose("trainer.n_gpus_per_node=64", f"actor_rollout_ref.model.path={files['model'] / 'gone'}")
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    assert len(list(inputs.problems(gone))) == 2
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: "10.0.0.1:6379")
    assert list(inputs.problems(gone)) == []
