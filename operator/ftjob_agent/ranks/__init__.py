"""The ranks as processes: started, spoken for, ended, and why they failed."""
