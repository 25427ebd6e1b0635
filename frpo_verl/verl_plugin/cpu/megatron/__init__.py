"""Runs verl's Megatron engine without a GPU: replaces what Megatron-Core takes from CUDA and TransformerEngine."""
