"""`python -m aether.emulator`: the Fly Machines API on loopback, until SIGINT or SIGTERM."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import platformdirs

from aether.emulator.api import Emulator, EmulatorError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m aether.emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=4280, help="port on 127.0.0.1; 0 = any (default: %(default)s)")
    parser.add_argument("--token", help="bearer token clients must send (default: a random one, printed)")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path(platformdirs.user_state_dir("aether")) / "emulator",
        help="where machines are kept (default: %(default)s)",
    )
    parser.add_argument("--runtime", choices=("auto", "bwrap", "plain"), default="auto")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    emulator = Emulator(arguments.state_dir, arguments.token, arguments.port, arguments.runtime)
    try:
        await emulator.start()
    except EmulatorError as error:
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
