"""keeping: how a server's sessions are kept."""

from aether.host_file import PtyHostFile
from aether.terminals.keeping import SessionPolicy, Sessions


def test_each_machine_has_a_host_of_its_own(host_pool):
    """And what holds without a client is the server's."""
    sessions = Sessions(PtyHostFile(b""), SessionPolicy(grace_s=5))
    one, other = sessions.of(host_pool), sessions.of(host_pool)
    assert one.host is not other.host
    assert one.policy.grace_s == other.policy.grace_s == 5
