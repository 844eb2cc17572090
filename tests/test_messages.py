"""messages: what is let in, and how what is refused is explained."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aether import messages, schemas
from aether.errors import InvalidMessage
from aether.machines import MachineSize
from aether.messages import Input, Resize

ID, OTHER_ID = "0f7b1c52-93d4-4ac8-9a5e-0d6b8f1c2e3a", "00000000-0000-0000-0000-000000000000"
DEFAULTS = MachineSize("shared", 1, 512)


def refusal(decode, *args):
    with pytest.raises(InvalidMessage) as caught:
        decode(*args)
    return caught.value


def test_an_empty_body_creates_a_machine_of_the_default_size():
    """The body of POST /machines is optional."""
    spec = messages.decode_create_machine(b" ", DEFAULTS)
    assert (spec.name, spec.region, spec.size) == (None, None, DEFAULTS)


def test_a_body_overrides_only_what_it_names():
    """Keys that are left out keep their default."""
    spec = messages.decode_create_machine(b'{"name":"box","cpus":2,"memory_mb":1024}', DEFAULTS)
    assert (spec.name, spec.size) == ("box", MachineSize("shared", 2, 1024))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"{", ""),
        (b"[]", ""),
        (b"[" * 100_000, ""),
        (b'{"colour":"red"}', ""),
        (b'{"name":7}', "name"),
        (b'{"name":"no spaces"}', "name"),
        (b'{"name":"line-end\\n"}', "name"),
        (b'{"region":"../x"}', "region"),
        (b'{"cpus":3}', "cpus"),
        (b'{"memory_mb":"512"}', "memory_mb"),
        (b'{"memory_mb":300}', "memory_mb"),
        (b'{"memory_mb":4096}', "memory_mb"),
        (b'{"cpu_kind":"performance","memory_mb":2304}', "memory_mb"),
        (b"\xff", ""),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_the_path(body, path):
    """A refused body's error names the key that is wrong."""
    assert refusal(messages.decode_create_machine, body, DEFAULTS).path == path


def test_a_bad_name_is_explained_in_words():
    """The message says it in words, not as a regular expression."""
    assert "lower-case letters" in str(refusal(messages.decode_create_machine, b'{"name":"My Box"}', DEFAULTS))


def test_input_is_decoded_to_the_bytes_that_the_shell_reads():
    """Terminal input is UTF-8."""
    assert messages.decode_terminal('{"type":"input","data":"é\\n"}') == Input("é\n".encode())


def test_input_may_say_where_it_begins():
    """In a session: bytes from the client's first input; a whole number, however it is written."""
    assert messages.decode_terminal('{"type":"input","data":"x","offset":9007199254740991}') == Input(
        b"x", (1 << 53) - 1
    )
    offset = messages.decode_terminal('{"type":"input","data":"x","offset":5.0}').offset
    assert (offset, type(offset)) == (5, int)
    assert messages.decode_terminal('{"type":"input","data":"x"}').offset is None


def test_resize_is_decoded():
    """A resize carries columns and rows."""
    assert messages.decode_terminal('{"type":"resize","cols":120,"rows":40}') == Resize(120, 40)


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ("ls", ""),
        ("7", "type"),
        ("{}", "type"),
        ('{"type":"shout"}', "type"),
        ('{"type":["input"]}', "type"),
        ('{"type":"input"}', ""),
        ('{"type":"input","data":5}', "data"),
        ('{"type":"input","data":"\\ud800"}', "data"),
        ('{"type":"input","data":"x","more":1}', ""),
        ('{"type":"input","data":"x","offset":-1}', "offset"),
        ('{"type":"input","data":"x","offset":9007199254740992}', "offset"),
        ('{"type":"input","data":"x","offset":true}', "offset"),
        ('{"type":"resize","cols":0,"rows":24}', "cols"),
        ('{"type":"resize","cols":80,"rows":1e9}', "rows"),
        (b"\x00\xff", ""),
    ],
)
def test_a_terminal_message_that_does_not_fit_is_refused_with_the_path(message, path):
    """Whatever a browser sends, the answer is an InvalidMessage."""
    assert refusal(messages.decode_terminal, message).path == path


def test_the_longest_input_is_a_mebibyte_of_characters():
    """Longer input is refused, for the client to cut."""
    longest = "x" * schemas.MAX_INPUT_CHARS
    assert messages.decode_terminal(json.dumps({"type": "input", "data": longest})) == Input(longest.encode())
    assert refusal(messages.decode_terminal, json.dumps({"type": "input", "data": longest + "x"})).path == "data"


def test_the_terminal_query_has_defaults():
    """A client may say nothing of its size."""
    query = messages.decode_terminal_query({})
    assert (query.size, query.is_reconnect) == (Resize(80, 24), False)


