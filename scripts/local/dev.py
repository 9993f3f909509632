"""Run the whole shop on this machine until Ctrl-C."""

import argparse
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from types import FrameType

from scripts.local import background, observe, running
from scripts.local.console import build_console
from scripts.local.only import LIMITS, only
from scripts.local.ports import Ports
from scripts.local.processes import CannotStart
from scripts.local.progress import Progress
from scripts.local.reload import Reload
from scripts.local.screen import screen
from scripts.local.seed import seed
from scripts.local.shop import CONSOLE, HOME, Shop
from shared.config.manifest import manifest

_PORT = 8080
_PAUSE_SECONDS = 0.3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/dev", description=__doc__)
    parser.add_argument("--memory", action="store_true", help="without databases; the data is gone when the shop stops")
    parser.add_argument("--port", type=int, metavar="N", help=f"GraphQL's port; N+1 to N+7 are used too ({_PORT})")
    parser.add_argument("--reset", action="store_true", help="delete the data of earlier runs first")
    parser.add_argument(
        "--data", type=Path, default=HOME, metavar="DIR", help="the folder for data and logs (.dev/data)"
    )
    parser.add_argument("--sign-in", action="store_true", help="require sign-in, as in the cloud")
    parser.add_argument(
        "--observe", action="store_true", help="also show each order's spans, on N+4, and start Prometheus if installed"
    )
    parser.add_argument(
        "--scale-to-zero",
        type=float,
        nargs="?",
        const=60,
        metavar="SECONDS",
        help="run each function in a process of its own, which its first request starts and which ends when idle for"
        " so long (60)",
    )
    parser.add_argument("--no-seed", action="store_true", help="start without the example catalogue")
    parser.add_argument("--no-reload", action="store_true", help="do not restart a service when its code changes")
    parser.add_argument("--debug", metavar="FUNCTION", help="let the function wait for your debugger, on port N+3")
    other = parser.add_argument_group("while a shop runs").add_mutually_exclusive_group()
    other.add_argument("--only", metavar="FUNCTION", help="run one function here, in your debugger, for that shop")
    other.add_argument("--stop", action="store_true", help="stop it")
    other.add_argument("--status", action="store_true", help="say what runs")
    other.add_argument("--detach", action="store_true", help="start it in the background")
    chosen = parser.parse_args()
    _check(parser, chosen)
    return chosen


def _check(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    if chosen.port is not None and not 1024 <= chosen.port <= 65_000:
        parser.error(f"--port must be from 1024 to 65000; got {chosen.port}")
    if chosen.scale_to_zero is not None and not 1 <= chosen.scale_to_zero <= 86_400:
        parser.error(f"--scale-to-zero must be from 1 to 86400 seconds; got {chosen.scale_to_zero:g}")
    if chosen.scale_to_zero and chosen.memory:
        parser.error("--scale-to-zero needs processes with a common store; leave out --memory")
    for option in ("debug", "only"):
        name = getattr(chosen, option)
        if name is not None and name not in manifest().functions:
            parser.error(f"--{option} must be a function of functions/manifest.yaml; got {name!r}")


def main() -> int:
    chosen = arguments()
    if chosen.status:
        return background.status(chosen.port)
    if chosen.stop:
        return background.stop(chosen.port)
    if chosen.only:
        return only(chosen.only, running.found(chosen.port))
    if chosen.detach:
        given = [one for one in sys.argv[1:] if one != "--detach"]
        return background.detach(given, chosen.port or _PORT, chosen.data.resolve())
    return run(chosen)


def run(chosen: argparse.Namespace) -> int:
    """Run the shop until a signal or a fault. Return the exit status."""
    if chosen.debug:
        os.environ |= {variable: os.environ.get(variable, "3600") for variable in LIMITS}
    say = Progress(chosen.data.resolve().with_suffix(".times.json"), _mode(chosen))
    shop = Shop(
        Ports(chosen.port or _PORT),
        chosen.data.resolve(),
        say,
        chosen.memory,
        chosen.sign_in,
        chosen.observe and observe.found(say),
        chosen.scale_to_zero,
        chosen.debug,
        chosen.observe,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell ignores SIGINT for what it starts in the background
        signal.signal(number, _interrupt)
    with ExitStack() as stack:
        stack.callback(shop.stop)
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clean-up
        try:
            return _run(shop, say, chosen, stack)
        except CannotStart as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopping", flush=True)
            return 0


def _run(shop: Shop, say: Progress, chosen: argparse.Namespace, stack: ExitStack) -> int:
    shop.claim()
    if chosen.reset:
        shop.erase()
    announcement = stack.enter_context(running.announced(_announcement(shop, chosen)))
    print("Starting the shop", flush=True)
    console = Thread(target=build_console, args=(CONSOLE, print), daemon=True)
    console.start()
    shop.start()
    if shop.is_new() and not chosen.no_seed:
        say("the example catalogue")
        seed(shop.url)
    say.done()
    announcement.tell(environment=shop.environment)
    print(screen(shop, console.is_alive()), flush=True)
    announcement.tell(is_open=True)  # --detach shows the screen until then
    Thread(target=shop.prepare_next_start, daemon=True).start()
    return _watch(shop, None if chosen.no_reload else Reload(shop))


def _mode(chosen: argparse.Namespace) -> str:
    modes = {"--memory": chosen.memory, "--sign-in": chosen.sign_in, "--scale-to-zero": chosen.scale_to_zero}
    return " ".join(option for option, given in modes.items() if given)


def _announcement(shop: Shop, chosen: argparse.Namespace) -> running.Running:
    return running.Running(shop.ports.client, os.getpid(), _mode(chosen), str(shop.home), shop.admin_email, time.time())


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _watch(shop: Shop, reload: Reload | None) -> int:
    while not (why := shop.failed()):
        if reload:
            reload.after(_PAUSE_SECONDS)
        else:
            time.sleep(_PAUSE_SECONDS)
    print(f"\n{why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
