# shellcheck shell=bash
# Whether frpo-verl and the verl that the recipes were made for are there, sourced before anything else.

VERL=${VERL:-0.9.1}

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
