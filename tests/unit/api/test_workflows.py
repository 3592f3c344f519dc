"""`/api/workflows`."""

import json

import pytest

from tests.support.office import HELLO, Office

BAD = """\
workflow: bad
steps:
  - id: one
    action: exec.run
    target: web-1
    needs: [two]
    timeout: 5 minutes
  - id: one
    actoin: x
    target: web-1
"""


async def test_a_document_is_stored_and_shown(desk: Office) -> None:
    """What was applied is listed, and shown with its document under the version that was answered."""
    listed = (await desk.http.get("/api/workflows")).json()
    [item] = listed["items"]
    shown = (await desk.http.get("/api/workflows/hello")).json()
    assert listed["next"] is None
    assert item["workflow"] == "hello"
    assert shown["version"] == item["version"]
    assert [step["id"] for step in shown["document"]["steps"]] == ["first", "second"]


async def test_applying_twice_changes_nothing(desk: Office) -> None:
    """The same content, laid out anew or as JSON, is the same version, and `changed` says so."""
    before = (await desk.http.get("/api/workflows/hello")).json()
    again = await desk.apply("# a comment\n" + HELLO)
    as_json = await desk.apply(json.dumps(before["document"]))
    assert again == as_json == {"workflow": "hello", "version": before["version"], "changed": False}


async def test_a_new_version_is_current_and_the_old_one_stays(desk: Office) -> None:
    """New runs take what was applied last; the version before can still be read by its hash."""
    old = (await desk.http.get("/api/workflows/hello")).json()["version"]
    new = await desk.apply(HELLO.replace("do.second", "do.other"))
    assert new["changed"]
    assert (await desk.http.get("/api/workflows/hello")).json()["version"] == new["version"]
    assert (await desk.http.get("/api/workflows/hello", params={"version": old})).json()["version"] == old


async def test_a_bad_document_is_refused_with_everything_wrong(desk: Office) -> None:
    """422 lists every mistake with file, line and column, and nothing is stored."""
    answer = await desk.http.post("/api/workflows", content=BAD, params={"file": "bad.yaml"})
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert error["code"] == "invalid_workflow"
    places = [(found["file"], found["line"]) for found in error["details"]]
    assert places == [("bad.yaml", 6), ("bad.yaml", 7), ("bad.yaml", 8), ("bad.yaml", 9)]
    assert (await desk.http.get("/api/workflows/bad")).status_code == 404


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"[" * 5000, b"workflow: [", b"1", b"a: &a [*a]"])
async def test_what_is_no_document_is_refused(desk: Office, body: bytes) -> None:
    """Nothing, garbage, depth and aliases are 422 with a diagnostic, never a 500."""
    answer = await desk.http.post("/api/workflows", content=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["details"]


async def test_a_dry_run_stores_nothing(desk: Office) -> None:
    """With `dry_run` the answer says what would change, and the current version stays."""
    before = (await desk.http.get("/api/workflows/hello")).json()["version"]
    changed = HELLO.replace("do.second", "do.other")
    answer = await desk.http.post("/api/workflows", content=changed, params={"dry_run": "true"})
    assert answer.json()["changed"]
    assert (await desk.http.get("/api/workflows/hello")).json()["version"] == before


async def test_put_is_for_the_workflow_of_that_name(desk: Office) -> None:
    """PUT applies a document under its own name and refuses one of another."""
    good = await desk.http.put("/api/workflows/hello", content=HELLO)
    other = await desk.http.put("/api/workflows/other", content=HELLO)
    assert good.json()["changed"] is False
    assert other.status_code == 400
    assert "'hello', not 'other'" in other.json()["error"]["message"]


async def test_an_unknown_workflow_or_version_is_404(desk: Office) -> None:
    """The message names what is not there."""
    for query in ({}, {"version": "0" * 64}):
        answer = await desk.http.get("/api/workflows/nope", params=query)
        assert answer.status_code == 404
        assert "nope" in answer.json()["error"]["message"]
