"""The Fly Machines API on loopback: each machine is a local process with an SSH server.

Map, top to bottom: `api` (life cycle and the machines of each app), `routes` and `handlers` (HTTP) serve; `machine`
is one machine's state machine on its `ledger`; `sandbox` and `bwrap` start its process, `rootfs` holds its
files; `record` and `requests` are pure: the JSON of a machine, and what a request may say. `guest`, `shell` and
`children` run inside a machine.
"""
