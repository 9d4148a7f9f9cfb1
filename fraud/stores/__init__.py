"""Where state lives. Every store behaves alike under one contract suite."""
