"""Speed of the live service on real servers, beside floors that do less of its work in the same run."""