def test_the_terminal_query_is_read():
    """Size and reconnect come as decimal text."""
    query = messages.decode_terminal_query({"cols": "100", "rows": "30", "reconnect": "1"})
    assert (query.size, query.is_reconnect) == (Resize(100, 30), True)
    assert (query.session, query.offset, query.client) == (None, None, None)


def test_the_terminal_query_may_name_a_session_what_is_known_of_it_and_a_client():
    """The client makes the ids; the offset is a position in the session's output."""
    query = messages.decode_terminal_query({"session": ID, "offset": "9007199254740991", "client": OTHER_ID})
    assert (query.session, query.offset, query.client) == (ID, (1 << 53) - 1, OTHER_ID)
    assert messages.is_session_id(ID)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cols": "many"},
        {"rows": "-1"},
        {"cols": "1"},
        {"reconnect": "yes"},
        {"x": "1"},
        {"session": ""},
        {"session": "1"},
        {"session": ID.upper()},
        {"session": f"{ID}\n"},
        {"session": f"x{ID}"},
        {"session": ID, "offset": "-1"},
        {"session": ID, "offset": "1.5"},
        {"session": ID, "offset": "9007199254740992"},
        {"session": ID, "offset": "9" * 5000},
        {"session": ID, "client": "me"},
        {"offset": "0"},
        {"client": OTHER_ID},
    ],
)
def test_a_bad_terminal_query_is_refused(arguments):
    """Nonsense in the query is an error, not a guess."""
    refusal(messages.decode_terminal_query, arguments)


def test_messages_out_keep_characters_as_they_are():
    """`ensure_ascii=False`: CJK text would double in size."""
    assert messages.output('日本"\x1b\x7f\x80'.encode()).decode() == '{"type":"output","data":"日本\\"\\u001b\x7f\x80"}'
    assert json.loads(messages.error("no")) == {"type": "error", "message": "no"}
    assert json.loads(messages.reconnected())["message"] == "Connection lost. Reconnected — new session."


def test_the_messages_of_a_session():
    """As the README has them."""
    said = [
        messages.session(ID, True, 5, 7),
        messages.lost(3),
        messages.replay(9, "\x1b[?25lé".encode()),
        messages.size(80, 24, 5),
        messages.taken(12),
        messages.foreground("vim \udcff", False, False, True, False),
        messages.exited(0, None),
        messages.exited(None, "HUP"),
        messages.error("The server restarts.", 1.0),
    ]
    assert [json.loads(message) for message in said] == [
        {"type": "session", "id": ID, "is_new": True, "offset": 5, "taken": 7},
        {"type": "lost", "bytes": 3},
        {"type": "replay", "until": 9, "modes": "\x1b[?25lé"},
        {"type": "size", "cols": 80, "rows": 24, "offset": 5},
        {"type": "taken", "offset": 12},
        {
            "type": "foreground",
            "command": "vim ?",
            "is_shell": False,
            "echo": False,
            "canonical": True,
            "ixon": False,
        },
        {"type": "exit", "status": 0},
        {"type": "exit", "signal": "HUP"},
        {"type": "error", "message": "The server restarts.", "retry_s": 1.0},
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


LINES = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=40)
    | st.sampled_from(['"', "\\", "\\n", "\n", "\r\n", "\x1b[31m", "\x00", "\x07", "a" * 200])
)


@given(LINES)
def test_output_is_the_string_that_json_has_for_it(parts):
    """Long lines and short ones, whatever the control characters in them."""
    text = "".join(parts)
    encoded = messages.output(text.encode("utf-8"))
    assert encoded == b'{"type":"output","data":%b}' % json.dumps(text, ensure_ascii=False).encode()
    assert messages.output(text.encode(), 7) == encoded[:-1] + b',"offset":7}'


EXPLAINING = {kind: Draft202012Validator(schema) for kind, schema in schemas.TERMINAL_SCHEMAS.items()}


@pytest.mark.parametrize("kind", sorted(schemas.TERMINAL_SCHEMAS))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_a_message_is_accepted_if_its_schema_says_so(kind, data):
    """The validator that is compiled for speed decides as the one that explains."""
    schema = EXPLAINING[kind]
    keys = st.sampled_from(["data", "cols", "rows", "bytes", "number", "offset", "more"])
    values = st.integers(-2, 600) | st.sampled_from([2.0, 80.5, True, "x", None, 1 << 31, (1 << 31) + 1]) | JSON
    message = {"type": kind, **data.draw(st.dictionaries(keys, values))}
    try:
        messages.decode_terminal(json.dumps(message))
    except InvalidMessage:
        assert not schema.is_valid(message)
    else:
        assert schema.is_valid(message)
