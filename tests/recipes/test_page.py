"""The page of the recipes says of each script and knob what the scripts say."""

import re

import pytest
from composed import RECIPES

PAGE = (RECIPES / "README.md").read_text()


def table(first_cell: str, part: str = PAGE) -> list[list[str]]:
    """The rows of the first table of a part of the page whose header begins with that cell, without backticks."""
    lines = part[part.index(f"| {first_cell} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def defaults(script: str) -> dict[str, str]:
    text = (RECIPES / script).read_text()
    found = re.findall(r"^ *(?:[\w |]+\) )?([A-Z_0-9]+)=\$\{\1:-(.*)\}(?: ;;)?$", text, re.M)
    return dict(found)


def test_every_script_has_its_row_and_every_row_its_script():
    rows = table("script")
    named = [name for row in rows for name in re.findall(r"[\w.]+\.sh", row[0])]
    assert sorted(named) == sorted(script.name for script in RECIPES.glob("*.sh"))


def test_the_hardware_is_that_of_the_headers():
    for scripts, _, hardware in table("script"):
        for name in re.findall(r"run_qwen3[\w.]+\.sh", scripts):
            header = re.search(r"^# Hardware: (.*)$", (RECIPES / name).read_text(), re.M)[1]
            assert hardware.removeprefix("8 x ") in header and "8 x" in header


@pytest.mark.parametrize(("script", "which"), [("lib/paper.sh", 0), ("run_cpu.sh", 1)])
def test_every_knob_is_listed_with_its_default(script, which):
    part = PAGE.split("`run_cpu.sh` wants ")[which]
    listed = {knob.strip("`"): default for knob, default, _ in table("knob", part)}
    actual = defaults(script)
    in_words = {"VAL_FILES", "PPO_MAX_TOKEN_LEN_PER_GPU"}
    assert listed.keys() - in_words == actual.keys() - in_words - {"EXPERIMENT_NAME"}
    wrong = {
        knob: (actual[knob], said)
        for knob, said in listed.items()
        if knob not in in_words and said != f"`{actual[knob]}`"
    }
    assert wrong == {}


def test_every_knob_of_one_script_is_listed_with_its_default():
    of_all = defaults("lib/paper.sh").keys() | {"MODEL_PATH", "EXPERIMENT_NAME", "GPU_MEMORY"}
    actual = {}
    for script in RECIPES.glob("run_qwen3_*.sh"):
        own = defaults(script.name)
        actual |= {(script.name, knob): own[knob] for knob in own.keys() - of_all}
    listed = {}
    for knob, default, script, _ in table("knob", PAGE.split("Knobs that one script alone has:")[1]):
        part = f"_{script.lower().replace(' ', '_')}_"
        (name,) = (path.name for path in RECIPES.glob("run_qwen3_*.sh") if part in path.name)
        listed[name, knob.strip("`")] = default
    assert listed.keys() == actual.keys()
    in_words = {"DELTA", "OVERLONG_BUFFER", "ROLLOUT_NGPUS"}
    wrong = {key: said for key, said in listed.items() if key[1] not in in_words and said != f"`{actual[key]}`"}
    assert wrong == {}


def test_every_knob_of_the_offline_recipes_is_listed_with_its_defaults():
    study, on_gpus = defaults("run_fpa_cpu.sh"), defaults("run_qwen2.5_math_7b_fpa_fsdp2.sh")
    shared = defaults("lib/fpa.sh") | on_gpus
    rows = table("knob", PAGE.split("The offline recipes, ")[1])
    listed = {knob.strip("`"): (of_all.strip("`"), of_study.strip("`")) for knob, of_all, of_study, _ in rows}
    in_words = {"GRADED", "TRAIN_FILES", "MAX_TOKEN_LEN_PER_GPU", "RUNS"}
    assert listed.keys() == (shared.keys() | study.keys()) - {"EXPERIMENT_NAME", "MODEL_PATH"} | in_words
    wrong = {
        knob: said
        for knob, said in listed.items()
        if (said[0] != shared.get(knob, "–") and knob not in in_words)
        # what is shared, or fixed there
        or (said[1] not in ((study[knob],) if knob in study else (shared.get(knob), "–")) and knob != "RUNS")
    }
    assert wrong == {}


def test_every_method_is_listed_and_can_be_chosen():
    text = (RECIPES / "run_qwen3_1.7b_methods_fsdp2.sh").read_text()
    text = re.findall(r"^case \$\{METHOD\} in$(.*?)^esac$", text, re.M | re.S)[-1]
    cases = re.findall(r"^    (\w+)\) ", text, re.M) + re.findall(r"^    (\w+)\)$", text, re.M)
    listed = [name for row in table("value") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == sorted(cases)


def test_the_values_of_run_cpus_knobs_are_those_that_it_takes():
    rows = {
        knob.strip("`"): f"{default} {meaning}"
        for knob, default, meaning in table("knob", PAGE.split("`run_cpu.sh` wants ")[1])
    }
    text = (RECIPES / "run_cpu.sh").read_text() + (RECIPES / "lib" / "cpu.sh").read_text()
    for knob in ("METHOD", "ENGINE", "TRAINER", "DTYPE"):
        choices = re.search(rf"{knob}=\$\{{{knob}\}}: choose ([\w, ]+)", text)[1]
        assert set(re.split(r", | or ", choices)) == set(re.findall(r"`(\w+)`", rows[knob]))


def test_the_papers_figures_are_those_of_the_headers():
    figures, model = {}, ""
    for name, method, *values in table("model"):
        model = name or model
        figures[model, method] = [float(value) for value in values]
    assert len(figures) == 9
    for script in RECIPES.glob("run_qwen3_*"):
        text = script.read_text()
        if "(base model: " not in text:
            continue
        model = re.search(r"Qwen/(Qwen3-[\w.-]+)", text)[1].rstrip("}")
        header = text.split("# Figure:")[1].split("Not reproduced")[0].replace("pass@16", "")
        ours, base, kl_loss = re.split(r"\(base model:|; GRPO with a KL loss:", header)
        for method, said in (("FRPO", ours), ("base model", base), ("GRPO with a KL loss", kl_loss)):
            assert [float(value) for value in re.findall(r"\d+\.\d", said)] == figures[model, method], script.name
