"""Checks an installed wheel: its version and files, and one checkpoint on a real Redis.

python smoke.py VERSION
"""

import sys
from importlib.metadata import version

from langgraph.checkpoint.base import empty_checkpoint

import langgraph_redis_json
from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis

versions = {sys.argv[1], langgraph_redis_json.__version__, version("langgraph-redis-json")}
if len(versions) > 1:
    sys.exit(f"the tag, the package and its metadata have different versions: {versions}")

with EmbeddedRedis() as server, RedisSaver(server.url) as saver:
    saver.setup()
    checkpoint = empty_checkpoint()
    config = {"configurable": {"thread_id": "smoke", "checkpoint_ns": ""}}
    metadata = {"source": "input", "step": -1, "parents": {}}
    stored = saver.put(config, checkpoint, metadata, {})
    found = list(saver.list(None, filter={"source": "input"}))
    if [(item.config, item.checkpoint, item.metadata) for item in found] != [
        (stored, checkpoint, metadata)
    ]:
        sys.exit(f"the checkpoint came back changed: {found}")

print(f"langgraph-redis-json {langgraph_redis_json.__version__} works")
