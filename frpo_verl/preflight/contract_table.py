"""Lists the symbols of verl, Ray and Hydra that this package uses, with the parameters that it relies on.

`tests/preflight/test_contract.py` reads the sources and finds what is missing here. The CPU platform is left out: each
of its shims names the hosts that it was written for and checks itself.
"""

from typing import NamedTuple

FIRST_VERL = "0.8.0"


class Symbol(NamedTuple):
    """A function, class or constant of a host and what it is used for.

    Attributes:
        module: the module that defines it.
        name: its name there, `Class.method` for methods.
        parameters: the parameters that must exist, in any order.
        use: what it does for us; of a private one, why no public one does.
        since: the first version of verl that has it.
    """

    module: str
    name: str
    parameters: tuple[str, ...]
    use: str
    since: str = FIRST_VERL


_ADVANTAGE = ("data", "adv_estimator", "gamma", "lam", "num_repeat", "norm_adv_by_std_in_grpo", "config")
_ALGOS = "verl.trainer.ppo.core_algos"
_V0 = "verl.trainer.ppo.ray_trainer"
_V1 = "verl.trainer.ppo.v1.trainer_base"
_V1_TRAINERS = "verl.trainer.ppo.v1"
_REWARDS = "verl.experimental.reward_loop.reward_manager"
_PARSERS = "verl.experimental.agent_loop.tool_parser"
_ASYNC = "verl.experimental.fully_async_policy.fully_async_trainer"
_OF_ASYNC = "FullyAsyncTrainer.__ray_metadata__.modified_class"

