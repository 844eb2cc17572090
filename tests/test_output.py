"""output: see test_sessions (with a client and a channel held by hand) and test_data_path (real ones)."""

import pytest

from aether.output import Output


class Closed:
    """A client that is gone."""

    def send(self, message):
        return None


@pytest.mark.gen_test
async def test_output_for_a_client_that_is_gone_goes_nowhere():
    """The session ends when its connection says so; until then nothing piles up."""
    output = Output(Closed())
    for _ in range(1000):
        output.take(b"x" * 1000)
    output.finish()
    assert output._credit.undrawn == 0
