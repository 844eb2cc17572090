"""leases: who may change a machine, and until when."""

import pytest

NONCE = "fly-machine-lease-nonce"


@pytest.mark.gen_test
async def test_lease_is_taken_read_and_given_back(fast):
    """A lease is answered 201 and wrapped, is the same when read, and gone after its nonce came back."""
    fly = await fast()
    path = await fly.started()
    taken = await fly.api("POST", f"{path}/lease", {"ttl": 60, "description": "d"})
    assert (taken.status, taken.body["status"]) == (201, "success")
    lease = taken.body["data"]
    assert lease.keys() == {"nonce", "expires_at", "owner", "description", "version"}
    assert (lease["expires_at"], lease["description"]) == (int(fly.clock.now) + 60, "d")
    assert (await fly.api("GET", f"{path}/lease")).body == taken.body
    back = await fly.api("DELETE", f"{path}/lease", **{NONCE: lease["nonce"]})
    assert back.body == {"status": "success", "data": {"ok": True}}
    assert (await fly.api("GET", f"{path}/lease")).status == 404
    assert (await fly.api("DELETE", f"{path}/lease")).status == 404


@pytest.mark.parametrize(
    ("method", "call"), [("POST", "/stop"), ("POST", "/start"), ("DELETE", "?force=true"), ("POST", "")]
)
@pytest.mark.gen_test
async def test_leased_machine_is_changed_with_the_nonce_only(fast, method, call):
    """A request without the nonce is 409 with `message`, not `error`; with the nonce it succeeds."""
    fly = await fast()
    path = await fly.started()
    lease = (await fly.api("POST", f"{path}/lease", {"ttl": 60})).body["data"]
    body = {"config": {"image": "j"}} if not call else None
    refused = await fly.api(method, f"{path}{call}", body)
    assert refused.status == 409
    assert refused.body.keys() == {"status", "message"}
    assert f"{path[-14:]} lease currently held by {lease['owner']}, expires at 2027-01-15T08:01:00Z" in str(
        refused.body
    )
    assert (await fly.api(method, f"{path}{call}", body, **{NONCE: lease["nonce"]})).status == 200


@pytest.mark.gen_test
async def test_lease_expires_and_is_prolonged(fast):
    """A lease ends by itself; its nonce prolongs it, another does not."""
    fly = await fast()
    path = await fly.started()
    lease = (await fly.api("POST", f"{path}/lease", {"ttl": 10})).body["data"]
    await fly.clock.advance(9)
    assert (await fly.api("POST", f"{path}/lease", {"ttl": 10}, **{NONCE: "other"})).status == 409
    longer = await fly.api("POST", f"{path}/lease", {"ttl": 10}, **{NONCE: lease["nonce"]})
    assert longer.body["data"]["nonce"] == lease["nonce"]
    await fly.clock.advance(9)
    assert (await fly.api("POST", f"{path}/stop")).status == 409
    await fly.clock.advance(1)
    assert (await fly.api("POST", f"{path}/stop")).status == 200


@pytest.mark.gen_test
async def test_lease_from_the_creation_on(fast):
    """With `lease_ttl` a machine is leased before any other client sees it, and its nonce is answered once."""
    fly = await fast()
    created = (await fly.api("POST", "/apps/app/machines", {"config": {"image": "i"}, "lease_ttl": 60})).body
    path = f"/apps/app/machines/{created['id']}"
    assert "nonce" not in (await fly.api("GET", path)).body
    assert (await fly.api("DELETE", f"{path}?force=true")).status == 409
    assert (await fly.api("DELETE", f"{path}?force=true", **{NONCE: created["nonce"]})).status == 200


@pytest.mark.gen_test
async def test_flat_lease(fast):
    """An option answers a lease as the OpenAPI description has it."""
    fly = await fast(lease_body="flat")
    path = await fly.started()
    lease = (await fly.api("POST", f"{path}/lease", {})).body
    assert (await fly.api("GET", f"{path}/lease")).body["nonce"] == lease["nonce"]


@pytest.mark.gen_test
async def test_metadata_needs_no_lease(fast):
    """What fly-go sends without a nonce is let through."""
    fly = await fast()
    path = await fly.started()
    await fly.api("POST", f"{path}/lease", {})
    assert (await fly.api("POST", f"{path}/metadata/k", {"value": "v"})).status == 204
