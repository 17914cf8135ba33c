"""The API that users hold in their hands: models of spec and status, and the CRD made from them."""
