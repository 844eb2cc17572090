"""host_file: the PTY host's program under a name of its own for each version."""

from aether.host_file import PtyHostFile


def test_another_program_has_another_name():
    """A machine may have both, and each goes on with its own sessions."""
    assert PtyHostFile(b"one").name != PtyHostFile(b"two").name
    assert PtyHostFile(b"one").name == PtyHostFile(b"one").name


def test_a_machine_created_with_it_has_it_where_programs_are():
    """Only root can change it there."""
    file = PtyHostFile(b"one")
    assert file.path == f"/usr/local/lib/aether/{file.name}"
