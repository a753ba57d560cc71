"""What an execution is: its state, the machine that moves it, its messages and its errors. Pure code."""
