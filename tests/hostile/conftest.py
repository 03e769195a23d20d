from tests.hostile.harness import hostile, hostile_server

__all__ = ["hostile", "hostile_server"]
