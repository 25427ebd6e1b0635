"""Where "cuda" means the CPU, and where it does not."""

import threading

import pytest
import torch

pytest.importorskip("verl")

from frpo_verl.preflight.errors import HostError  # noqa: E402
from frpo_verl.verl_plugin.cpu.megatron import redirection  # noqa: E402
from frpo_verl.verl_plugin.cpu.megatron.redirection import cuda_means_cpu  # noqa: E402

FACTORIES = {
    "zeros": lambda device: torch.zeros(2, device=device),
    "empty": lambda device: torch.empty(2, device=device),
    "tensor": lambda device: torch.tensor([1.0], device=device),
    "arange": lambda device: torch.arange(3, device=device),
    "zeros_like": lambda device: torch.zeros_like(torch.ones(2), device=device),
    "randn": lambda device: torch.randn(2, device=device),
    "full": lambda device: torch.full((2,), 1.0, device=device),
    "to": lambda device: torch.ones(2).to(device),
    "to by name": lambda device: torch.ones(2).to(device=device),
    "module": lambda device: torch.nn.Linear(2, 2, device=device).weight,
}


@pytest.fixture(autouse=True)
def _without_a_gpu():
    if torch.cuda.is_available():
        pytest.skip("the CPU platform is never active where there is a GPU")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda")], ids=str)
@pytest.mark.parametrize("make", FACTORIES.values(), ids=FACTORIES)
def test_what_is_asked_for_on_cuda_is_made_on_the_cpu(make, device):
    with cuda_means_cpu():
        assert make(device).device.type == "cpu"
    with pytest.raises((AssertionError, RuntimeError)):
        make(device)


def test_the_functions_of_torch_cuda_answer_for_the_cpu():
    with cuda_means_cpu():
        assert torch.cuda.current_device() == torch.device("cpu")
        assert torch.equal(torch.cuda.get_rng_state(), torch.get_rng_state())
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
        torch.cuda.Event().record()
        assert torch.cuda.FloatTensor([1.0, 2.0]).tolist() == [1.0, 2.0]
        # what is there is not changed, only what "cuda" means
        assert not torch.cuda.is_available()


def test_where_there_is_a_gpu_nothing_is_exchanged(monkeypatch):
    monkeypatch.setattr(redirection, "_is_available", lambda: True)
    before = dict(vars(torch.cuda))
    with pytest.raises(
        HostError, match="this machine has a GPU, and the CPU platform is for machines without one; unset it"
    ):
        with cuda_means_cpu():
            raise AssertionError("not reached")
    assert vars(torch.cuda) == before


def test_a_seed_for_cuda_is_the_cpus():
    torch.manual_seed(3)
    expected = torch.rand(2)
    with cuda_means_cpu():
        torch.cuda.manual_seed(3)
        assert torch.equal(torch.rand(2), expected)
        torch.manual_seed(3)  # calls torch.cuda.manual_seed_all in turn
        assert torch.equal(torch.rand(2), expected)


def test_tensors_stay_where_they_are_and_claim_what_megatron_looks_for():
    tensor = torch.ones(2)
    with cuda_means_cpu():
        assert tensor.cuda() is tensor
        assert tensor.pin_memory() is tensor
        assert torch.tensor([1], pin_memory=True).tolist() == [1]
        assert tensor.type() == "torch.cuda.FloatTensor"
        assert tensor.bfloat16().type() == "torch.cuda.BFloat16Tensor"
        assert tensor.type(torch.float64).dtype == torch.float64
        assert tensor.to("cpu") is tensor
    assert tensor.type() == "torch.FloatTensor"


def everything() -> dict[str, object]:
    return {name: getattr(torch.cuda, name, None) for name in redirection._STAND_INS} | {
        name: getattr(torch, name) for name in ("zeros", "empty", "tensor", "arange")
    }


def test_nothing_is_left_of_it_even_after_an_error():
    before = everything()
    with pytest.raises(KeyError), cuda_means_cpu(), cuda_means_cpu():
        raise KeyError
    assert everything() == before
    assert all(everything()[name] is value for name, value in before.items())


def test_contexts_may_be_nested():
    with cuda_means_cpu():
        with cuda_means_cpu():
            pass
        assert torch.zeros(1, device="cuda").device.type == "cpu"


def test_other_threads_make_their_tensors_as_ever():
    failed = []

    def elsewhere() -> None:
        try:
            torch.zeros(1, device="cuda")
        except (AssertionError, RuntimeError) as error:
            failed.append(error)

    with cuda_means_cpu():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len(failed) == 1


def test_contexts_of_two_threads_may_overlap():
    before = everything()
    entered, left = threading.Event(), threading.Event()

    def elsewhere() -> None:
        with cuda_means_cpu():
            entered.set()
            left.wait()
            assert torch.cuda.current_device() == torch.device("cpu")

    thread = threading.Thread(target=elsewhere)
    with cuda_means_cpu():
        thread.start()
        entered.wait()
    assert torch.cuda.current_device() == torch.device("cpu")  # the other one is still open
    left.set()
    thread.join()
    assert all(everything()[name] is value for name, value in before.items())


def test_models_on_the_meta_device_are_none_the_worse():
    # the trap: functions of torch that were replaced are no longer known to torch.device's own mode
    with cuda_means_cpu(), torch.device("meta"):
        assert torch.zeros(2).device.type == "meta"
        assert torch.nn.Linear(2, 2).weight.device.type == "meta"


def test_gradients_run_through_it():
    with cuda_means_cpu():
        x = torch.ones(2, device="cuda", requires_grad=True)
        (x.cuda() * torch.arange(2.0, device="cuda")).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0]
