"""The Fly Machines API on loopback: each machine is a local process with an SSH server, or only a state.

Map, top to bottom: `api` (life cycle, the machines of each app, what tests do to them); `routes` over `handlers` and
`metadata`, which share `base` (HTTP: who may ask, `limits` and `faults`); `machine` (what can be asked of one, by whom:
`leases`) over its `life` (what happens then) and its `ledger` (its record, who waits for it). A life runs in a runtime:
`sandbox`, which starts a `process`, perhaps under `bwrap`, with its files in `rootfs`; in `containers`, each
`contained` by an `engine`; or in `fast`, which starts nothing.
Which machine answers at an external port is up to the `edge`; `runtime` says what runtimes have in common, `runtimes`
which there are.
`record`, `requests` and `options` are pure: the JSON of a machine, what a request may say, what is settable. `clock` is
time for tests. `openapi` describes what aether uses. Inside a machine a `guest` starts its `children`: a `command` for
the API, and for SSH what `logins` starts, a `shell` each, or an `sshd` of OpenSSH.

Where nobody knows what Fly does, `options.Options` has a default and says so; `faults.KINDS` is what can go wrong.
"""
