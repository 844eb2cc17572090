"""aether: on-demand machines with a terminal in the browser.

The map, top to bottom; imports point down only (`tests/test_architecture.py` holds the code against it):

    app            composition root: settings → client → fleet → sweeper → routes
    handlers       thin: check the door → decode → one call → encode
      page           the page, its content security policy, and xterm.js
      ops            health, readiness, metrics, OpenAPI
      terminal       WebSocket ↔ TerminalSession
      wire           Wire: the socket of a terminal's WebSocket
      machines       REST
      base           errors → JSON; who may come in
    openapi        the OpenAPI description of the REST calls                                 (pure)
    idle           IdleSweeper: stops machines that nobody uses
    reconcile      Reconciler: holds the fleet against Fly's list, which is the record
    fleet          Fleet: the machines we manage, in memory
    births         Births: makes exactly one machine for a request, or none
    lifecycle      MachineLifecycle: drives one machine to the state asked for
    terminals      Terminals: one machine's SSH connection and the sessions over it
    sessions       TerminalSession: one SSH PTY and the client attached to it
    output         Output: what a shell wrote, on its way to the client's screen
    activity       ActivityPublisher: notes use, and lets other servers know
    fly            the Fly Machines API
      transitions    has Fly start, stop and destroy a machine, and sees it through
      client         the only place that does HTTP to Fly
      limits         how long a call must wait so that Fly does not refuse it               (pure)
      answers        Fly's answers: machines, and refusals as errors                         (pure)
      config         what a machine is born with, and where its SSH server is                (pure)
    ssh            SSH
      client         pinned, retried connection to a machine's SSH server
      carrier        Carrier: one SSH connection, and the terminals that are channels of it
      window         ReceiveWindow: what the far side of a channel may send
      keys           the keys a machine is born with
    settings       every setting; the only reader of the environment
    flow           Credit: how much output may be on its way to a client's screen          (pure)
    messages       JSON Schemas with compiled validators, encode and decode                  (pure)
    machines       Machine, MachineState, the transition table                               (pure)
    errors         every deliberate error with its HTTP status and close code                (pure)
    emulator       the Fly Machines API on loopback; imports nothing from the rest of aether
"""

__version__ = "0.1.0"
