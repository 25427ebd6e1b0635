"""Holds primary configurations for verl's mains: `--config-name frpo_trainer` and `frpo_megatron_trainer`."""
