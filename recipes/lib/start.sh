# The start of every recipe, sourced: the plugin and verl are looked at before anything else, and TINY=1 sets knobs before
# the recipe does. Reads EXPERIMENT_NAME and ENGINE.

VERL=${VERL:-0.9.1}
DRY_RUN=${DRY_RUN:-0}
TINY=${TINY:-0}
LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

stop() {
    echo "frpo-verl: $*" >&2
    exit 2
}

if ! installed=$(python -P -c 'from importlib.metadata import version; import frpo_verl; print(version("verl"))' 2> /dev/null); then
    stop "$(command -v python || echo python) does not find both frpo-verl and verl; pip install path/to/frpo-verl into the" \
        "environment that has verl ${VERL}, and activate it"
fi
if [ "${installed}" != "${VERL}" ]; then
    stop "verl ${installed} is installed and this recipe was made for ${VERL}; pip install verl==${VERL}, or set" \
        "VERL=${installed} to run it all the same"
fi

# Model, data, GPUs and reward are looked at before Ray starts, for baselines too.
export FRPO_VERL_RECIPE=${VERL}

# Checkpoints, generations, metrics and the command of this run; a second run of the same name goes on where it stopped.
RUN_DIR=${RUN_DIR:-${PWD}/runs/${EXPERIMENT_NAME}}
export VERL_FILE_LOGGER_PATH=${RUN_DIR}/metrics.jsonl

# Overrides that a small run on the CPU adds to those of the recipe.
SMALL=()
if [ "${TINY}" = 1 ]; then
    source "${LIB}/tiny.sh"
fi

# Runs a main of verl: `launch MODULE OVERRIDE…`. With DRY_RUN=1 it shows what would run, and stops.
launch() {
    local command=(python -m "$@") name
    if [ "${DRY_RUN}" = 1 ]; then
        exec python -P -m frpo_verl plan ${GPU_MEMORY:+--gpu-memory "${GPU_MEMORY}"} -- "${command[@]}"
    fi
    mkdir -p "${RUN_DIR}"
    {
        for name in VERL_FILE_LOGGER_PATH FRPO_VERL_RECIPE ${ENVIRONMENT[@]+"${ENVIRONMENT[@]}"}; do
            printf '%s=%q ' "${name}" "${!name}"
        done
        printf '%q ' "${command[@]}"
    } > "${RUN_DIR}/command.txt"
    exec "${command[@]}"
}