_VERL = (
    Symbol(_ALGOS, "register_adv_est", ("name_or_enum",), "registers the estimator"),
    Symbol(_ALGOS, "get_adv_estimator_fn", ("name_or_enum",), "verl looks our estimator up with it"),
    Symbol(_ALGOS, "ADV_ESTIMATOR_REGISTRY", (), "whether verl has an estimator"),
    Symbol(_ALGOS, "AdaptiveKLController", ("init_kl_coef", "target_kl", "horizon"), "moves an adaptive β"),
    Symbol(
        _ALGOS,
        "compute_grpo_outcome_advantage",
        ("token_level_rewards", "response_mask", "index", "norm_adv_by_std_in_grpo"),
        "the outcome advantage",
    ),
    Symbol(_ALGOS, "register_policy_loss", ("name",), "registers policy losses"),
    Symbol(_ALGOS, "POLICY_LOSS_REGISTRY", (), "whether a loss's name is taken"),
    Symbol(_ALGOS, "agg_loss", ("loss_mat", "loss_mask", "loss_agg_mode"), "reduces a loss per token"),
    Symbol(_V0, "compute_response_mask", ("data",), "where the host has not computed it"),
    Symbol(_V0, "compute_advantage", _ADVANTAGE, "the advantages that are changed"),
    Symbol(_V0, "RayPPOTrainer._save_checkpoint", ("self",), "saves an adaptive β"),
    Symbol(_V0, "RayPPOTrainer._load_checkpoint", ("self",), "restores an adaptive β"),
    Symbol(
        "verl.trainer.ppo.v1.utils",
        "compute_advantage_for_multi_trajectories",
        (*_ADVANTAGE, "batch_keys"),
        "the advantages that are changed, of rollouts with several outputs too",
        "0.9.0",
    ),
    Symbol(_V1, "PPOTrainer._compute_advantage", ("batch", "metrics"), "more fields in, figures out", "0.9.0"),
    Symbol(_V1, "PPOTrainer._save_checkpoint", ("self",), "saves an adaptive β", "0.9.0"),
    Symbol(_V1, "PPOTrainer._load_checkpoint", ("self",), "restores an adaptive β", "0.9.0"),
    Symbol(
        "verl.trainer.ppo.rollout_corr_helper",
        "compute_rollout_correction_and_add_to_batch",
        ("batch", "rollout_corr_config"),
        "what was sampled before tokens are rejected",
    ),
    Symbol(_ASYNC, f"{_OF_ASYNC}._save_checkpoint", ("self",), "saves an adaptive β; behind Ray's handle"),
    Symbol(_ASYNC, f"{_OF_ASYNC}.load_checkpoint", ("self",), "restores an adaptive β; likewise"),
    Symbol("verl.trainer.ppo.metric_utils", "compute_data_metrics", ("batch", "use_critic"), "figures out (V0)"),
    Symbol("verl.trainer.ppo.utils", "need_reference_policy", ("config",), "loads the reference policy"),
    Symbol("verl.trainer.ppo.utils", "need_critic", ("config",), "whether a critic is loaded"),
    Symbol("verl.trainer.constants_ppo", "get_ppo_ray_runtime_env", (), "the plugin in every worker"),
    Symbol("verl.trainer.config", "AlgoConfig", (), "the keys that verl reads"),
    Symbol("verl.trainer.config.algorithm", "KLControlConfig", (), "the defaults of kl_ctrl"),
    Symbol(
        "verl.utils.config",
        "validate_config",
        ("config", "use_reference_policy", "use_critic"),
        "checks settings before Ray starts",
    ),
    Symbol("verl.utils.config", "omega_conf_to_dataclass", ("config",), "verl's verdict on a section"),
    Symbol(_V1_TRAINERS, "get_trainer_cls", ("name",), "made before Ray starts, it says what it cannot run", "0.9.0"),
    Symbol("verl.workers.rollout.base", "_ROLLOUT_REGISTRY", (), "engines; the public way imports the engine"),
    Symbol("verl.utils.tracking", "Tracking.supported_backend", (), "names of loggers"),
    Symbol(_REWARDS, "get_reward_manager_cls", ("name",), "names of managers"),
    Symbol(
        f"{_REWARDS}.naive", "NaiveRewardManager", ("config", "tokenizer", "compute_score"), "what it reads of a row"
    ),
    Symbol(_PARSERS, "ToolParser._registry", (), "names of parsers; the public way needs a tokenizer"),
    Symbol("verl.experimental.agent_loop.utils", "resolve_config_path", ("config_path",), "files of agent loops"),
    Symbol("verl.workers.engine.utils", "prepare_micro_batches", ("data",), "sizes of micro-batches"),
    Symbol("verl.utils", "hf_tokenizer", ("name_or_path",), "the tokenizer that reads the rows"),
    Symbol("verl.utils", "hf_processor", ("name_or_path",), "likewise, with images"),
    Symbol(
        "verl.utils.dataset.rl_dataset",
        "RLHFDataset",
        ("data_files", "tokenizer", "config", "processor"),
        "verl's verdict on the first rows of a file",
    ),
    Symbol("verl.utils.dataset.rl_dataset", "collate_fn", ("data_list",), "a row as the reward manager gets it"),
    Symbol("verl.protocol", "DataProto", ("batch", "non_tensor_batch"), "a batch for verl's function"),
    Symbol("verl.single_controller.ray.base", "ResourcePoolManager.create_resource_pool", ("self",), "asks every node"),
    Symbol("verl.single_controller.ray.base", "func_generator", ("self", "method_name"), "watches the actor's updates"),
    Symbol("verl.workers.utils.losses", "ppo_loss", ("config", "model_output", "data", "dp_group"), "the current term"),
    Symbol(
        "verl.workers.utils.losses",
        "kl_penalty",
        ("logprob", "ref_logprob", "kl_penalty"),
        "the KL term of the loss, times token weights",
    ),
    Symbol("verl.workers.utils.padding", "no_padding_2_padding", ("data",), "log-probs of a micro-batch"),
    Symbol("verl.utils.tensordict_utils", "get_non_tensor_data", ("data", "key", "default"), "reads the note"),
    Symbol("verl.utils.tensordict_utils", "get", ("tensordict", "key"), "reads a worker's output, and the note"),
    Symbol("verl.utils.tensordict_utils", "assign_non_tensor", ("tensor_dict",), "writes the note, and a batch"),
    Symbol("verl.utils.metric", "Metric", ("value", "aggregation"), "figures of the current policy and of losses"),
    Symbol("verl.utils.metric", "Metric.from_dict", ("data", "aggregation"), "lets a loss say how figures add up"),
    Symbol("verl.utils.metric", "AggregationType.SUM", (), "how ranks are put together"),
    Symbol("verl.utils.metric", "AggregationType.MEAN", (), "how ranks are put together"),
    Symbol("verl.utils.metric", "AggregationType.MAX", (), "how ranks are put together"),
    Symbol(
        "transfer_queue",
        "kv_batch_get",
        ("keys", "partition_id", "select_fields"),
        "token ids for token weights",
        "0.9.0",
    ),
    Symbol(
        "transfer_queue",
        "kv_batch_put",
        ("keys", "partition_id", "fields"),
        "token weights for the KL term of the loss",
        "0.9.0",
    ),
)

