# shellcheck shell=bash
# The start of every recipe, sourced: checks the plugin and verl before anything else; TINY=1 sets knobs before the recipe
# does. Reads EXPERIMENT_NAME, ENGINE, and CHOICES, the recipe's knobs among METHOD, TOKEN_WEIGHT, LOSS_MODE and DELTA.

DRY_RUN=${DRY_RUN:-0}
TINY=${TINY:-0}
LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "${LIB}/check.sh"

for knob in METHOD TOKEN_WEIGHT LOSS_MODE DELTA; do
    if [ -n "${!knob:-}" ] && [[ " ${CHOICES:-} " != *" ${knob} "* ]]; then
        stop "${knob}=${!knob}: this recipe has no ${knob}; run_qwen3_1.7b_methods_fsdp2.sh has it, other models by" \
            "MODEL_PATH, and without a GPU TINY=1"
    fi
done

# A path for Hydra, which reads `=`, commas, brackets and letters beyond ASCII within quotes only; a list is left as it is.
quoted() {
    case $1 in
        \[* | \'*) printf '%s' "$1" ;;
        *) printf "'%s'" "$1" ;;
    esac
}

# Model, data, GPUs and reward are checked before Ray starts, for baselines too.
export FRPO_VERL_RECIPE=${VERL}

# Checkpoints, generations, metrics and the command of this run; a second run of the same name resumes it.
# Absolute: workers have other working directories.
RUN_DIR=$(realpath -m "${RUN_DIR:-runs/${EXPERIMENT_NAME}}")
export VERL_FILE_LOGGER_PATH=${RUN_DIR}/metrics.jsonl

# Overrides that a small run on the CPU adds to those of the recipe.
SMALL=()
if [ "${TINY}" = 1 ]; then
    source "${LIB}/tiny.sh"
fi

# The overrides that decide what a run is, without its length.
kind_of() {
    grep -vE '^(trainer\.total_training_steps|trainer\.total_epochs|rollout\.total_rollout_steps)=' "$1"
}

# Nothing of an earlier run in RUN_DIR is lost: verl would empty its metrics.
keep_earlier() {
    local n=1
    [ -e "${RUN_DIR}/metrics.jsonl" ] || [ -e "${RUN_DIR}/overrides.txt" ] || return 0
    while [ -e "${RUN_DIR}/earlier-${n}" ]; do n=$((n + 1)); done
    mkdir "${RUN_DIR}/earlier-${n}"
    for name in metrics.jsonl command.txt overrides.txt; do
        [ ! -e "${RUN_DIR}/${name}" ] || mv "${RUN_DIR}/${name}" "${RUN_DIR}/earlier-${n}/"
    done
    echo "frpo-verl: ${RUN_DIR} holds a run; its metrics are kept in earlier-${n}, and verl resumes from its last checkpoint if there is one"
    if [ -e "${RUN_DIR}/earlier-${n}/overrides.txt" ] \
        && ! diff -q <(kind_of "${RUN_DIR}/earlier-${n}/overrides.txt") <(printf '%s\n' "$@" | kind_of /dev/stdin) > /dev/null; then
        echo "frpo-verl: warning: that run had other settings (compare overrides.txt); set RUN_DIR or EXPERIMENT_NAME to start afresh" >&2
    fi
}

# Runs a main of verl, or of ours: `launch MODULE OVERRIDE…`. With DRY_RUN=1 it shows what would run, and stops.
launch() {
    local main=$1 name
    shift
    local command=(python -m "${main}")
    if [[ ${main} == verl.* ]]; then
        # verl writes metrics in an actor of Ray, which on a cluster knows nothing of this shell.
        command+=("++ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH='${VERL_FILE_LOGGER_PATH}'")
    fi
    command+=("$@")
    if [ "${DRY_RUN}" = 1 ]; then
        exec python -P -m frpo_verl plan ${GPU_MEMORY:+--gpu-memory "${GPU_MEMORY}"} -- "${command[@]}"
    fi
    mkdir -p "${RUN_DIR}"
    keep_earlier "$@"
    printf '%s\n' "$@" > "${RUN_DIR}/overrides.txt"
    {
        for name in VERL_FILE_LOGGER_PATH FRPO_VERL_RECIPE ${ENVIRONMENT[@]+"${ENVIRONMENT[@]}"}; do
            printf '%s=%q ' "${name}" "${!name}"
        done
        printf '%q ' "${command[@]}"
    } > "${RUN_DIR}/command.txt"
    exec "${command[@]}"
}
