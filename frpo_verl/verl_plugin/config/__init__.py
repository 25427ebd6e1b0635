"""Holds primary configurations for verl's mains: `--config-name frpo_trainer` and `--config-name frpo_megatron_trainer`."""