OFFLINE = "0.9.1"
"""The first verl that trainers of ours are for."""

_SFT = "verl.trainer.sft_trainer"
_NESTED = ("need_roll", "pre_process")

_TRAINERS = (
    Symbol(_SFT, "SFTTrainer", ("config",), "the loop of offline training", OFFLINE),
    Symbol(_SFT, "Tracking", ("project_name", "experiment_name"), "figures from before the first step", OFFLINE),
    Symbol("verl.workers.engine_workers", "TrainingWorker", ("config",), "what it calls", OFFLINE),
    Symbol("verl.workers.config", "TrainingWorkerConfig", ("model_config", "engine_config"), "the worker's", OFFLINE),
    Symbol("verl.workers.engine", "EngineRegistry.new", ("model_type", "backend"), "the reference's engine", OFFLINE),
    Symbol("verl.utils.dataset.dataset_utils", "SFTTensorCollator", ("pad_mode",), "rows as nested tensors", OFFLINE),
    Symbol("verl.utils.tensordict_utils", "get_tensordict", ("tensor_dict", "non_tensor_dict"), "a batch", OFFLINE),
    Symbol("verl.utils.metric", "Metric.aggregate_dp", ("metric_lists",), "figures of all ranks", OFFLINE),
    Symbol("verl.models.mcore.util", "preprocess_thd_engine", _NESTED, "labels in Megatron's layout", OFFLINE),
    Symbol("verl.models.mcore.util", "preprocess_bshd_engine", (*_NESTED, "forced_max_seqlen"), "likewise", OFFLINE),
    Symbol("verl.utils", "hf_tokenizer", ("name_or_path",), "the policy's tokenizer", OFFLINE),
    Symbol("verl.utils.device", "auto_set_device", ("config",), "as in verl's mains", OFFLINE),
    Symbol("verl.utils.device", "get_device_name", (), "whether engines leave a device for vLLM", OFFLINE),
    Symbol("verl.utils.device", "get_torch_device", (), "the rank's device", OFFLINE),
    Symbol("verl.utils.distributed", "initialize_global_process_group_ray", ("timeout_second",), "ranks", OFFLINE),
    Symbol("verl.utils.distributed", "destroy_global_process_group", (), "their end", OFFLINE),
    Symbol("verl.utils.memory_utils", "aggressive_empty_cache", ("force_sync",), "memory for vLLM", OFFLINE),
    Symbol("verl.trainer.ppo.reward", "get_custom_reward_fn", ("config",), "grades validation", OFFLINE),
    Symbol("verl.utils.reward_score", "default_compute_score", ("data_source", "solution_str"), "likewise", OFFLINE),
)

