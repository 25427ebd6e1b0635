import sys
import types

import pytest

from frpo_verl.divergences import BY_NAME, CATALOGUE, REVERSE_KL, UnknownDivergence, by_name, from_f

pytestmark = pytest.mark.filterwarnings("error")

MINE = from_f("mine", lambda u: (u - 1) ** 4)


@pytest.fixture(autouse=True)
def _users_module(monkeypatch):
    module = types.ModuleType("users_module")
    module.MINE, module.NOT_A_GENERATOR = MINE, 3
    monkeypatch.setitem(sys.modules, "users_module", module)


def test_verls_names():
    verls = {"kl": "reverse KL (k1)", "k1": "reverse KL (k1)", "low_var_kl": "reverse KL (k3)", "k3": "reverse KL (k3)"}
    verls |= {"mse": "squared log-ratio (k2)", "k2": "squared log-ratio (k2)"}
    assert {name: by_name(name).name for name in verls} == verls
    assert by_name("kl") is REVERSE_KL


def test_no_two_divergences_share_a_name():
    aliases = [alias for generator in CATALOGUE for alias in generator.aliases]
    assert len(aliases) == len(set(aliases)) == len(BY_NAME)
    assert len({generator.name for generator in CATALOGUE}) == len(CATALOGUE) == 11


@pytest.mark.parametrize(("name", "shown"), [("alpha:0.5", "α = 0.5"), ("alpha:-2", "α = -2")])
def test_the_alpha_family_is_asked_for_by_its_order(name, shown):
    assert by_name(name).name == shown


@pytest.mark.parametrize("name", ["alpha:half", "alpha:", "alpha:nan", "alpha:99"])
def test_an_order_that_is_no_number_is_refused(name):
    with pytest.raises(UnknownDivergence, match=f"divergence '{name}': "):
        by_name(name)


def test_a_divergence_of_ones_own_is_imported():
    assert by_name("users_module:MINE") is MINE


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module:MINE", "cannot be imported: No module named 'no_such_module'"),
        ("users_module:OTHER", "cannot be imported"),
        ("users_module:NOT_A_GENERATOR", "is a int, not a frpo_verl Generator"),
    ],
)
def test_what_cannot_be_imported_is_named(name, reason):
    with pytest.raises(UnknownDivergence, match=f"divergence '{name}' {reason}"):
        by_name(name)


@pytest.mark.parametrize(("name", "hint"), [("alpha", "alpha:0.5"), ("my.module.MINE", "<module>:<attribute>")])
def test_a_form_that_is_almost_right_gets_a_hint(name, hint):
    with pytest.raises(UnknownDivergence, match=f"unknown divergence '{name}': did you mean .*{hint}"):
        by_name(name)


def test_an_unknown_name_shows_the_nearest_and_all_names():
    with pytest.raises(UnknownDivergence, match="unknown divergence 'kll': did you mean 'kl'.*known are .*k1, k2, k3"):
        by_name("kll")


def test_a_name_like_no_other_shows_all_names():
    with pytest.raises(UnknownDivergence, match="unknown divergence 'wasserstein': known are"):
        by_name("wasserstein")


@pytest.mark.parametrize("name", ["abs", "full", "k1+", "k3+", "low_var_kl+"])
def test_what_only_a_loss_can_use_is_refused_with_the_reason(name):
    with pytest.raises(UnknownDivergence, match="exists only as a loss of verl: .*'(kl|k1|k3|total_variation)'"):
        by_name(name)
