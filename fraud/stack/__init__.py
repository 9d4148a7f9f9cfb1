"""Kafka, DynamoDB Local and Redis as native processes on loopback: the servers of docker-compose.yml without Docker."""

from fraud.stack.jars import StackError
from fraud.stack.servers import SERVER_NAMES, StackPorts
from fraud.stack.stack import Stack, start_stack

__all__ = ["SERVER_NAMES", "Stack", "StackError", "StackPorts", "start_stack"]
