"""`python -m aether.emulator`: the Fly Machines API on loopback, until SIGINT or SIGTERM."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import platformdirs

from aether.emulator.errors import EmulatorError
from aether.emulator.faults import KINDS
from aether.emulator.options import Options
from aether.emulator.runtimes.base import AUTO, RUNTIMES
from aether.emulator.server import Emulator

_DELAYS = {
    "pull": "how long a new machine stays `created`",
    "boot": "how long each boot stays `starting`",
    "sshd": "how much later than `started` SSH is served",
    "stop": "how long a machine stays `stopping` after its process has ended",
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m aether.emulator", description=__doc__)
    parser.add_argument(
        "--port",
        type=int,
        choices=range(65536),
        metavar="PORT",
        default=4280,
        help="port on 127.0.0.1; 0 = any (default: %(default)s)",
    )
    parser.add_argument("--token", help="bearer token clients must send (default: a random one, printed)")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path(platformdirs.user_state_dir("aether")) / "emulator",
        help="where machines are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--runtime",
        choices=[info.name for info in RUNTIMES],
        default=AUTO,
        help=f"{'; '.join(f'{info.name}: {info.description}' for info in RUNTIMES)} (default: %(default)s)",
    )
    for name, text in _DELAYS.items():
        parser.add_argument(f"--{name}-delay", type=float, default=0.0, metavar="SECONDS", help=f"{text} (default: 0)")
    parser.add_argument(
        "--still-active",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long after a stop a start is refused",
    )
    parser.add_argument("--rate-limit", action="store_true", help="apply Fly's rate limits: 429 above them")
    parser.add_argument("--shared-ports", action="store_true", help="let machines share an external port, as Fly does")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[:ACTION[:TIMES]]",
        help=f"inject a fault that lasts TIMES requests (a number, * for all); KIND is one of {', '.join(KINDS)}",
    )
    return parser.parse_args()


def _emulator(arguments: argparse.Namespace) -> Emulator:
    """Create the emulator as the command line says; raises ValueError for a fault or option that is none."""
    options = Options(
        pull_delay_s=arguments.pull_delay,
        boot_delay_s=arguments.boot_delay,
        sshd_delay_s=arguments.sshd_delay,
        stop_delay_s=arguments.stop_delay,
        still_active_s=arguments.still_active,
        rate_limit=arguments.rate_limit,
        shared_ports=arguments.shared_ports,
    )
    emulator = Emulator(arguments.state_dir, arguments.token, arguments.port, arguments.runtime, options=options)
    for text in arguments.fault:
        emulator.faults.inject_text(text)
    return emulator


async def _serve(arguments: argparse.Namespace) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        emulator = _emulator(arguments)
        await emulator.start()
    except (EmulatorError, ValueError) as error:
        print(f"emulator: {error}", file=sys.stderr)
        return 1
    if arguments.token is None:
        print(f"FLY_API_TOKEN={emulator.token}", file=sys.stderr)
    print(emulator.url, flush=True)
    await stopped.wait()
    await emulator.stop()
    return 0


def main() -> None:
    """Run the emulator."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sys.exit(asyncio.run(_serve(_arguments())))


if __name__ == "__main__":
    main()
