"""``python -m langgraph_redis_json``: the command line."""

from langgraph_redis_json.cli import main

if __name__ == "__main__":
    main()
