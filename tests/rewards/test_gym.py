import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from frpo_verl.rewards import gym


def test_it_is_reasoning_gym_with_its_task():
    assert gym.load().create_dataset("chain_sum", size=1, seed=0)[0]["answer"]


def test_a_placeholder_can_be_looked_up_like_a_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "a_placeholder", gym._placeholder("a_placeholder"))
    assert gym.importlib.util.find_spec("a_placeholder") is not None


def test_many_threads_of_a_fresh_process_can_score_at_once():
    # As verl's reward worker does; a placeholder without a spec failed all threads but the first.
    program = """
import importlib.util
from concurrent.futures import ThreadPoolExecutor
real = importlib.util.find_spec
def without_pycosat(name, *rest):
    import sys
    return real(name, *rest) if name != "pycosat" or name in sys.modules else None
importlib.util.find_spec = without_pycosat
from frpo_verl.quickstart.reward import compute_score
with ThreadPoolExecutor(16) as pool:
    scores = list(pool.map(lambda i: compute_score("reasoning_gym/chain_sum", "= 7", "7"), range(64)))
print(set(scores))
"""
    ended = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == "{1.0}", ended.stderr


def test_loading_twice_at_once_gives_one_module():
    with ThreadPoolExecutor(4) as pool:
        assert len({id(module) for module in pool.map(lambda _: gym.load(), range(8))}) == 1
