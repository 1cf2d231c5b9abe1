"""What the gateway withstands, in figures: dead neighbours, long crowds, dropped sessions and calls, forged tokens."""
