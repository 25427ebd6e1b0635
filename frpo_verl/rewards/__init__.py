"""Rewards for verl, as `reward.custom_reward_function.path=pkg://frpo_verl.rewards.math`: 1.0 for a right answer."""
