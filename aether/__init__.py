"""aether: on-demand machines with a terminal in the browser.

The map, top to bottom; imports point down only (`tests/test_architecture.py` holds the code against it):

    app            composition root: settings → client → fleet → sweeper → routes
    handlers       thin: check the door → decode → one call → encode
      page           the page, its content security policy, and xterm.js
      ops            health, readiness, metrics, OpenAPI
      terminal       WebSocket ↔ TerminalSession
      machines       REST
      base           errors → JSON; who may come in
    openapi        the OpenAPI description of the REST calls                                 (pure)
    idle           IdleSweeper: stops machines that nobody uses
    fleet          Fleet: the machines we manage, in memory
    lifecycle      MachineLifecycle: drives one machine to the state asked for
    sessions       TerminalSession: one SSH PTY and the client attached to it
    fly            the Fly Machines API
      transitions    has Fly start, stop and destroy a machine, and sees it through
      client         the only place that does HTTP to Fly
      answers        Fly's answers: machines, and refusals as errors                         (pure)
      config         what a machine is born with, and where its SSH server is                (pure)
    ssh            SSH
      client         pinned, retried connection to a machine's SSH server
      keys           the keys a machine is born with
    settings       every setting; the only reader of the environment
    messages       JSON Schemas with compiled validators, encode and decode                  (pure)
    machines       Machine, MachineState, the transition table                               (pure)
    errors         every deliberate error with its HTTP status and close code                (pure)
    emulator       the Fly Machines API on loopback; imports nothing from the rest of aether
"""
