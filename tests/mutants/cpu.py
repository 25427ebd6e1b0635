"""Plausible mistakes in the CPU platform, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "verl_plugin/cpu/shims/weight_receiver.py": ("verl_plugin/cpu/test_weight_transfer.py",),
    "verl_plugin/cpu/shims/weight_sender.py": ("verl_plugin/cpu/test_weight_transfer.py",),
    "verl_plugin/cpu/shims/saved_weights.py": ("verl_plugin/cpu/test_saved_weights.py",),
    "verl_plugin/cpu/shims/shim.py": ("verl_plugin/cpu/test_shim.py",),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

MUTANTS = (
    # weights on their way
    Mutant("verl_plugin/cpu/shims/weight_receiver.py", "(name, tensor.clone())", "(name, tensor)"),
    Mutant("verl_plugin/cpu/shims/weight_receiver.py", "raise error.__context__ or error from None", "raise"),
    Mutant("verl_plugin/cpu/shims/weight_sender.py", "ray.get(self._receiver)", "pass"),
    Mutant("verl_plugin/cpu/shims/weight_sender.py", "self._wait(zmq.POLLOUT)", "pass"),
    Mutant("verl_plugin/cpu/shims/saved_weights.py", "tensor.clone()", "tensor"),
    Mutant("verl_plugin/cpu/checkpoint_engine.py", "self._outboxes.append(outbox)", "self._outboxes = [outbox]"),
    Mutant("verl_plugin/cpu/checkpoint_engine.py", 'dtype=getattr(torch, header["dtype"])', "dtype=torch.float32"),
    # a host that has changed
    Mutant("verl_plugin/cpu/shims/shim.py", "if not shim.is_needed(module):", "if False:"),
    Mutant(
        "verl_plugin/cpu/platform.py",
        "        return False\n\n    def current_device",
        "        return True\n\n    def current_device",
    ),
    # Megatron
    Mutant("verl_plugin/cpu/megatron/attention.py", "is_causal=True", "is_causal=False"),
    Mutant("verl_plugin/cpu/megatron/attention.py", ">= torch.arange(length)", "> torch.arange(length)"),
    Mutant("verl_plugin/cpu/megatron/attention.py", "chunks[2 * size - 1 - rank]", "chunks[size + rank]"),
    Mutant("verl_plugin/cpu/megatron/attention.py", "key, value = key[order], value[order]", "pass"),
    Mutant(
        "verl_plugin/cpu/megatron/attention.py",
        "torch.distributed.all_reduce(gradient, group=ctx.group)",
        "pass",
    ),
    Mutant("verl_plugin/cpu/megatron/redirection.py", "elif _contexts == 0:", "else:"),
    Mutant("verl_plugin/cpu/megatron/redirection.py", 'kwargs = {**kwargs, "device": _CPU}', "pass"),
)
