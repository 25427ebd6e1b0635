# shellcheck shell=bash
# Settings of verl, vLLM and Ray for a machine without a GPU, sourced by run_cpu.sh and by every recipe with TINY=1: sets the
# environment, and the arrays CPU (overrides) and ENVIRONMENT (names of what was exported).
# Reads ENGINE, DTYPE, PLACES (workers and servers, each a logical GPU) and CPUS (logical cores).

export VERL_PLATFORM=cpu
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}
# vLLM: one GiB of key-value cache, both cores, and no busy polling between requests.
export VLLM_CPU_KVCACHE_SPACE=${VLLM_CPU_KVCACHE_SPACE:-1}
export VLLM_CPU_OMP_THREADS_BIND=${VLLM_CPU_OMP_THREADS_BIND:-nobind}
export VLLM_SLEEP_WHEN_IDLE=${VLLM_SLEEP_WHEN_IDLE:-1}
# Spinning OpenMP threads of several processes starve each other on few cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
# Start-up: no C++ compilation in step 1, no idle Ray workers, no usage report.
export TORCH_COMPILE_DISABLE=${TORCH_COMPILE_DISABLE:-1}
export RAY_prestart_worker_first_driver=${RAY_prestart_worker_first_driver:-0}
export RAY_USAGE_STATS_ENABLED=${RAY_USAGE_STATS_ENABLED:-0}
# A Ray of its own, whatever else runs on this machine; or the address of a cluster that was started with
# `ray start --num-gpus=… --num-cpus=…` on every node (`auto` on one of them).
export RAY_ADDRESS=${RAY_ADDRESS:-local}

ENVIRONMENT=(
    VERL_PLATFORM HF_HUB_OFFLINE VLLM_CPU_KVCACHE_SPACE VLLM_CPU_OMP_THREADS_BIND VLLM_SLEEP_WHEN_IDLE OMP_WAIT_POLICY
    OMP_NUM_THREADS TORCH_COMPILE_DISABLE RAY_prestart_worker_first_driver RAY_USAGE_STATS_ENABLED RAY_ADDRESS
)

case ${DTYPE} in
    float32) FSDP_DTYPE=fp32 ;;
    bfloat16) FSDP_DTYPE=bf16 ;;
    *) stop "DTYPE=${DTYPE}: choose float32 or bfloat16" ;;
esac

CPU=(
    trainer.device=cpu
    data.dataloader_num_workers=0
    actor_rollout_ref.model.enable_gradient_checkpointing=False
    actor_rollout_ref.actor.use_torch_compile=False
    actor_rollout_ref.ref.use_torch_compile=False
    actor_rollout_ref.rollout.dtype="${DTYPE}"
    actor_rollout_ref.rollout.tensor_model_parallel_size=1
    actor_rollout_ref.rollout.max_num_seqs=256
    actor_rollout_ref.rollout.enforce_eager=True
    actor_rollout_ref.rollout.free_cache_engine=False
    ++actor_rollout_ref.rollout.enable_sleep_mode=False
    actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=128
    actor_rollout_ref.rollout.agent.num_workers=1
    reward.num_workers=1
    transfer_queue.backend.SimpleStorage.num_data_storage_units=1
)

case ${ENGINE} in
    fsdp2)
        CPU+=(
            # Packed sequences need flash-attn.
            actor_rollout_ref.model.use_remove_padding=False
            ++actor_rollout_ref.model.override_config.attn_implementation=sdpa
            actor_rollout_ref.actor.fsdp_config.use_torch_compile=False
            actor_rollout_ref.actor.fsdp_config.reshard_after_forward=False
            ++actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype="${FSDP_DTYPE}"
            actor_rollout_ref.ref.fsdp_config.use_torch_compile=False
            ++actor_rollout_ref.ref.fsdp_config.mixed_precision.param_dtype="${FSDP_DTYPE}"
        )
        ;;
    megatron)
        CPU+=(
            actor_rollout_ref.actor.megatron.vanilla_mbridge=True
            actor_rollout_ref.actor.megatron.dtype="${DTYPE}"
            # The layout of the reference is the actor's; its dtype is not.
            actor_rollout_ref.ref.megatron.dtype="${DTYPE}"
        )
        # Megatron traces its small fused functions in step 1, which costs more than they save here.
        export TORCHDYNAMO_DISABLE=${TORCHDYNAMO_DISABLE:-1}
        ENVIRONMENT+=(TORCHDYNAMO_DISABLE)
        ;;
    *) stop "ENGINE=${ENGINE}: choose fsdp2 or megatron" ;;
esac

if [ "${RAY_ADDRESS}" = local ]; then
    CPU+=(
        # verl asks Ray for one "GPU" per worker.
        ++ray_kwargs.ray_init.num_gpus="${PLACES}"
        ray_kwargs.ray_init.num_cpus="${CPUS}"
        ++ray_kwargs.ray_init.include_dashboard=False
    )
else
    # Nodes that were started elsewhere do not have this shell's environment.
    for name in "${ENVIRONMENT[@]}"; do
        case ${name} in
            RAY_* | VERL_PLATFORM) ;;
            *) CPU+=("++ray_kwargs.ray_init.runtime_env.env_vars.${name}='${!name}'") ;;
        esac
    done
fi
