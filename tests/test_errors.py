"""errors: one page decides statuses and close codes."""

import pytest

from aether import errors

TABLE = {
    "InvalidMessage": (400, None),
    "NotAllowed": (403, None),
    "RouteNotFound": (404, None),
    "MachineNotFound": (404, 4404),
    "SessionNotFound": (404, None),
    "MethodNotAllowed": (405, None),
    "MachineNotRunning": (409, 4409),
    "MachineStopped": (None, 4410),
    "SessionTaken": (None, 4411),
    "LimitExceeded": (429, 4429),
    "ProviderError": (502, 4502),
    "SshError": (502, 4502),
    "ShuttingDown": (503, 1012),
    "ProviderTimeout": (504, 4504),
}


def test_every_error_is_in_the_table_and_on_the_module_s_first_screen():
    """The tree in the docstring names every error there is."""
    classes = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert classes - {"AetherError"} == set(TABLE)
    assert all(name in errors.__doc__ for name in TABLE)


@pytest.mark.parametrize(("name", "http", "close"), [(name, *codes) for name, codes in TABLE.items()])
def test_statuses_and_close_codes_are_the_contract_s(name, http, close):
    """Statuses and close codes are what the README promises."""
    error = getattr(errors, name)
    assert http in (None, error.http_status)
    assert close in (None, error.ws_close)


def test_the_json_form_has_code_message_and_where_there_is_one_the_path():
    """One error shape for everything."""
    assert errors.MachineNotFound("gone").to_json() == {"code": "machine_not_found", "message": "gone"}
    assert errors.InvalidMessage("no", "cpus").to_json()["path"] == "cpus"
    assert "path" not in errors.InvalidMessage("no").to_json()
