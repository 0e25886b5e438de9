"""Channel names and versions that look like the spelling of keys, or like an older spelling of
documents, which wrote a quote as "~0"."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.checkpoints import BIG, checkpoint, config, each_saver, get
from tests.support.clients import Client, MakeSaver
from tests.support.growing_lists import items

NAMES = ["~0", "~00", "~0~0", '~0"', '"', "~)", "}", "~", "~~", "~0:", "~0\0", "~0;.", "~1"]


@each_saver
@pytest.mark.parametrize("kind", ["small", "blob", "list"])
def test_names_and_versions_that_begin_with_a_tilde(
    make_saver: MakeSaver, client: Client, kind: str
) -> None:
    saver = make_saver(client)
    values: dict[str, Any] = {}
    for number, name in enumerate(NAMES):
        values[name] = {
            "small": f"~0 {number} {name}",
            "blob": f"~0 {number} {name} {BIG}",
            "list": [f"~0 {number} {name}", *items(number, number + 10)],
        }[kind]
    # All channels have one version, so that only their names tell the blobs apart; then one channel
    # gets one version after another.
    versions: Any = dict.fromkeys(NAMES, "~0.5")
    parent = None
    put: dict[str, tuple[dict[str, Any], Any]] = {}
    for step, version in enumerate(["~0.5", *NAMES]):
        versions = {**versions, "~0": version}
        values = {**values, "~0": [version, values["~0"]] if kind == "list" else values["~0"] + "."}
        made = checkpoint(f"{step:02}", values, versions, versions_seen={"~0": versions})
        new = versions if parent is None else {"~0": version}
        metadata: Any = {"~0": "~0"}
        saver.put(config(checkpoint_id=parent), made, metadata, new)
        parent = f"{step:02}"
        put[parent] = values, versions
    saver.copy_thread("thread", "~0")
    for reader in (saver, make_saver(client, setup=False)):
        for thread_id in ("thread", "~0"):
            listed = {one.checkpoint["id"]: one for one in reader.list(config(thread_id))}
            assert {*listed} == {*put}
            for id_, (values, versions) in put.items():
                found = get(reader, config(thread_id, "", id_))
                assert found == listed[id_].checkpoint
                assert found["channel_values"] == values
                assert found["channel_versions"] == versions
                assert found["versions_seen"] == {"~0": versions}
                assert listed[id_].metadata == {"~0": "~0"}
