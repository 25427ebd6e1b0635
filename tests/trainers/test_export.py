"""The folder that vLLM loads while the policy trains."""

import json

import pytest
import torch

pytest.importorskip("safetensors")

from frpo_verl.trainers import export  # noqa: E402


class Engine:
    """As verl's: parameters one by one, under Hugging Face's names."""

    def __init__(self, parameters):
        self.parameters, self.taken = parameters, 0

    def get_per_tensor_param(self):
        def each():
            for name, value in self.parameters.items():
                self.taken += 1
                yield name, value

        return each(), None


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"dtype": "bfloat16"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model-00001-of-00002.safetensors").write_text("old weights")
    (folder / "model.safetensors.index.json").write_text("old index")
    (folder / "pytorch_model.bin").write_text("old weights")
    (folder / "pytorch_model.bin.index.json").write_text("old index")
    (folder / "sub").mkdir()
    return folder


def read(folder):
    from safetensors.torch import load_file

    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    held = {name: load_file(folder / name) for name in set(index.values())}
    assert sorted(key for file in held.values() for key in file) == sorted(index)
    return {key: held[name][key] for key, name in index.items()}


PARAMETERS = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(8)[::2]}


def test_weights_come_back_in_the_models_dtype(model, tmp_path):
    export.write(Engine(PARAMETERS), model, tmp_path / "out", writes=True)
    found = read(tmp_path / "out")
    assert torch.equal(found["a"], PARAMETERS["a"].bfloat16())
    assert torch.equal(found["b"], PARAMETERS["b"])
    assert torch.equal(found["c"], PARAMETERS["c"].bfloat16())


def test_everything_else_of_the_folder_comes_along_and_no_old_weight(model, tmp_path):
    export.write(Engine(PARAMETERS), model, tmp_path / "out", writes=True)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "tokenizer.json", "model-00000.safetensors", "model.safetensors.index.json"}


def test_what_an_earlier_export_left_is_gone(model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model-00007.safetensors").write_text("of another step")
    export.write(Engine(PARAMETERS), model, tmp_path / "out", writes=True)
    assert not (tmp_path / "out" / "model-00007.safetensors").exists()


def test_large_models_are_written_in_several_files(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LARGEST", 64)
    export.write(Engine(PARAMETERS), model, tmp_path / "out", writes=True)
    files = sorted(file.name for file in (tmp_path / "out").glob("*.safetensors"))
    assert files == ["model-00000.safetensors", "model-00001.safetensors"]
    assert set(read(tmp_path / "out")) == set(PARAMETERS)


def test_the_other_ranks_give_all_their_parts_and_write_nothing(model, tmp_path):
    engine = Engine(PARAMETERS)
    export.write(engine, model, tmp_path / "out", writes=False)
    assert engine.taken == 3 and not (tmp_path / "out").exists()


def test_weights_are_not_those_that_train_on(model, tmp_path):
    (model / "config.json").write_text(json.dumps({"torch_dtype": "float32"}))
    live = {"a": torch.zeros(2)}

    class Moving(Engine):
        def get_per_tensor_param(self):
            def each():
                yield "a", live["a"]
                live["a"].add_(1)
                yield "b", live["a"]

            return each(), None

    export.write(Moving({}), model, tmp_path / "out", writes=True)
    found = read(tmp_path / "out")
    assert found["a"].tolist() == [0, 0] and found["b"].tolist() == [1, 1]
