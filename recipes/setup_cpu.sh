#!/usr/bin/env bash
# A virtual environment for machines without a GPU: verl 0.9.1, vLLM's CPU build, pinned.
#
# Purpose: `make setup` calls it; it needs Python 3.11 with venv and pip, and nothing else.
# Time:    about 2 minutes, 4 GB on disk.
set -euo pipefail

PYTHON=${PYTHON:-python3.11}
VENV=${VENV:-.venv}

if ! "${PYTHON}" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then
    echo "PYTHON=${PYTHON}: Python 3.11 with venv and pip is needed; install it, or name it: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi

# Runs pip with a log file, shows its progress, and on failure the end of its log.
install() {
    local label=$1 total=$2
    shift 2
    if ! "${VENV}/bin/pip" install --disable-pip-version-check --no-input --no-compile --progress-bar off "$@" 2>&1 \
        | tee -a "${VENV}/setup.log" \
        | awk -v label="${label}" -v total="${total}" '
            function show(text) { printf "%s%s%s", (tty ? "\r\033[K" : ""), text, (tty ? "" : "\n"); fflush() }
            BEGIN { tty = system("test -t 2") == 0 }
            /^(Collecting|Processing)/ { n++; if (tty || n % 50 == 0) show(sprintf("  %s: %d of %d fetched", label, n, total)) }
            /^Installing collected/ { show(sprintf("  %s: %d fetched, unpacking", label, n)) }
            /^Successfully installed/ { show(sprintf("  %s: done", label)); if (tty) print "" }'
    then
        echo "pip could not install ${label}; the end of ${VENV}/setup.log:" >&2
        tail -n 15 "${VENV}/setup.log" >&2
        if grep -q "No matching distribution found for torch==" "${VENV}/setup.log"; then
            echo "pip's index has no CPU build of torch: set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU wheels and repeat" >&2
        fi
        exit 1
    fi
}

echo "Setting up ${VENV} (about 2 minutes; once)"
"${PYTHON}" -m venv "${VENV}"
: > "${VENV}/setup.log"
# Without dependencies: the file names them all, except those that pyproject.toml excludes, with reasons.
install "pinned packages" "$(grep -c == requirements-cpu.txt)" --no-deps --require-hashes -r requirements-cpu.txt
# Here and on all cores: otherwise a dozen processes compile the same files at the first start, which took 80 s longer.
# Some packages carry templates that are not valid Python, so the exit status says nothing.
echo "  compiling"
"${VENV}/bin/python" -m compileall -q -j 0 "${VENV}/lib" > "${VENV}/compile.log" 2>&1 || true
touch "${VENV}/.ready"
