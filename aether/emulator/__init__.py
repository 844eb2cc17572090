"""The Fly Machines API on loopback: each machine is a local process with an SSH server, a container, or only a state.

The map, top to bottom; imports point down only (`tests/test_architecture.py` checks the code against it):

    __main__       `python -m aether.emulator`: the command line
    server         Emulator: its life cycle, and what tests do to machines
    http           the Machines API over HTTP
      routes         the paths, and which handler serves each
      handlers       machines: decode, one call, encode
      metadata       the metadata of a machine
      base           what handlers share: authentication, errors, rate limits, faults
      limits         Fly's rate limits                                                       (pure)
    machine        the machines
      registry       Machines: those of every app, by id, name and port
      machine        Machine: the requests to one machine, and when they are refused
      life           Life: what happens after a request; Host: what machines share
      store          MachineStore: the record on disk, and the requests that wait for a state
      edge           Edge: external ports; AutostartListener: the connection that starts a machine
      leases         who may change a machine, and until when                                (pure)
      record         the JSON of a machine                                                   (pure)
    runtimes       what a machine runs in
      choice         which runtime a name means
      processes      ProcessRuntime: processes, perhaps in namespaces
      supervisor_process  SupervisorProcess: the process of such a machine, and its control socket
      bwrap          the arguments of bubblewrap
      containers     ContainerRuntime: containers of podman or docker
      container_process  ContainerProcess: the container of a running machine
      engine         the command line of podman or docker
      fast           FastRuntime: states only
      base           RUNTIMES: their names, descriptions and isolation; what each can do
      rootfs         the files of a machine
    guest          what runs inside a machine
      supervisor     the first process: executes what the emulator asks for
      builtin_ssh    the built-in SSH server: connections and keys
      shell          one session of it: a process and its SSH channel
      streamlocal    a Unix socket of the machine, and its SSH channel
      openssh        OpenSSH's sshd instead
      process_table  who leads the session of a terminal, and how it is hung up
      command        one command of the API's `exec`
      children       processes: started, reaped, killed
    requests       the bodies of requests: schemas, decoding                                 (pure)
    config         what a machine's config says                                              (pure)
    faults         injected faults
    options        where Fly is slow, unknown, or has changed                                (pure)
    clock          time-outs in real or virtual time
    errors         every deliberate error                                                    (pure)

Where Fly's behaviour is not known, `options.Options` has a default and says so; `faults.KINDS` lists the faults.
"""
