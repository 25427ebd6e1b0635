"""Tests the reading of a model's folder, also where it says nothing."""

import pytest

from frpo_verl.preflight import model_folder


def test_the_description_is_read(tmp_path):
    (tmp_path / "config.json").write_text('{"num_attention_heads": 12}')
    assert model_folder.description(str(tmp_path)) == {"num_attention_heads": 12}
    assert model_folder.is_readable(tmp_path)


@pytest.mark.parametrize("path", ["Qwen/Qwen3-1.7B", "/nowhere", "hdfs://models/one"])
def test_what_is_not_here_says_nothing_and_is_no_fault(path):
    assert model_folder.description(path) == {}
    assert model_folder.is_readable(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe{}"])
def test_what_is_no_json_object_says_nothing_and_is_one(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    assert model_folder.description(tmp_path) == {}
    assert not model_folder.is_readable(tmp_path)


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config.json").write_text('{"vocab_size": 7}')
    assert model_folder.description("~") == {"vocab_size": 7}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"vocab_size": 7}', 7),
        ('{"text_config": {"vocab_size": 7}}', 7),
        ('{"vocab_size": 7, "text_config": {"vocab_size": 8}}', 7),
        ('{"text_config": {}}', None),
        ('{"text_config": null}', None),
        ('{"vocab_size": [7, 8]}', None),
        ('{"vocab_size": "7"}', None),
        ("{}", None),
    ],
)
def test_a_size_may_be_the_texts_and_is_a_whole_number(tmp_path, content, found):
    (tmp_path / "config.json").write_text(content)
    assert model_folder.size(tmp_path, "vocab_size") == found


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("gpt2", False),
        ("Qwen/Qwen3-0.6B", False),
        ("/a", True),
        ("./a", True),
        ("~/a", True),
        ("runs/x/huggingface", True),
    ],
)
def test_a_name_of_the_hub_has_one_slash_at_most(model, answer):
    assert model_folder.is_path(model) == answer
