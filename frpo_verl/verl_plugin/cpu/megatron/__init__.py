"""verl's Megatron engine on a machine without a GPU: what Megatron-Core takes from CUDA and TransformerEngine, on the CPU."""
