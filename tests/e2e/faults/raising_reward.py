"""A reward function that raises."""

from raising import fail


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    fail("injected: the reward function failed")
