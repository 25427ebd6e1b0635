"""Checks the form of the patches, and that they apply to the installed verl."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patched_verl import ROOT, SERIES, apply, copy_of_verl, installed

pytest.importorskip("verl")

MODULES = (
    "fsdp, megatron, veomni, sglang, vllm, trtllm, rollout, trainer, tests, training_utils, recipe, hardware, "
    "deployment, ray, worker, single_controller, misc, docker, ci, perf, model, algo, env, tool, ckpt, doc, data, cfg, "
    "reward, fully_async, one_step_off"
).split(", ")
"""verl's own list: `tests/special_sanity/check_pr_title.py` of its main branch."""

NEW_PYTHON = r"^new file mode \d+\nindex .*\n--- .*\n\+\+\+ b/\S+\.py\n@@ .*\n(.*)$"
"""The first line of an added file."""


def title(patch: Path) -> str:
    head = patch.read_text().split("\n---\n")[0]
    return re.search(r"^Subject: \[PATCH \d/\d\] (.*(?:\n .*)*)", head, flags=re.MULTILINE)[1].replace("\n", "")


def check(root: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "patches" / "check.py"), "--verl", str(root)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_series_is_whole():
    numbers = [re.search(r"^Subject: \[PATCH (\d/\d)\]", patch.read_text(), re.MULTILINE)[1] for patch in SERIES]
    assert numbers == [f"{n}/{len(SERIES)}" for n in range(1, len(SERIES) + 1)]


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: patch.name[:4])
def test_a_patch_has_one_line_of_context(patch):
    # Before the first change of a hunk, and after its last one.
    for hunk in re.findall(r"^@@ .*\n((?:[ +\-\\].*\n)+)", patch.read_text(), flags=re.MULTILINE):
        lines = [line for line in hunk.splitlines() if not line.startswith("\\")]
        kept = [line.startswith(" ") for line in lines]
        assert not all(kept[:2]) and not all(kept[-2:]), hunk


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: patch.name[:4])
def test_a_title_is_as_verls_ci_wants_it(patch):
    modules, kind = re.fullmatch(r"(?:\[BREAKING\])?\[([a-z_, ]+)\] (\w+): .+", title(patch)).groups()
    assert set(modules.split(", ")) <= set(MODULES)
    assert kind in ("feat", "fix", "refactor", "chore", "test")


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: patch.name[:4])
def test_the_readme_has_the_patchs_name_and_its_pull_request(patch):
    readme = (ROOT / "patches" / "README.md").read_text()
    assert patch.name in readme
    assert title(patch) in readme


def test_new_python_files_have_verls_licence():
    for patch in SERIES:
        for first in re.findall(NEW_PYTHON, patch.read_text(), re.MULTILINE):
            assert first == "+# Copyright 2026 Bytedance Ltd. and/or its affiliates"


def test_check_says_that_the_installed_verl_takes_all_but_the_documents():
    done = check(installed())
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [patch.name for patch in SERIES]
    with_documents = lines.pop(4)
    assert all(line.endswith(": applies") for line in lines)
    absent = "docs/examples/config.rst, docs/index.rst, examples/README.md"
    assert with_documents.endswith(f": applies, but for {absent}: not there")
    assert done.returncode == 0


@pytest.mark.parametrize("applied", [1, 3, len(SERIES)])
def test_check_knows_the_patches_that_are_in(tmp_path, applied):
    copy_of_verl(tmp_path)
    for patch in SERIES[:applied]:
        apply(patch, tmp_path)
    done = check(tmp_path)
    said = [line.split(": ", 1)[1] for line in done.stdout.splitlines()]
    assert said[:applied] == ["is in there already"] * applied
    assert all(line.startswith("applies") for line in said[applied:])
    assert done.returncode == 0


def test_check_names_the_place_that_has_changed(tmp_path):
    packages = installed()
    for path in ("verl/trainer", "tests/trainer", "verl/utils/config.py", "verl/experimental/separation"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (packages / path).is_dir() else shutil.copy)(packages / path, tmp_path / path)
    file = tmp_path / "verl" / "trainer" / "ppo" / "utils.py"
    text = file.read_text()
    file.write_text(text.replace("or config.actor_rollout_ref.actor.use_kl_loss", "or other(config)"))
    assert file.read_text() != text
    done = check(tmp_path)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0].endswith(": applies")
    assert re.search(r"needs verl/trainer/ppo/utils\.py by hand \(the hunk at line \d+\)$", lines[1])
    assert lines[2].endswith(": applies")


def test_check_refuses_a_folder_without_verl(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"--verl {tmp_path}: no verl/trainer there; name a checkout of verl")
