# shellcheck shell=bash
# Checks that frpo-verl and the verl that the recipes were made for are installed; sourced before anything else.

MADE_FOR=0.9.1
VERL=${VERL:-${MADE_FOR}}

stop() {
    echo "frpo-verl: $*" >&2
    exit 2
}

if ! installed=$(python -P -c 'from importlib.metadata import version; import frpo_verl; print(version("verl"))' 2> /dev/null); then
    stop "$(command -v python || echo python) does not find both frpo-verl and verl; pip install path/to/frpo-verl into the" \
        "environment that has verl ${VERL}, and activate it"
fi
if [ "${installed}" != "${VERL}" ]; then
    stop "verl ${installed} is installed, VERL=${VERL} is wanted and the recipe was made for ${MADE_FOR}; pip install" \
        "verl==${MADE_FOR}, or set VERL=${installed} to run it anyway"
fi
