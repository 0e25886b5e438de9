"""ping: check that the server answers, and that searches can be answered."""

from redis.exceptions import ResponseError

from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.errors import IndexMissingError
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.search.queries import check_complete, index_name, is_missing


def ping(context: Context) -> Plan[bool]:
    if context.clustered:
        # Where its Search has no coordinator there is no index, and most calls need none.
        yield [("PING",)]
        return True
    index = index_name(context.key_prefix, SCHEMAS[0])
    try:
        _, info = yield [("PING",), ("FT.INFO", index)]
    except ResponseError as error:
        if is_missing(error):
            raise IndexMissingError(index=index) from error
        raise
    check_complete(index, info)
    return True
