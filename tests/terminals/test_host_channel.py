"""host_channel: frames over a channel of SSH."""

import pytest

from aether.terminals.frames import frame
from aether.terminals.host_channel import HostChannel, Question
from tests.terminals.conftest import HostSsh


class Receiver:
    """Notes what a channel tells."""

    def __init__(self):
        self.heard = []

    def channel_opened(self, channel):
        self.heard.append("opened")

    def frame_received(self, kind, payload):
        self.heard.append((chr(kind), payload))

    def bytes_received(self, size):
        self.heard.append(size)

    def channel_closed(self, channel):
        self.heard.append("closed")


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def channel(receiver):
    channel = HostChannel(receiver)
    channel.connection_made(HostSsh())
    channel.session_started()
    return channel


def test_a_frame_cut_in_two_is_told_once_it_is_whole(channel, receiver):
    """With how many bytes came in each packet, for flow control."""
    whole = frame("D", b"12345678x")
    channel.data_received(whole[:7], None)
    channel.data_received(whole[7:], None)
    assert receiver.heard == ["opened", 7, ("D", b"12345678x"), len(whole) - 7]


def test_what_makes_no_sense_ends_the_channel(channel, receiver):
    """A machine may send anything."""
    channel.data_received(b"\xff\xff\xff\xffD", None)
    assert channel.is_closing()


def test_what_a_relay_complains_about_is_no_frame(channel, receiver):
    """Its standard error comes over the same channel."""
    channel.data_received(b"Traceback", 1)
    assert receiver.heard == ["opened"]


def test_a_channel_that_was_closed_tells_nothing_more(channel, receiver):
    """Neither what is still on its way nor its end."""
    channel.close()
    channel.data_received(frame("D", b"late"), None)
    channel.connection_lost(None)
    channel.send(b"late")
    assert (receiver.heard, channel.ssh.sent) == (["opened"], b"")


def test_a_channel_closed_before_it_opens_is_aborted_when_it_does():
    """Nothing is left of it."""
    channel, ssh = HostChannel(Receiver()), HostSsh()
    channel.close()
    channel.connection_made(ssh)
    assert ssh.is_closed


def test_a_question_without_an_answer_is_answered_by_the_channel_s_end():
    """The host was killed."""
    answers = []
    channel = HostChannel(Question(frame("L"), lambda kind, payload: answers.append((kind, payload))))
    channel.connection_made(HostSsh())
    channel.session_started()
    channel.connection_lost(None)
    assert (channel.ssh.frames, answers) == ([("L", b"")], [(None, b"")])
