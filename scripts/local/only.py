"""Run one function in this process, against the running shop, which sends it all its requests."""

import argparse
import os
import sys
from contextlib import suppress

from scripts.local.detours import detour, detour_port
from scripts.local.running import DETOURS, Running, detours
from shared.config.manifest import Function, manifest

LIMITS = ("COMMAND_TIMEOUT_SECONDS", "REQUEST_TIMEOUT_SECONDS", "HANDLER_TIMEOUT_SECONDS")
"""The time limits that a breakpoint would run into."""


def only(name: str, shop: Running) -> int:
    """Serve the function until Ctrl-C, with the settings of the shop. Return the exit status."""
    if shop.environment["PROFILE"] != "engines":
        print(
            f"The shop on port {shop.port} keeps its data in its own process, which {name} needs. Start it without"
            f" --memory, or debug it all with scripts/dev --memory --debug {name}.",
            file=sys.stderr,
        )
        return 1
    os.environ |= {variable: text for variable, text in shop.environment.items() if variable != DETOURS}
    return serve(manifest().functions[name], shop.port, None)


def serve(function: Function, shop: int, debugger: int | None) -> int:
    """Serve the function for the shop on the port `shop`. `debugger`: the port on which it first
    waits for one."""
    from scripts.local.ports import free_port
    from scripts.local.services import app, server_of, wait_for_debugger

    port = free_port()
    if detour_port(detours(shop), function.name):
        print(f"{function.name} already runs in a process of its own.", file=sys.stderr)
        return 1
    with detour(detours(shop), function.name, port):
        if debugger:
            wait_for_debugger(debugger)
        print(f"{function.name} runs in this process, {os.getpid()}; Ctrl-C gives it back to its service.", flush=True)
        print(f"Longer stops at a breakpoint: start the shop with {'=3600 '.join(LIMITS)}=3600.", flush=True)
        with suppress(KeyboardInterrupt):  # which the server raises again when it has stopped
            server_of(app(function), port).run()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("function", choices=sorted(manifest().functions))
    parser.add_argument("shop", type=int)
    parser.add_argument("--debugger", type=int)
    chosen = parser.parse_args()
    return serve(manifest().functions[chosen.function], chosen.shop, chosen.debugger)


if __name__ == "__main__":
    sys.exit(main())
