"""Activates the plugin: importing this module makes `algorithm.adv_estimator=frpo` work in this process.

verl imports it in every process, driver and Ray workers, through the entry point group `verl.plugins`, or through
`VERL_USE_EXTERNAL_MODULES=frpo_verl.verl_plugin`. Both routes may be taken at once. verl is half imported at that
moment, so nothing here imports a verl module: every hook waits for its module (see `hooks`).
"""

import sys
import traceback

try:
    from frpo_verl.preflight.errors import HostError
    from frpo_verl.verl_plugin.install import install

    install()
except Exception as error:
    # verl reports a failing plugin at debug level only, and then an unknown estimator much later.
    # An ImportError may be that of HostError itself.
    if isinstance(error, ImportError) or not isinstance(error, HostError):
        traceback.print_exc()
    print(f"frpo-verl: the plugin did not load: {error}", file=sys.stderr)
    raise
