import pytest

from frpo_verl.quickstart import atomic_folder


def write_empty_files(folder):
    for name in atomic_folder.MODEL_FILES:
        (folder / name).touch()


def test_the_folder_appears_only_when_it_is_complete(tmp_path):
    destination = tmp_path / "deep" / "model"

    def write(folder):
        write_empty_files(folder)
        assert not destination.exists()

    assert atomic_folder.build_once(destination, write) == destination
    assert [path.name for path in destination.parent.iterdir()] == ["model"]
    assert atomic_folder.is_complete(destination)


def test_a_complete_folder_is_left_as_it_is(tmp_path):
    write_empty_files(tmp_path)
    assert atomic_folder.build_once(tmp_path, lambda folder: pytest.fail("it was written again")) == tmp_path


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="remove it or name another folder"):
        atomic_folder.build_once(tmp_path, write_empty_files)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_an_empty_folder_is_filled(tmp_path):
    assert atomic_folder.is_complete(atomic_folder.build_once(tmp_path, write_empty_files))


def test_a_failed_build_leaves_nothing_behind(tmp_path):
    def fail(folder):
        (folder / "config.json").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_folder.build_once(tmp_path / "model", fail)
    assert not list(tmp_path.iterdir())


def test_of_two_builders_at_once_the_second_takes_the_folder_of_the_first(tmp_path):
    destination = tmp_path / "model"

    def overtaken(folder):
        write_empty_files(folder)
        destination.mkdir()
        write_empty_files(destination)

    assert atomic_folder.build_once(destination, overtaken) == destination
    assert list(tmp_path.iterdir()) == [destination]


def test_a_folder_that_lacks_a_file_is_not_complete_and_is_refused(tmp_path):
    write_empty_files(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert not atomic_folder.is_complete(tmp_path)
    with pytest.raises(FileExistsError, match="not a complete model folder"):
        atomic_folder.build_once(tmp_path, write_empty_files)
