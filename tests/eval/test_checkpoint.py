"""Checkpoints become models by verl's own merger: what it is asked, what is used again, and once for real."""

import json
import sys
import types
from pathlib import Path

import pytest

from frpo_verl.eval import checkpoint
from frpo_verl.eval.errors import EvalError
from frpo_verl.eval.sources import MODEL, Source, recognise


@pytest.fixture
def merger(monkeypatch):
    """Records what verl's merger was asked; it writes a file, or fails."""
    asked = types.SimpleNamespace(commands=[], fails=False)

    def run(command, **how):
        asked.commands.append(command)
        target = Path(command[command.index("--target_dir") + 1])
        target.mkdir(parents=True)
        (target / "model.safetensors").write_text("weights")
        return types.SimpleNamespace(returncode=int(asked.fails), stdout="", stderr="Traceback\nKeyError: 'x'\n")

    monkeypatch.setattr(checkpoint.subprocess, "run", run)
    return asked


def saved(folder, backend="fsdp", tied=False):
    config = folder / ("huggingface" if backend == "fsdp" else "model/huggingface") / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"tie_word_embeddings": tied}))
    mark = {"fsdp": "fsdp_config.json", "megatron": "transformer_config.json"}[backend]
    (folder / mark).write_text("{}")
    (folder / "part.pt").write_text("1")
    return Source(str(folder), MODEL, folder, backend=backend)


def test_a_model_is_taken_as_it_is(tmp_path, merger):
    assert checkpoint.model_of(Source("m", MODEL, tmp_path), tmp_path) == str(tmp_path)
    assert checkpoint.model_of(Source("Qwen/Qwen3", MODEL, Path("Qwen/Qwen3")), tmp_path) == "Qwen/Qwen3"
    assert merger.commands == []


@pytest.mark.parametrize(
    "backend, tied, more", [("fsdp", True, []), ("megatron", False, []), ("megatron", True, ["--tie-word-embedding"])]
)
def test_verls_merger_is_asked_in_a_process_of_its_own(tmp_path, merger, backend, tied, more):
    source = saved(tmp_path / "run" / "global_step_3" / "actor", backend, tied)
    made = Path(checkpoint.model_of(source, tmp_path / "samples"))
    assert made.name.startswith("run-global_step_3-") and made.name.endswith(".merged")
    assert (made / "model.safetensors").read_text() == "weights"
    (command,) = merger.commands
    assert command[:5] == [sys.executable, "-P", "-m", "verl.model_merger", "merge"]
    assert command[5:9] == ["--backend", backend, "--local_dir", str(source.path)]
    assert command[11:] == more and command[10] != str(made), "it is whole or not there"


def test_what_was_merged_is_used_again_until_the_checkpoint_changes(tmp_path, merger):
    source = saved(tmp_path / "actor")
    first = checkpoint.model_of(source, tmp_path / "samples")
    assert checkpoint.model_of(source, tmp_path / "samples") == first and len(merger.commands) == 1
    (source.path / "optim.pt").write_text("not the model's")
    checkpoint.model_of(source, tmp_path / "samples")
    assert len(merger.commands) == 1
    (source.path / "part.pt").write_text("another step")
    assert checkpoint.model_of(source, tmp_path / "samples") == first and len(merger.commands) == 2


def test_a_merger_that_fails_is_quoted_and_nothing_of_it_is_used(tmp_path, merger):
    merger.fails = True
    source = saved(tmp_path / "actor")
    for _ in range(2):
        with pytest.raises(EvalError, match=r"verl's merger ended with 1 \(Traceback \| KeyError: 'x'\)"):
            checkpoint.model_of(source, tmp_path / "samples")
    assert len(merger.commands) == 2


def test_checkpoints_of_the_same_step_have_other_names(tmp_path):
    names = {checkpoint.name_of(Source("", MODEL, tmp_path / run / "global_step_3" / "actor")) for run in "ab"}
    assert len(names) == 2 and all("-global_step_3-" in name for name in names)


def test_an_adapter_without_alpha_is_refused(tmp_path, merger, monkeypatch):
    pytest.importorskip("peft")

    def run(command, **how):
        folder = Path(command[command.index("--target_dir") + 1]) / "lora_adapter"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text('{"lora_alpha": 0}')
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(checkpoint.subprocess, "run", run)
    with pytest.raises(EvalError, match="lora_alpha=0, at which it does nothing"):
        checkpoint.model_of(saved(tmp_path / "actor"), tmp_path / "samples")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model of a few parameters, in bfloat16 as the merger writes it."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        architectures=["LlamaForCausalLM"],
    )
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config).bfloat16().float()


def of_fsdp(folder, model, state, **more):
    """Writes a checkpoint of one rank as verl's FSDP workers do."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    model.config.save_pretrained(folder / "huggingface")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a"))).save_pretrained(
        folder / "huggingface"
    )
    torch.save(state, folder / "model_world_size_1_rank_0.pt")
    (folder / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 1}))
    for name, content in more.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return recognise(str(folder))


@pytest.mark.slow
def test_a_checkpoint_of_fsdp_with_an_adapter_becomes_the_policy(tmp_path, base):
    torch = pytest.importorskip("torch")
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    pytest.importorskip("verl")
    ids = torch.arange(8)[None]
    of_base = base(ids).logits
    config = peft.LoraConfig(r=2, lora_alpha=64, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(base, config)
    meta = {"r": 2, "lora_alpha": 64, "task_type": "CAUSAL_LM"}
    source = of_fsdp(tmp_path / "actor", base, adapted.state_dict(), lora_train_meta=meta)
    folder = checkpoint.model_of(source, tmp_path / "samples")
    made, wanted = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32"), adapted(ids).logits
    assert (wanted - of_base).abs().max() > 0.1
    # the sum is rounded to bfloat16
    torch.testing.assert_close(made(ids).logits, wanted, atol=0.02, rtol=0.02)
