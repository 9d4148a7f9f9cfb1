"""Files of transactions through the same core as the live service, on stores in memory."""
