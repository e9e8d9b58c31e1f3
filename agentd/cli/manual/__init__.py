"""What ``agentctl help`` prints and the manual pages say, made from the parsers and tables of the code."""
