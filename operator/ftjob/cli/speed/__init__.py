"""What the command line says about speed."""
