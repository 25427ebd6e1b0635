import struct
import subprocess
import sys

from frpo_verl.divergences import CATALOGUE
from frpo_verl.divergences.table import STYLES, WHEN, figure, table


def test_every_divergence_has_a_row_with_its_names_and_facts():
    rows = table().splitlines()
    assert len(rows) == 2 + len(CATALOGUE) + 1
    for generator, row in zip(CATALOGUE, rows[2:-1], strict=True):
        assert all(f"`{alias}`" in row for alias in generator.aliases)
        assert f"| {generator.name} |" in row
        assert ("one-sided" in row) == generator.one_sided
    assert "`alpha:<order>`" in rows[-1]


def test_no_cell_is_cut_by_a_bar_of_a_formula():
    cells = {row.replace("\\|", "").count("|") for row in table().splitlines()}
    assert cells == {9}


def test_advice_and_styles_are_complete():
    first_aliases = {generator.aliases[0] for generator in CATALOGUE}
    assert set(WHEN) == set(STYLES) == first_aliases
    assert len(set(STYLES.values())) == len(STYLES)


def test_the_figure_is_drawn(tmp_path):
    figure(tmp_path / "divergences.png")
    head = (tmp_path / "divergences.png").read_bytes()[:24]
    assert struct.unpack(">II", head[16:]) == (1200, 560)


def test_the_command_prints_the_table_and_draws_the_figure(tmp_path):
    command = [sys.executable, "-m", "frpo_verl.divergences.table", str(tmp_path / "drawn.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == table()
    assert (tmp_path / "drawn.png").exists()
