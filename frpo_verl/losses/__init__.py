"""Policy losses as pure functions of tensors, one number per token, not reduced."""
