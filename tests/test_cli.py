"""The command `frpo-verl` itself: what it reads, and that it is light."""

import json
import subprocess
import sys

import pytest

from frpo_verl import cli, doctor
from frpo_verl.doctor.report import Report, Section


@pytest.fixture
def asked(monkeypatch):
    """Records what the doctor was asked; it answers with `problems`."""
    calls: dict = {"problems": []}

    def examine(for_verl, **options):
        calls.update(options, for_verl=for_verl)
        return Report([Section("Versions", {"python": "3.11"}, calls["problems"])])

    monkeypatch.setattr(doctor, "examine", examine)
    return calls


def test_alone_it_prints_help(capsys):
    assert cli.main([]) == 0
    assert "doctor" in capsys.readouterr().out


def test_a_reader_that_goes_is_no_traceback(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step":1,"data":{"actor/entropy":1.0}}\n')
    words = [sys.executable, "-m", "frpo_verl", "report", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ours:
        ours.stdout.close()
        assert ours.stderr.read() == b""
    assert ours.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [["heal"], ["doctor", "a=b"], ["doctor", "--ray-timeout", "soon"], ["data", "--"], ["report", "runs", "--"]],
)
def test_bad_usage_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "usage: frpo-verl" in said
    assert arguments[-1] != "--" or f"{arguments[0]} takes no --: " in said


def test_overrides_without_dashes_are_told_of_them(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "algorithm.adv_estimator=frpo"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip().endswith("=frpo; write -- before verl's overrides")


def test_what_stands_behind_the_dashes_is_verls(asked):
    assert cli.main(["doctor", "--no-ray", "--", "--config-name", "x", "a=b", "--", "--json"]) == 0
    assert asked["for_verl"] == ["--config-name", "x", "a=b", "--", "--json"]
    assert asked["use_ray"] is False


def test_without_dashes_there_is_no_command_line(asked):
    cli.main(["doctor", "--ray-address", "auto", "--ray-timeout", "9"])
    assert (asked["for_verl"], asked["ray_address"], asked["ray_seconds"]) == (None, "auto", 9.0)


def test_empty_dashes_are_verls_defaults(asked):
    cli.main(["doctor", "--"])
    assert asked["for_verl"] == []


def test_problems_are_status_1_in_text_and_in_json(asked, capsys):
    asked["problems"] = ["key=1: it does not work; set key=2"]
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().out.endswith("Problems\n  1. key=1: it does not work; set key=2\n")
    assert cli.main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "sections": {"Versions": {"python": "3.11"}},
        "warnings": [],
        "problems": ["key=1: it does not work; set key=2"],
    }


def test_importing_it_imports_nothing_heavy():
    program = (
        "import sys, frpo_verl.cli, frpo_verl.doctor; "
        "print(sorted({'torch', 'verl', 'ray', 'hydra', 'omegaconf', 'frpo_verl.verl_plugin', 'datasets', 'filelock', "
        "'pyarrow', 'reasoning_gym', 'tqdm', 'numpy'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_every_command_of_the_table_explains_itself(capsys):
    for name, module in cli.COMMANDS.items():
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert f"usage: frpo-verl {name}" in capsys.readouterr().out
        assert callable(module.run)