_RAY = (
    Symbol("ray", "init", ("address",), "asks a cluster for its nodes"),
    Symbol("ray", "shutdown", (), "leaves that cluster"),
    Symbol("ray", "is_initialized", (), "whether this is the driver before Ray starts"),
    Symbol("ray", "nodes", (), "the nodes and what each has"),
    Symbol("ray", "available_resources", (), "what is free"),
    Symbol("ray", "remote", (), "asks a node for its frpo-verl"),
    Symbol("ray", "wait", ("num_returns", "timeout"), "waits for the nodes' answers"),
    Symbol("ray", "get", ("timeout",), "reads them"),
    Symbol("ray", "get_runtime_context", (), "this process's node and job"),
    Symbol("ray", "JobID.from_hex", (), "this job's actors"),
    Symbol("ray.cloudpickle", "register_pickle_by_value", ("module",), "asks nodes that have no frpo-verl"),
    Symbol("ray.exceptions", "GetTimeoutError", (), "a node that does not answer"),
    Symbol("ray.util.scheduling_strategies", "NodeAffinitySchedulingStrategy", ("node_id", "soft"), "asks one node"),
    Symbol("ray.util.client", "ray.is_connected", (), "through a Ray Client nodes are not watched"),
    Symbol(
        "ray._private.state",
        "actors",
        ("job_id",),
        "where a run's actors live; the public list_actors asks the dashboard, which need not run",
    ),
    Symbol(
        "ray._private.runtime_env.constants",
        "RAY_JOB_CONFIG_JSON_ENV_VAR",
        (),
        "what a submitted job sets; it is public only in a process that has joined the cluster",
    ),
    Symbol(
        "ray._private.services",
        "find_bootstrap_address",
        ("temp_dir",),
        "whether ray.init would join a cluster; the public way to know is to join it",
    ),
    Symbol(
        "ray._private.accelerators",
        "get_accelerator_manager_for_resource",
        ("resource_name",),
        "the GPUs that Ray will count; it is public only in a process that has joined a cluster",
    ),
)

_HYDRA = (
    Symbol("hydra", "main", ("config_path", "config_name", "version_base"), "the command line of a trainer of ours"),
    Symbol("hydra", "compose", ("config_name", "overrides", "return_hydra_config"), "composes a command line"),
    Symbol("hydra", "initialize_config_dir", ("config_dir", "job_name", "version_base"), "the folder it is in"),
    Symbol("hydra.core.plugins", "Plugins.instance", (), "makes --config-name frpo_trainer known"),
    Symbol("hydra.plugins.search_path_plugin", "SearchPathPlugin", (), "likewise"),
    Symbol("hydra.core.config_search_path", "ConfigSearchPath", (), "likewise"),
    Symbol("hydra.core.hydra_config", "HydraConfig.instance", (), "Hydra's own values in a configuration"),
    Symbol("hydra.core.override_parser.overrides_parser", "OverridesParser.create", (), "the key of an override"),
    Symbol("hydra.utils", "get_class", ("path",), "the class behind a section's _target_"),
    Symbol("hydra.errors", "HydraException", (), "what Hydra refuses"),
    Symbol("hydra.errors", "MissingConfigException", ("missing_cfg_file",), "a configuration that does not exist"),
    Symbol("hydra.errors", "OverrideParseException", (), "an override that Hydra cannot read"),
)

CONTRACT = (*_VERL, *_TRAINERS, *_RAY, *_HYDRA)

UNHOOKED = (
    "ray",
    "ray._private.runtime_env.constants",
    "ray._private.state",
    "ray.util.client",
    "ray.util.scheduling_strategies",
    "verl.protocol",
    "verl.trainer.config",
    "verl.utils.metric",
    "verl.utils.tensordict_utils",
    "verl.workers.utils.losses",
    "verl.workers.utils.padding",
)
"""Modules that a run uses and that no hook checks in the driver, those of the workers among them: see `contract`."""

OF_TRAINERS = tuple(dict.fromkeys(symbol.module for symbol in _TRAINERS if "mcore" not in symbol.module))
"""Modules that a trainer of ours uses; those of Megatron's engine are there only where Megatron is."""
