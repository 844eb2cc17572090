"""aether: on-demand machines with a terminal in the browser.

The map, top to bottom; imports point down only (`tests/test_architecture.py` holds the code against it):

    app            composition root: settings → Fly → fleet → housekeeping → routes
    handlers       thin: check Host and Origin → decode → one call → encode
      page           the page, its content security policy, and xterm.js
      ops            health, readiness, metrics, OpenAPI
      terminal       the WebSocket of a terminal
      websocket      DirectStream: a WebSocket that reads and writes its socket directly
      machines       REST: the life cycle of machines
      sessions       REST: the sessions of a machine, which go on without a client
      base           OriginPolicy, and errors → JSON
    openapi        the OpenAPI description of the REST calls                                 (pure)
    fleet          the machines aether manages
      assembly       assemble: a fleet over Fly, and what keeps the two in step
      housekeeping   the sweep: compare with Fly, publish activity, stop idle machines
      reconcile      Reconciler: compares the fleet with Fly's list, which is the record
      registry       Fleet: the registry of the machines, in memory
      creation       MachineCreation: makes exactly one machine for a request, or none
      lifecycle      MachineLifecycle: drives one machine to the state asked for
      status         MachineStatus: a machine's state as it changes
      tombstones     Tombstones: what was destroyed, while lists may still show it          (pure)
    terminals      the shells that users open, and the clients attached to them
      machine_terminals  MachineTerminals: the terminals of one machine
      terminal       Terminal: what a user opens: a shell, and the client attached to it
      session        SessionShell: a shell that lives in the machine, and outlives its channel
      session_input   SessionInput: what is typed into a session, on its way to its PTY host
      session_output  SessionOutput: what a PTY host tells of a session, as messages
      unconfirmed    Unconfirmed: input that the PTY host has not confirmed                  (pure)
      keeping        Keeping: how shells outlive the connections that they are used over
      pty_host       PtyHost: the PTY host of one machine, found, started and installed
      host_channel   HostChannel: a channel to a PTY host, and the frames on it
      frames         the frames that a PTY host and its clients exchange                     (pure)
      session_info   SessionInfo: a session as the API lists it                              (pure)
      diagnosis      Diagnosis: why a machine's shells are gone
      shell          ShellSession: a shell on a PTY, as a session channel of SSH
      resizing       Resizing: the sizes of a window on their way to a shell
      attachment     Attachment: the attached client, and the output on its way to it
      later          Later: calls a function once, a little later
      output         a PTY's output as whole characters, cut into messages                  (pure)
      flow           Credit: how much output may be on its way to a client's screen         (pure)
    fly            the Fly Machines API
      activity       ActivityPublisher: notes use, and shares it with other servers
      operations     Operations: what aether asks Fly to do, seen through to its end
      client         FlyClient: the only place that does HTTP to Fly
      limits         how long a call must wait so that Fly does not refuse it               (pure)
      answers        Fly's answers: machines, and refusals as errors                        (pure)
      template       MachineTemplate: the config machines are created with                  (pure)
    ssh            SSH
      pool           ConnectionPool: a machine's SSH connections, pinned and retried
      connection     Connection: one SSH connection, and the channels on it
      command        Completed: a command that has run, and the session that collects what it says
      window         ReceiveWindow: what the far side of a channel may send
      internals      all that asyncssh does not document and aether uses
      keys           the keys machines are created with
    host_file      PtyHostFile: the PTY host's program, as it is named on a machine           (pure)
    settings       every setting; the only reader of the environment
    setting_parsers  parsers of settings' texts
    messages       compiled validators of the schemas, decode and encode                     (pure)
    schemas        JSON Schemas of what comes in, and of a terminal's messages out           (pure)
    machines       Machine, MachineState, the transition table                               (pure)
    errors         every deliberate error with its HTTP status and close code                (pure)
    emulator       the Fly Machines API on loopback; imports nothing from the rest of aether

Where something new goes:

- a token check: `handlers.base`, beside OriginPolicy: every handler's `prepare` runs there; its setting: `settings`.
- what a session's shell can do: `infra/images/base/pty_host.py`, which runs on the machine and imports nothing of this;
  a frame for it in `terminals.frames`, and who takes it in `terminals.session`.
- a warm pool of machines that are ready before they are asked for: `fleet`, beside `creation`, which fills it and is
  asked by `registry`; `housekeeping` tops it up once a sweep.
- a runtime: a module in `emulator.runtimes`, and its line in `RUNTIMES` (`base`), from which settings, `--help`,
  `/healthz` and the page have its name, description and isolation; `choice` makes it.
"""

__version__ = "0.1.0"
