"""`python -m frpo_verl.trainers.fpa`: offline policy optimisation on graded responses, by verl's SFT trainer.

With trainer.n_gpus_per_node=1 this process trains; with more it starts torchrun. On several nodes, start
`torchrun … -m frpo_verl.trainers.fpa …` on each.
"""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra

from frpo_verl import __version__
from frpo_verl.preflight import environment


@hydra.main(config_path="config", config_name="fpa_trainer", version_base=None)
def main(config: Any) -> None:
    """Checks the run, then starts its processes, or is one of them."""
    from verl.utils.device import auto_set_device

    import frpo_verl.verl_plugin  # noqa: F401 (before verl, whatever its entry points are)

    auto_set_device(config)
    of_torchrun, ranks = "RANK" in os.environ, config.trainer.n_gpus_per_node
    if not of_torchrun and config.trainer.nnodes > 1:
        raise SystemExit(
            f"frpo-verl: trainer.nnodes={config.trainer.nnodes}: start this program by torchrun on every node"
        )
    found = examined(config, int(os.environ["WORLD_SIZE"]) if of_torchrun else ranks)
    if not of_torchrun and ranks > 1:
        from torch.distributed.run import main as torchrun

        torchrun(["--standalone", "--nproc-per-node", str(ranks), "-m", "frpo_verl.trainers.fpa", *sys.argv[1:]])
        return
    if not of_torchrun:
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(_port()))
    from verl.utils.distributed import destroy_global_process_group

    built(config, found).fit()
    destroy_global_process_group()


def examined(config: Any, ranks: int) -> Any:
    """Returns what was found of a run; ends the program with all problems at once, and says once what will run."""
    from frpo_verl.preflight.sentences import as_text
    from frpo_verl.trainers import examination, resumed

    found = examination.examine(config, ranks)
    if problems := [*_place(), *found.problems]:
        raise SystemExit(f"frpo-verl: {as_text([], problems)}")
    if os.environ.get("RANK", "0") == "0":
        resumed.remember(config)
    if "RANK" not in os.environ:
        print(f"frpo-verl {__version__}: {found.summary}", flush=True)
    return found


def _place() -> Iterator[str]:
    from verl.utils.device import get_device_name

    if get_device_name() == "cpu" and not environment.is_on_cpu():
        yield (
            "this machine shows no GPU; set VERL_PLATFORM=cpu and the settings that go with it "
            "(frpo_verl/trainers/README.md), or run recipes/run_fpa_cpu.sh"
        )


def built(config: Any, found: Any) -> Any:
    """Makes the trainer of an examined run, on every rank."""
    from frpo_verl.trainers import cached, examination
    from frpo_verl.trainers.trainer import OfflineTrainer

    join_group()
    settings, graded = found.settings, found.graded
    if settings.needs_reference and settings.reference_cache is not None:
        kept = cached.log_probs(config, settings.reference_path, Path(settings.reference_cache), graded)
        graded = graded._replace(ref_log_probs=kept)
    return OfflineTrainer(config, settings, examination.dataset(config, settings, graded))


def join_group() -> None:
    """Makes the group of all ranks; others may be in a validation for hours before the next word."""
    from verl.utils.device import get_torch_device
    from verl.utils.distributed import initialize_global_process_group_ray

    get_torch_device().set_device(int(os.environ["LOCAL_RANK"]))
    # The function for torchrun asks for the CPU's backend twice on the CPU.
    initialize_global_process_group_ray(timeout_second=36000)


def _port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


if __name__ == "__main__":
    main()
