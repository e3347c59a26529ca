"""`python3 -m services fetch` fills the cache; `python3 -m services up` starts everything and waits."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from services.cache import FetchError
from services.process import ServiceError
from services.stack import Stack, fetch_all


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m services", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="fetch what is not in the cache yet")
    commands.add_parser("up", help="start all services, print their addresses, stop them on Ctrl-C")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        if arguments.command == "fetch":
            fetch_all()
        else:
            wait_with(Stack())
    except (FetchError, ServiceError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def wait_with(stack: Stack) -> None:
    with stack:
        for name, value in stack.environment.items():
            print(f"export {name}={value}")
        print(f"# logs and data: {stack.folder}; Ctrl-C stops everything", flush=True)
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
