"""The benchmark's modules, from the entry down to the wire.

commands     the command line, and the run
goals        what must be reached, and the Markdown table
cold, fleet  create → prompt; the cost of one sweep over many machines
echo         echo, load
flood        flood, ctrl-c
bulk         bulk, cpu
sessions     sessions
host         the memory of a machine's PTY host
resume       from a cut to the next byte
paste        paste
stage        the contenders that run, in interleaved rounds
report       tables, ratios, JSON
contenders   pty, openssh, asyncssh, aether, plain, terminado, webssh
sshd         an sshd of our own
processes    servers as child processes; memory and CPU of processes
aether_terminal, terminals   the clients
terminal     what every client can do
websocket    a lean WebSocket client
wire         a descriptor that is read only as fast as wanted
inside       the program inside the terminals
"""
