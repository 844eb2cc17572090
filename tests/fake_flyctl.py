"""A flyctl that plays Fly in a JSON file, as far as scripts/deploy.sh goes: commands, flags and output as documented.

`FAKE_FLY` names the folder: `state.json` is Fly, `calls` gets a JSON line for each call, `fail` names a command that
fails once. A flag that flyctl does not document for a command is refused.
"""

import json
import os
import sys
from pathlib import Path

FLAGS = {
    "auth whoami": {},
    "auth docker": {},
    "apps list": {"--json": False},
    "apps create": {"--org": True, "--network": True},
    "ips list": {"--app": True, "--json": False},
    "ips allocate-v4": {"--app": True, "--yes": False},
    "ips allocate-v6": {"--app": True},
    "machine list": {"--app": True, "--json": False},
    "secrets list": {"--app": True, "--json": False},
    "secrets import": {"--app": True, "--stage": False},
    "tokens create deploy": {"--app": True, "--name": True, "--expiry": True},
    "deploy": {
        **{flag: True for flag in ("--app", "--config", "--dockerfile", "--ignorefile", "--region", "--env")},
        **{flag: False for flag in ("--ha=false", "--no-public-ips", "--yes")},
    },
    "proxy": {"--app": True},
}


def parse(argv):
    """Split a command line into command, arguments and flags."""
    command = next((c for c in FLAGS if argv[: len(c.split())] == c.split()), None)
    if command is None:
        sys.exit(f"Error: unknown command {argv}")
    rest, arguments, flags = argv[len(command.split()) :], [], {}
    while rest:
        if not (word := rest.pop(0)).startswith("-"):
            arguments.append(word)
        elif word not in FLAGS[command]:
            sys.exit(f"Error: unknown flag: {word}")
        else:
            flags.setdefault(word, []).append(rest.pop(0) if FLAGS[command][word] else True)
    return command, arguments, flags


def parse_secrets(text):
    """Read NAME=VALUE lines as flyctl does: three quotes begin a value of several lines, and three end it."""
    found, name, value = {}, None, []
    for line in text.splitlines():
        if name is not None:
            value.append(line.removesuffix('"""'))
            if line.endswith('"""'):
                found[name], name = "\n".join(value), None
        elif line.strip() and not line.startswith("#"):
            key, equals, rest = line.partition("=")
            if not equals:
                sys.exit("Error: Secrets must be provided as NAME=VALUE pairs")
            if rest.startswith('"""'):
                name, value = key, [rest.removeprefix('"""')]
            else:
                found[key] = rest.partition("#")[0].rstrip(" ")
    return found


def listed(command, app):
    """Return what a list of an app's things is, in the spelling of each."""
    return {
        "ips list": [{"ID": "ip", "Address": "x", "Type": kind} for kind in app["ips"]],
        "machine list": [{"id": name} for name in app["machines"]],
        "secrets list": [{"name": name, "digest": "x"} for name in app["secrets"]],
    }[command]


def run(fly, command, arguments, flags):
    """Do what a command does to `fly`; return what it prints."""
    apps, app = fly["apps"], flags.get("--app", [None])[0]
    if not fly["user"]:
        sys.exit("Error: No access token available. Please login with 'flyctl auth login'")
    if app is not None and app not in apps:
        sys.exit(f"Error: Could not find App {app!r}")
    match command:
        case "auth whoami":
            return fly["user"]
        case "apps list":
            return json.dumps([{"ID": name, "Name": name} for name in apps])
        case "apps create":
            network = flags.get("--network", ["default"])[0]
            if arguments[0] in apps:
                sys.exit("Error: Validation failed: Name has already been taken")
            apps[arguments[0]] = {"network": network, "ips": [], "secrets": {}, "deploys": [], "machines": []}
        case "ips list" | "machine list" | "secrets list":
            return json.dumps(listed(command, apps[app]))
        case "ips allocate-v4" | "ips allocate-v6":
            apps[app]["ips"].append(command[-2:])
        case "secrets import":
            apps[app]["secrets"].update(parse_secrets(sys.stdin.read()))
        case "tokens create deploy":
            fly["tokens"].append({"app": app, "token": f"FlyV1 fm2_{len(fly['tokens'])}secret=", "flags": flags})
            return fly["tokens"][-1]["token"]
        case "deploy":
            apps[app]["deploys"].append({"at": str(Path.cwd()), "where": arguments, "flags": flags})
    return ""


def relay(local, upstream):
    """Be `flyctl proxy`: pass connections on until the process is ended."""
    import asyncio

    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", upstream)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    async def serve():
        async with await asyncio.start_server(connected, "127.0.0.1", local) as server:
            await server.serve_forever()

    asyncio.run(serve())


def main():
    """Log the call, fail if told to, else do it."""
    folder = Path(os.environ["FAKE_FLY"])
    command, arguments, flags = parse(sys.argv[1:])
    with (folder / "calls").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    fail = folder / "fail"
    if fail.exists() and fail.read_text() == command:
        fail.unlink()
        sys.exit(f"Error: {command} failed, as it does sometimes")
    if command == "proxy":
        relay(int(arguments[0].partition(":")[0]), int(os.environ["FAKE_FLY_SERVER_PORT"]))
        return
    state = folder / "state.json"
    fly = json.loads(state.read_text())
    sys.stdout.write(run(fly, command, arguments, flags) + "\n")
    state.write_text(json.dumps(fly))


if __name__ == "__main__":
    main()
