"""The verb that turns jobs of other operators into ours."""
