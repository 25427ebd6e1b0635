"""verl's Megatron engine without a GPU: on the CPU, what Megatron-Core takes from CUDA and TransformerEngine."""
