"""terminals.session_info: a session's public form."""

from aether.terminals.session_info import SessionInfo


def test_its_json_is_the_contract_s():
    """Times are ISO 8601 UTC."""
    info = SessionInfo("0f7b1c52-93d4-4ac8-9a5e-0d6b8f1c2e3a", "vim notes.txt", False, 80, 24, 1e9, 1e9 + 60.5, True)
    assert info.to_json() == {
        "id": "0f7b1c52-93d4-4ac8-9a5e-0d6b8f1c2e3a",
        "command": "vim notes.txt",
        "is_shell": False,
        "cols": 80,
        "rows": 24,
        "created_at": "2001-09-09T01:46:40Z",
        "last_used_at": "2001-09-09T01:47:40Z",
        "is_attached": True,
    }
