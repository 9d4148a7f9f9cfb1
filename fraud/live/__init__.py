"""The live service: Kafka in, Kafka out, with DynamoDB and Redis beside. The core knows nothing of it."""
